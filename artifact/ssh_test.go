package artifact_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
)

// sshServer serves commands over ssh, as git's hosts do: every command is
// run by a shell. It returns the address and its line for known_hosts.
func sshServer(t testing.TB, config *ssh.ServerConfig) (address, known string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	config.AddHostKey(signer)
	env := gitEnv(t)
	address = listen(t, func(conn net.Conn) {
		server, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return // the client does not trust us, or was not let in
		}
		defer server.Close()
		go ssh.DiscardRequests(requests)
		for c := range channels {
			channel, requests, err := c.Accept()
			if err != nil {
				return
			}
			sshExec(channel, requests, env)
		}
	})
	return address, knownhosts.Line([]string{address}, signer.PublicKey())
}

// sshExec runs the one command of a session.
func sshExec(channel ssh.Channel, requests <-chan *ssh.Request, env []string) {
	defer channel.Close()
	for r := range requests {
		var command struct{ Line string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		cmd := exec.Command("sh", "-c", command.Line)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, channel, channel.Stderr()
		in, err := cmd.StdinPipe()
		if err != nil || cmd.Start() != nil {
			return
		}
		go func() { // ends with the channel
			_, _ = io.Copy(in, channel)
			in.Close()
		}()
		_ = cmd.Wait() // it fails when the client hangs up
		return
	}
}

// overSSH is a source that reads repo from an ssh server that lets everybody in.
func overSSH(t testing.TB, repo *artifacttest.Repo) *artifact.Git {
	t.Helper()
	address, known := sshServer(t, &ssh.ServerConfig{NoClientAuth: true})
	knowHosts(t, known)
	return &artifact.Git{URL: "ssh://git@" + address + repo.Dir, Mirror: filepath.Join(t.TempDir(), "mirror.git")}
}

// knowHosts makes line the operator's whole known_hosts.
func knowHosts(t testing.TB, line string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(path, []byte(line+"\n"), 0o600))
	t.Setenv("SSH_KNOWN_HOSTS", path)
}

func TestSSHTrustsOnlyKnownHosts(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Commit("one")
	g := overSSH(t, repo)
	_, err := g.Resolve(t.Context(), "main")
	require.NoError(t, err)

	knowHosts(t, "")
	_, err = g.Resolve(t.Context(), "main")
	require.ErrorContains(t, err, "ssh-keyscan", "unknown")
	_, other := sshServer(t, &ssh.ServerConfig{NoClientAuth: true})
	_, key, _ := strings.Cut(other, " ")
	address := strings.TrimPrefix(strings.TrimSuffix(g.URL, repo.Dir), "ssh://git@")
	knowHosts(t, knownhosts.Normalize(address)+" "+key)
	_, err = g.Resolve(t.Context(), "main")
	require.ErrorContains(t, err, "key mismatch", "somebody in the middle")
}

func TestSSHLendsNobodyTheOperatorsKeys(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Commit("one")
	var tried atomic.Int32
	address, known := sshServer(t, &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			tried.Add(1)
			return nil, nil
		},
		PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
			tried.Add(1)
			return nil, nil
		},
	})
	knowHosts(t, known)
	t.Setenv("SSH_AUTH_SOCK", keyring(t))
	g := &artifact.Git{URL: "ssh://git@" + address + repo.Dir, Mirror: filepath.Join(t.TempDir(), "m.git")}
	_, err := g.Resolve(t.Context(), "main")
	require.ErrorIs(t, err, artifact.ErrAuth)
	require.ErrorContains(t, err, "give it a key")
	require.Zero(t, tried.Load())
}

// keyring is an ssh agent with a key, as an operator may have one.
func keyring(t *testing.T) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ring := agent.NewKeyring()
	require.NoError(t, ring.Add(agent.AddedKey{PrivateKey: key}))
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	serveConns(t, l, func(conn net.Conn) { _ = agent.ServeAgent(ring, conn) })
	return socket
}

func TestSSHQuotesThePath(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	address, known := sshServer(t, &ssh.ServerConfig{NoClientAuth: true})
	knowHosts(t, known)
	for _, path := range []string{"/x';touch${IFS}" + canary + ";'", "/x`touch${IFS}" + canary + "`", "/$(touch${IFS}" + canary + ")"} {
		g := &artifact.Git{URL: "ssh://git@" + address + path, Mirror: filepath.Join(t.TempDir(), "m.git")}
		_, err := g.Resolve(t.Context(), "main")
		require.ErrorIs(t, err, artifact.ErrNoRepository)
	}
	require.NoFileExists(t, canary)
}
