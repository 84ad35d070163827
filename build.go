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
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/internal/confine"
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
	if len(plan.Build) == 0 {
		return plan.Encode()
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "build-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", artifact.ErrTransient, err)
	}
	defer func() {
		if err := os.RemoveAll(tmp); err != nil {
			p.log().Warn("a temporary folder stays until the next start", "dir", tmp, "err", err)
		}
	}()
	box := p.buildBox(k, dir, tmp)
	for _, c := range plan.Build {
		if err := runBuild(ctx, box, c, log); err != nil {
			return nil, err
		}
	}
	return plan.Encode()
}

// buildBox is where a release is built: the build sees neither the platform's
// data nor the home of who runs it.
func (p *Platform) buildBox(k artifact.Key, dir, tmp string) *confine.Box {
	l := p.cfg.Build
	box := &confine.Box{
		Work: dir, Tmp: tmp, Cache: filepath.Join(p.cfg.Dir, "cache", k.Tenant, k.Alias), UID: p.cfg.BuildUID,
		Limits:    confine.Limits{CPU: l.CPU, Memory: l.Memory, Disk: l.Disk, Processes: l.Processes},
		Abilities: p.abilities(),
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) && home != "/" {
		box.Hidden = append(box.Hidden, home)
	}
	box.Hidden = append(box.Hidden, p.cfg.Dir)
	if p.cfg.MasterKey != "" {
		box.Hidden = append(box.Hidden, p.cfg.MasterKey)
	}
	return box
}

// runBuild runs one command of a build, in a clean environment.
func runBuild(ctx context.Context, box *confine.Box, c cartridge.Command, log io.Writer) error {
	line := strings.Join(c.Args, " ")
	fmt.Fprintln(log, "$", line)
	if err := box.Sees(c.Args[0]); err != nil {
		return fmt.Errorf("build: %w: install it for everybody on the machine of the control plane%s", err, advice(c.Package))
	}
	err := box.Run(ctx, c.Args, func(f confine.Folders) []string {
		env := []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + f.Cache, "TMPDIR=" + f.Tmp, "LANG=C.UTF-8",
			"GOCACHE=" + filepath.Join(f.Cache, "go-build"), "GOPATH=" + filepath.Join(f.Cache, "go"),
			"npm_config_cache=" + filepath.Join(f.Cache, "npm"),
		}
		for _, name := range []string{"GOPROXY", "GOTOOLCHAIN", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"} {
			if v := os.Getenv(name); v != "" {
				env = append(env, name+"="+v)
			}
		}
		for name, value := range c.Env {
			env = append(env, name+"="+value)
		}
		return env
	}, log)
	var exceeded *confine.ExceededError
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("build: %s: the time for a build is over", line)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: build stopped: %w", artifact.ErrTransient, ctx.Err())
	case err == nil:
		return nil
	case errors.As(err, &exceeded), errors.As(err, &exit):
		return fmt.Errorf("build: %s: %w", line, err)
	}
	return fmt.Errorf("%w: build: %w", artifact.ErrTransient, err)
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
