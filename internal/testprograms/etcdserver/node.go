package etcdserver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const pollEvery = 20 * time.Millisecond

// errExited: a server ended by itself.
var errExited = errors.New("etcd: a server has ended by itself")

// node is one server.
type node struct {
	name, dir    string
	client, peer string // URLs
	args         []string
	process      *os.Process
	exited       chan struct{}
}

func (n *node) run(ctx context.Context, program string) error {
	log, err := os.OpenFile(n.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the server has its own copy
	cmd := exec.CommandContext(ctx, program, n.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir, "GOMAXPROCS=1"} // none of the caller's ETCD_ settings
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	n.process, n.exited = cmd.Process, exited
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	return nil
}

func (n *node) kill() {
	if n.process == nil {
		return
	}
	_ = n.process.Kill() // it may have ended by itself
	<-n.exited
}

func (n *node) pause() error  { return n.process.Signal(syscall.SIGSTOP) }
func (n *node) resume() error { return n.process.Signal(syscall.SIGCONT) }

// await waits until the server serves.
func (n *node) await(ctx context.Context, secure *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := n.ask(ctx, secure, http.MethodGet, "/health", nil)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-n.exited:
			return fmt.Errorf("%w: %s: %s", errExited, n.name, n.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("etcd: %s does not serve: %w: %s", n.name, err, n.lastWords())
		}
	}
}

// lastWords are the end of the server's log.
func (n *node) lastWords() string {
	const enough = 2000
	all, err := os.ReadFile(n.dir + ".log")
	if err != nil {
		return err.Error()
	}
	return string(all[max(0, len(all)-enough):])
}

// status is what a server says about itself.
type status struct {
	Header struct {
		Member string `json:"member_id"`
	} `json:"header"`
	Leader string `json:"leader"`
}

func (n *node) status(ctx context.Context, secure *tls.Config) (status, error) {
	var s status
	err := n.ask(ctx, secure, http.MethodPost, "/v3/maintenance/status", &s)
	if err == nil && (s.Leader == "" || s.Leader == "0") {
		err = errors.New("etcd: no leader")
	}
	return s, err
}

// ask makes one request, and decodes the answer if it is wanted.
func (n *node) ask(ctx context.Context, secure *tls.Config, method, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // it may be paused
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.client+path, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	c := http.Client{Transport: &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd: %s answers %s", n.name, resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
