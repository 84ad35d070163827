package partition

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// network is a bridge in a namespace, and hosts in others that hang on it.
type network struct {
	prefix string
	names  []string // of all namespaces
}

// newNetwork makes the hosts. Nothing of it touches the
// machine's own network.
func newNetwork(hosts []string) (*network, error) {
	n := &network{prefix: fmt.Sprintf("stratos%d", os.Getpid())}
	if err := n.add("bridge"); err != nil {
		return nil, err
	}
	steps := [][]string{
		{"-n", n.ns("bridge"), "link", "add", "br0", "type", "bridge"},
		{"-n", n.ns("bridge"), "link", "set", "br0", "up"},
	}
	for i, host := range hosts {
		if err := n.add(host); err != nil {
			return nil, errors.Join(err, n.close())
		}
		port := fmt.Sprintf("port%d", i)
		steps = append(steps,
			[]string{"-n", n.ns("bridge"), "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", n.ns(host)},
			[]string{"-n", n.ns("bridge"), "link", "set", port, "master", "br0", "up"},
			[]string{"-n", n.ns(host), "addr", "add", address(host) + "/24", "dev", "eth0"},
			[]string{"-n", n.ns(host), "link", "set", "eth0", "up"},
			[]string{"-n", n.ns(host), "link", "set", "lo", "up"},
		)
	}
	for _, args := range steps {
		if err := ip(args...); err != nil {
			return nil, errors.Join(err, n.close())
		}
	}
	return n, nil
}

func (n *network) ns(host string) string { return n.prefix + host }

func (n *network) add(host string) error {
	if err := ip("netns", "add", n.ns(host)); err != nil {
		return err
	}
	n.names = append(n.names, n.ns(host))
	return nil
}

// close takes everything down; processes in the namespaces have ended before.
func (n *network) close() error {
	var errs []error
	for _, name := range n.names {
		errs = append(errs, ip("netns", "delete", name))
	}
	n.names = nil
	return errors.Join(errs...)
}

// cut takes a host off the network without telling anybody: packets are lost.
func (n *network) cut(host string) error { return ip("-n", n.ns(host), "link", "set", "eth0", "down") }

// heal puts it back.
func (n *network) heal(host string) error { return ip("-n", n.ns(host), "link", "set", "eth0", "up") }

// command is a program that runs on a host.
func (n *network) command(ctx context.Context, host, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.ns(host), program}, args...)...)
}

// dialer dials from a host: the socket is made in its namespace, on a thread
// that goes there and comes back.
func (n *network) dialer(host string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		runtime.LockOSThread()
		here, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			return nil, err
		}
		defer here.Close()
		there, err := os.Open("/var/run/netns/" + n.ns(host))
		if err != nil {
			return nil, err
		}
		defer there.Close()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			return nil, err
		}
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
			return nil, errors.Join(err, back) // the thread stays locked, and ends with its goroutine
		}
		runtime.UnlockOSThread()
		return c, err
	}
}

// ip runs iproute2.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("the program ip is missing: install iproute2")
	}
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
