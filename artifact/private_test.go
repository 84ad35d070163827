package artifact_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
)

// guarded lets in who signs in so.
func guarded(h http.Handler, user, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func TestPrivateOverHTTP(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("f", "1", 0o644)
	head := repo.Commit("one")
	url := serve(t, repo, guarded(backend(t, repo), "git", "hunter2"))
	with := func(c artifact.Credentials) *artifact.Git {
		return &artifact.Git{URL: url, Mirror: filepath.Join(t.TempDir(), "mirror.git"), Credentials: c}
	}
	g := with(artifact.Credentials{Password: "hunter2"})
	got, err := g.Resolve(t.Context(), "main")
	require.NoError(t, err)
	require.Equal(t, head, got)
	require.NotEmpty(t, fetched(t, g, head))
	requireNowhere(t, g.Mirror, "hunter2")

	for _, c := range []artifact.Credentials{{}, {Password: "hunter3"}, {User: "somebody", Password: "hunter2"}} {
		_, err = with(c).Resolve(t.Context(), "main")
		require.ErrorIs(t, err, artifact.ErrAuth)
		require.NotContains(t, err.Error(), "hunter")
	}
	_, err = with(artifact.Credentials{Key: "hunter2"}).Resolve(t.Context(), "main")
	require.ErrorIs(t, err, artifact.ErrCredentials)
}

// requireNowhere looks for a secret in all files below a folder.
func requireNowhere(t *testing.T, dir, secret string) {
	t.Helper()
	seen := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		require.False(t, bytes.Contains(text, []byte(secret)), path)
		seen++
		return err
	}))
	require.Positive(t, seen)
}

// TestRedirectIsShownNoCredentials: another host learns nothing, however the
// first one sends there.
func TestRedirectIsShownNoCredentials(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("f", "1", 0o644)
	repo.Commit("one")
	var asked, shown atomic.Int32
	files := backend(t, repo)
	other := serve(t, repo, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "" {
			shown.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	first := httptest.NewServer(guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.TrimSuffix(other, "/"+filepath.Base(repo.Dir)+"/.git")+r.URL.RequestURI(), http.StatusFound)
	}), "git", "hunter2"))
	t.Cleanup(first.Close)
	g := &artifact.Git{URL: first.URL + "/" + filepath.Base(repo.Dir) + "/.git", Mirror: filepath.Join(t.TempDir(), "mirror.git"),
		Credentials: artifact.Credentials{Password: "hunter2"}}
	head, err := g.Resolve(t.Context(), "main")
	require.NoError(t, err)
	require.NotEmpty(t, fetched(t, g, head))
	require.GreaterOrEqual(t, asked.Load(), int32(2))
	require.Zero(t, shown.Load())
}

func TestPrivateOverSSH(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("f", "1", 0o644)
	head := repo.Commit("one")
	key, public := newKey(t, "")
	address, known := sshServer(t, &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(public.Marshal()) {
			return nil, errors.New("not this one")
		}
		return nil, nil
	}})
	knowHosts(t, "") // the operator knows none
	t.Setenv("TMPDIR", t.TempDir())
	with := func(c artifact.Credentials) *artifact.Git {
		return &artifact.Git{URL: "ssh://git@" + address + repo.Dir, Mirror: filepath.Join(t.TempDir(), "mirror.git"), Credentials: c}
	}
	g := with(artifact.Credentials{Key: key, HostKeys: known})
	got, err := g.Resolve(t.Context(), "main")
	require.NoError(t, err)
	require.Equal(t, head, got)
	require.NotEmpty(t, fetched(t, g, head))

	_, err = with(artifact.Credentials{Key: key}).Resolve(t.Context(), "main")
	require.ErrorContains(t, err, "ssh-keyscan", "nobody says who the host is")
	_, stranger := newKey(t, "")
	_, err = with(artifact.Credentials{Key: key, HostKeys: strings.Fields(known)[0] + " " + string(ssh.MarshalAuthorizedKey(stranger))}).Resolve(t.Context(), "main")
	require.ErrorContains(t, err, "key mismatch", "somebody in the middle")
	other, _ := newKey(t, "")
	_, err = with(artifact.Credentials{Key: other, HostKeys: known}).Resolve(t.Context(), "main")
	require.ErrorIs(t, err, artifact.ErrAuth)
	_, err = with(artifact.Credentials{HostKeys: known}).Resolve(t.Context(), "main")
	require.ErrorIs(t, err, artifact.ErrAuth)
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "stratos-known-hosts-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
