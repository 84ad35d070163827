package stratos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// build plans a release with its cartridge and runs the plan's build commands
// in its folder. It is what the artifact coordinator calls.
func (p *Platform) build(ctx context.Context, k artifact.Key, dir string, log io.Writer) ([]byte, error) {
	sub, err := store.Read[tenant.Subscription](ctx, p.store, tenant.SubscriptionKey(tenant.ID(k.Tenant), k.Alias))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", artifact.ErrTransient, err)
	}
	s := sub.Value
	t, _, err := p.cartridge(ctx, s.Tenant, s.Cartridge)
	if err != nil {
		return nil, fmt.Errorf("%w: cartridge %q: %w", artifact.ErrTransient, s.Cartridge, err)
	}
	if err := keepPart(dir, k.Alias, t); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir) // the plan sees nothing outside the release, whatever links it holds
	if err != nil {
		return nil, fmt.Errorf("%w: %w", artifact.ErrTransient, err)
	}
	plan, err := t.Plan(cartridge.Input{Release: root.FS(), Size: s.Size, Settings: s.Settings, Env: s.Env})
	if err = errors.Join(err, root.Close()); err != nil {
		return nil, err
	}
	if err := plan.Check(); err != nil {
		return nil, fmt.Errorf("cartridge %s made a plan that cannot run: %w", s.Cartridge, err)
	}
	cache := filepath.Join(p.cfg.Dir, "cache", k.Tenant, k.Alias)
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", artifact.ErrTransient, err)
	}
	for _, c := range plan.Build {
		if err := runBuild(ctx, c, dir, cache, log); err != nil {
			return nil, err
		}
	}
	return plan.Encode()
}

// runBuild runs one command of a build, in a clean environment, at the lowest
// priority, in a process group of its own that ends with it.
func runBuild(ctx context.Context, c cartridge.Command, dir, cache string, log io.Writer) error {
	line := strings.Join(c.Args, " ")
	fmt.Fprintln(log, "$", line)
	path, err := exec.LookPath(c.Args[0])
	if err != nil {
		return fmt.Errorf("build: %w: install it on the machine of the control plane%s", err, advice(c.Package))
	}
	cmd := exec.CommandContext(ctx, path, c.Args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + cache, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8",
		"GOCACHE=" + filepath.Join(cache, "go-build"), "GOPATH=" + filepath.Join(cache, "go"),
		"npm_config_cache=" + filepath.Join(cache, "npm"),
	}
	for _, name := range []string{"GOPROXY", "GOTOOLCHAIN", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"} {
		if v := os.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	for name, value := range c.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: build: %w", artifact.ErrTransient, err)
	}
	// A build never slows the running apps: the whole group gives way. It is
	// no error if it cannot be done.
	if err := syscall.Setpriority(syscall.PRIO_PGRP, cmd.Process.Pid, 19); err != nil {
		fmt.Fprintln(log, "build at normal priority:", err)
	}
	err = cmd.Wait()
	if kerr := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); kerr != nil && !errors.Is(kerr, syscall.ESRCH) {
		fmt.Fprintln(log, "what the build left running:", kerr)
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("build: %s: the time for a build is over", line)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: build stopped: %w", artifact.ErrTransient, ctx.Err())
	case err != nil:
		return fmt.Errorf("build: %s: %w", line, err)
	}
	return nil
}

// advice says how to install a Debian package.
func advice(pkg string) string {
	if pkg == "" {
		return ""
	}
	return " (apt-get install " + pkg + ")"
}

// revisionsInUse names the revisions of a subscription that its cluster or a
// member of it still needs.
func (p *Platform) revisionsInUse(k artifact.Key) []string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	v, err := p.mirror.Next(ctx, 0)
	if err != nil {
		return nil
	}
	c := v.Cluster(clusterOf(tenant.ID(k.Tenant), k.Alias))
	if c == nil {
		return nil
	}
	var in []string
	add := func(r *topology.Release) {
		if r != nil {
			in = append(in, r.Revision)
		}
	}
	add(c.Cluster.Current)
	add(c.Cluster.Candidate)
	for _, m := range c.Members() {
		add(m.Assigned)
		if m.Serving != nil {
			add(&m.Serving.Release)
		}
	}
	return in
}
