// Package s3server runs a real S3 server for tests: versitygw, which keeps
// objects as files.
package s3server

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/testprograms"
)

// startTimeout is how long the server may take until it answers.
const startTimeout = 30 * time.Second

// Options of a server. The zero value speaks plain HTTP.
type Options struct {
	Cert, Key string // PEM files; both set mean HTTPS
}

// Server is an S3 server on this machine, with one bucket, which is empty.
type Server struct {
	Endpoint             string // URL
	Region               string
	Bucket               string
	AccessKey, SecretKey string
	Dir                  string // where the bucket's objects are, as files called like their keys

	t       testing.TB
	opts    Options
	address string
	cmd     *exec.Cmd
	output  bytes.Buffer // may be read when cmd has ended
	ended   chan struct{}
}

// Start runs a server until the test ends. The test fails if the program is
// not there.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	const tries = 5 // somebody else may take the port
	for range tries {
		s := &Server{
			Region: "us-east-1", Bucket: "blobs", AccessKey: "tester", SecretKey: "a-secret-of-tests",
			Dir: filepath.Join(t.TempDir(), "blobs"), t: t, opts: opts, address: freeAddress(t),
		}
		s.Endpoint = s.scheme() + "://" + s.address
		require.NoError(t, os.Mkdir(s.Dir, 0o700))
		if s.run() {
			t.Cleanup(s.Stop)
			return s
		}
		t.Logf("versitygw did not start: %s", s.output.String())
	}
	require.FailNow(t, "versitygw does not start; what it said is above")
	return nil
}

// Stop kills the server, in the middle of whatever it does.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
	s.cmd = nil
}

// Restart starts a stopped server again, at the same address, with its objects.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	require.True(s.t, s.run(), "versitygw does not start again: %s", &s.output)
}

func (s *Server) scheme() string {
	if s.opts.Cert != "" {
		return "https"
	}
	return "http"
}

// run starts the server and waits until it answers; false if it ended instead.
func (s *Server) run() bool {
	s.t.Helper()
	args := []string{"--port", s.address, "--region", s.Region, "--quiet", "--keep-alive", "--health", "/health"}
	if s.opts.Cert != "" {
		args = append(args, "--cert", s.opts.Cert, "--key", s.opts.Key)
	}
	s.cmd = exec.Command(testprograms.Path(s.t, "versitygw"), append(args, "posix", filepath.Dir(s.Dir))...)
	s.cmd.Env = []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive the test
	s.output.Reset()
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	require.NoError(s.t, s.cmd.Start())
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() {
		_ = cmd.Wait() // it is always killed
		close(ended)
	}()
	return s.answers()
}

func (s *Server) answers() bool {
	s.t.Helper()
	// Who it is, is for the tests to check.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	probe := &http.Client{Transport: transport, Timeout: time.Second}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(startTimeout)
	for {
		if res, err := probe.Get(s.Endpoint + "/health"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return false
		case <-deadline:
			s.Stop()
			require.FailNow(s.t, "versitygw runs but does not answer", "%s", &s.output)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
