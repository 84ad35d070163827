package api_test

import (
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

func (b *bed) job(alias, id string, kind tenant.JobKind, change ...func(*tenant.Job)) {
	j := tenant.Job{V: tenant.Schema, ID: id, Tenant: "default", Alias: alias, Kind: kind, State: tenant.JobWaiting}
	for _, f := range change {
		f(&j)
	}
	b.put(tenant.JobKey("default", alias, id), j)
}

func (b *bed) jobState(alias, id string) tenant.Job {
	b.t.Helper()
	rec, err := store.Read[tenant.Job](b.t.Context(), b.store, tenant.JobKey("default", alias, id))
	require.NoError(b.t, err)
	return rec.Value
}

// upload sends a backup as an agent does.
func (b *bed) upload(id string, body io.Reader, key ed25519.PrivateKey) int {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPut, b.web.URL+wire.JobsPath+id, io.NopCloser(body))
	require.NoError(b.t, err)
	r.ContentLength = -1
	require.NoError(b.t, wire.SignStream(r, "default.a", "member-of-a", key, time.Now()))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0 // broken off, on either side
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func (b *bed) copies() int {
	b.t.Helper()
	all, err := b.backups.List(b.t.Context())
	require.NoError(b.t, err)
	return len(all)
}

func TestBackupIsStoredWhole(t *testing.T) {
	b := newBed(t)
	b.job("a", "1", tenant.JobBackup)
	b.job("b", "2", tenant.JobBackup)
	b.job("a", "3", tenant.JobRestore, func(j *tenant.Job) { j.Backup = "1" })
	good := b.keys["member-of-a"]
	content := strings.Repeat("row\n", 1<<20) // more than other bodies may have

	require.Zero(t, b.upload("1", io.MultiReader(strings.NewReader(content), broken{}), good), "broken off")
	require.Equal(t, http.StatusUnauthorized, b.upload("1", strings.NewReader("x"), b.keys["member-of-b"]))
	require.Equal(t, http.StatusNotFound, b.upload("2", strings.NewReader("x"), good), "another's")
	require.Equal(t, http.StatusNotFound, b.upload("3", strings.NewReader("x"), good), "a restore prints nothing")
	require.Equal(t, http.StatusNotFound, b.upload("9", strings.NewReader("x"), good))
	require.Zero(t, b.copies())
	require.Equal(t, tenant.JobWaiting, b.jobState("a", "1").State)

	code, body := b.do("GET", wire.JobPath, "", agentOf("member-of-a"))
	require.Equal(t, 200, code)
	require.JSONEq(t, `{"id":"1","kind":"backup"}`, body)
	require.Equal(t, http.StatusNoContent, b.upload("1", strings.NewReader(content), good))
	j := b.jobState("a", "1")
	require.Equal(t, tenant.JobDone, j.State)
	require.EqualValues(t, len(content), j.Size)
	require.Equal(t, http.StatusNotFound, b.upload("1", strings.NewReader("again"), good))
	require.Equal(t, 1, b.copies())

	code, _ = b.do("GET", wire.JobsPath+"3", "", agentOf("member-of-b"))
	require.Equal(t, http.StatusNotFound, code)
	code, body = b.do("GET", wire.JobsPath+"3", "", agentOf("member-of-a"))
	require.Equal(t, 200, code)
	require.Equal(t, content, body)
	code, _ = b.do("POST", wire.JobsPath+"3", `{"error":"no room"}`, agentOf("member-of-a"))
	require.Equal(t, http.StatusNoContent, code)
	j = b.jobState("a", "3")
	require.Equal(t, tenant.JobFailed, j.State)
	require.Equal(t, "no room", j.Error)
	code, _ = b.do("GET", wire.JobPath, "", agentOf("member-of-a"))
	require.Equal(t, http.StatusNoContent, code, "nothing is left to do")

	const path = "/v1/tenants/default/subscriptions/a/backups"
	code, _ = b.do("GET", path+"/1", "", agentOf("member-of-a"))
	require.Equal(t, http.StatusUnauthorized, code)
	code, body = b.do("GET", path+"/1", "", admin)
	require.Equal(t, 200, code)
	require.Equal(t, content, body)
	code, _ = b.do("GET", path+"/3", "", admin)
	require.Equal(t, http.StatusNotFound, code)

	// Equal backups are one copy, which goes with the last of them.
	b.job("a", "4", tenant.JobBackup)
	require.Equal(t, http.StatusNoContent, b.upload("4", strings.NewReader(content), good))
	require.Equal(t, 1, b.copies())
	code, _ = b.do("DELETE", path+"/1", "", admin)
	require.Equal(t, http.StatusNoContent, code)
	require.Equal(t, 1, b.copies())
	code, _ = b.do("DELETE", path+"/4", "", admin)
	require.Equal(t, http.StatusNoContent, code)
	require.Zero(t, b.copies())
}

// TestFailedBackupIsHeard: a program that failed sends its reason, and no copy.
func TestFailedBackupIsHeard(t *testing.T) {
	b := newBed(t)
	b.job("a", "1", tenant.JobBackup)
	code, _ := b.do("POST", wire.JobsPath+"1", `{}`, agentOf("member-of-a"))
	require.Equal(t, http.StatusNotFound, code, "a backup is done when it is stored")
	code, _ = b.do("POST", wire.JobsPath+"1", `{"error":"exit status 2"}`, agentOf("member-of-a"))
	require.Equal(t, http.StatusNoContent, code)
	require.Equal(t, "exit status 2", b.jobState("a", "1").Error)
	code, _ = b.do("PUT", wire.JobsPath+"1", "unsigned", nobody)
	require.Equal(t, http.StatusUnauthorized, code)
}

// broken is a body that ends before its end.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the program failed") }
