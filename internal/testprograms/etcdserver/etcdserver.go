// Package etcdserver runs real etcd servers on free loopback ports: one, or a
// cluster. They can be killed, paused and started again, and end with the
// process that started them.
package etcdserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gostratos/stratos/internal/testprograms"
)

// Options say which servers. The zero value is one server without TLS.
type Options struct {
	Nodes int    // default: 1
	Dir   string // where data and logs are kept; default: a new folder that Close removes
	// Args are given to each server in addition.
	Args []string
	// TLS is for asking servers whose Args make them serve TLS.
	TLS *tls.Config
}

// Cluster is a set of running servers. Create it with [Start]. Its methods are
// called by one goroutine at a time.
type Cluster struct {
	options Options
	program string
	temp    bool
	nodes   []*node
	ctx     context.Context
	cancel  context.CancelFunc
}

// startAttempts bounds how often other ports are tried: they are free when
// they are chosen, but somebody else may be faster.
const startAttempts = 5

// patience is how long servers may take to serve.
const patience = 30 * time.Second

// Start runs servers until ctx ends or Close, and returns when they serve.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o.Nodes = max(o.Nodes, 1)
	program, err := testprograms.Find("etcd")
	if err != nil {
		return nil, err
	}
	c := &Cluster{options: o, program: program}
	if o.Dir == "" {
		if c.options.Dir, err = os.MkdirTemp("", "etcd"); err != nil {
			return nil, err
		}
		c.temp = true
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	for range startAttempts {
		if err = c.start(); err == nil {
			return c, nil
		}
		c.killAll()
		if !errors.Is(err, errExited) {
			break
		}
	}
	return nil, errors.Join(err, c.Close())
}

// Run is Start for tests: the servers end with t.
func Run(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// start makes new nodes and runs them.
func (c *Cluster) start() error {
	ports, err := freePorts(2 * c.options.Nodes)
	if err != nil {
		return err
	}
	scheme := "http"
	if c.options.TLS != nil {
		scheme = "https"
	}
	c.nodes = nil
	var peers []string
	for i := range c.options.Nodes {
		n := &node{
			name: fmt.Sprintf("n%d", i), dir: filepath.Join(c.options.Dir, fmt.Sprintf("n%d", i)),
			client: fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[2*i]), peer: fmt.Sprintf("http://127.0.0.1:%d", ports[2*i+1]),
		}
		if err := os.RemoveAll(n.dir); err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
		peers = append(peers, n.name+"="+n.peer)
	}
	for _, n := range c.nodes {
		n.args = append([]string{
			"--name", n.name, "--data-dir", n.dir, "--logger", "zap", "--log-level", "warn",
			"--listen-client-urls", n.client, "--advertise-client-urls", n.client,
			"--listen-peer-urls", n.peer, "--initial-advertise-peer-urls", n.peer,
			"--initial-cluster", strings.Join(peers, ","),
		}, c.options.Args...)
		if err := n.run(c.ctx, c.program); err != nil {
			return err
		}
	}
	return c.awaitAll()
}

func (c *Cluster) awaitAll() error {
	for i := range c.nodes {
		if err := c.Await(i); err != nil {
			return err
		}
	}
	return nil
}

// Await waits until server i serves, and has a leader.
func (c *Cluster) Await(i int) error {
	return c.nodes[i].await(c.ctx, c.options.TLS)
}

// Endpoints are the URLs for clients, of all servers.
func (c *Cluster) Endpoints() []string {
	all := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		all[i] = n.client
	}
	return all
}

// Kill ends server i at once, as a power cut of its machine would.
func (c *Cluster) Kill(i int) { c.nodes[i].kill() }

// Restart runs server i again, with its data and ports, and waits until it
// serves. A cluster that has no majority yet does not serve: see [Cluster.Launch].
func (c *Cluster) Restart(i int) error {
	if err := c.Launch(i); err != nil {
		return err
	}
	return c.Await(i)
}

// Launch runs server i again and does not wait.
func (c *Cluster) Launch(i int) error {
	c.nodes[i].kill()
	return c.nodes[i].run(c.ctx, c.program)
}

// Pause stops server i where it stands; its connections stay open.
func (c *Cluster) Pause(i int) error { return c.nodes[i].pause() }

// Resume lets server i go on.
func (c *Cluster) Resume(i int) error { return c.nodes[i].resume() }

// Leader returns the index of the server that leads, waiting until all that
// answer agree on one.
func (c *Cluster) Leader() (int, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if i, ok := c.leader(ctx); ok {
			return i, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("etcd: no leader: %w", ctx.Err())
		}
	}
}

func (c *Cluster) leader(ctx context.Context) (int, bool) {
	found, leader := -1, ""
	for i, n := range c.nodes {
		s, err := n.status(ctx, c.options.TLS)
		if err != nil {
			continue
		}
		if leader != "" && s.Leader != leader {
			return 0, false
		}
		leader = s.Leader
		if s.Header.Member == s.Leader {
			found = i
		}
	}
	return found, found >= 0
}

// Close ends all servers.
func (c *Cluster) Close() error {
	c.cancel()
	c.killAll()
	if c.temp {
		return os.RemoveAll(c.options.Dir)
	}
	return nil
}

func (c *Cluster) killAll() {
	for _, n := range c.nodes {
		n.kill()
	}
}

// freePorts returns ports that nobody listens on at this moment.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after all were chosen, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
