package client_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api/client"
)

const copied = "these are all the records"

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// sends answers with a backup that claims to be of a text, and sends another one.
func sends(t *testing.T, text string, then func()) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Length", strconv.Itoa(len(copied)))
		h.Set(client.BackupDigest, digestOf(copied))
		h.Set(client.BackupStore, "uuid.7")
		_, _ = io.WriteString(w, text) // the client says what it misses
		if then != nil {
			_ = http.NewResponseController(w).Flush() // as above
			then()
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestBackupIsReadWhole(t *testing.T) {
	away := newReplica(t, 503, `{"error":"the store does not answer"}`)
	c := &client.Client{URLs: []string{away.URL, sends(t, copied, nil).URL}, Token: "secret"}
	b, err := c.Backup(t.Context())
	require.NoError(t, err)
	require.Equal(t, "uuid.7", b.Store)
	require.EqualValues(t, len(copied), b.Size)
	text, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, copied, string(text))
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	require.EqualValues(t, 1, away.asked.Load())
}

func TestBackupThatIsNotWhole(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"cut", copied[:10], "cut off after 10 of 25 bytes"},
		{"nothing came", "", "cut off after 0 of 25 bytes"},
		{"one byte is another", "T" + copied[1:], "its digest does not fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := (&client.Client{URLs: []string{sends(t, c.text, nil).URL}}).Backup(t.Context())
			require.NoError(t, err)
			defer b.Close()
			_, err = io.ReadAll(b)
			require.ErrorIs(t, err, client.ErrIncomplete)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestBackupThatFallsSilent(t *testing.T) {
	release := make(chan struct{})
	server := sends(t, copied[:10], func() { <-release })
	defer close(release)
	b, err := (&client.Client{URLs: []string{server.URL}, Timeout: 50 * time.Millisecond}).Backup(t.Context())
	require.NoError(t, err)
	defer b.Close()
	_, err = io.ReadAll(b)
	require.ErrorIs(t, err, client.ErrIncomplete)
	require.ErrorContains(t, err, "cut off after 10 of 25 bytes: the control plane fell silent")
}

func TestBackupThatIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	server := sends(t, copied[:10], func() { <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	b, err := (&client.Client{URLs: []string{server.URL}}).Backup(ctx)
	require.NoError(t, err)
	defer b.Close()
	_, err = io.ReadFull(b, make([]byte, 10))
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(b)
	require.ErrorIs(t, err, context.Canceled)
}

func TestWhatIsNoBackup(t *testing.T) {
	for _, c := range []struct{ name, digest, want string }{
		{"no digest", "", "it has no digest"},
		{"another digest", "sha-512=:AAAA:", "it has no digest"},
		{"half a digest", "sha-256=:AAAA:", "it has the odd digest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(client.BackupDigest, c.digest)
				_, _ = io.WriteString(w, "x") // the client says what it misses
			}))
			defer server.Close()
			_, err := (&client.Client{URLs: []string{server.URL}}).Backup(t.Context())
			require.ErrorContains(t, err, c.want)
		})
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add(digestOf("x"))
	f.Add("sha-512=:AAAA:, " + digestOf("y"))
	f.Add("sha-256=:" + fmt.Sprint(1) + ":")
	f.Fuzz(func(t *testing.T, header string) {
		sum, err := client.ParseDigest(header)
		if err == nil {
			require.Len(t, sum, sha256.Size)
			require.Contains(t, header, base64.StdEncoding.EncodeToString(sum))
		}
	})
}
