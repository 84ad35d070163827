package stratos_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/php"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// impatient is proc with little patience for an app that does not answer.
type impatient struct{ proc.Type }

func (impatient) Plan(in cartridge.Input) (cartridge.Plan, error) {
	p, err := proc.Type{}.Plan(in)
	p.Health.Start = time.Second
	return p, err
}

// bare is php on a machine that has none.
type bare struct{ php.Type }

func (bare) Plan(in cartridge.Input) (cartridge.Plan, error) {
	p, err := php.Type{}.Plan(in)
	for i := range p.Programs {
		was := p.Programs[i].Names[0]
		p.Programs[i].Names = []string{was + "-not-there"}
		for j := range p.Processes {
			if p.Processes[j].Args[0] == was {
				p.Processes[j].Args[0] = was + "-not-there"
			}
		}
	}
	return p, err
}

func TestSubscribeRefusesAndLeavesNothing(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "x")
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	url := func(u, ref string) func(*tenant.Subscription) {
		return func(s *tenant.Subscription) { s.Repository = tenant.Repository{URL: u, Ref: ref} }
	}
	for _, c := range []struct {
		name   string
		change func(*tenant.Subscription)
		is     error
		says   string
	}{
		{"folder that does not exist", url(artifact.Dir("/nowhere/at/all"), ""), artifact.ErrNoRepository, "/nowhere/at/all"},
		{"repository that does not exist", url(gone.URL+"/app.git", ""), artifact.ErrNoRepository, "/app.git"},
		{"branch that does not exist", url(artifact.Dir(s.dir), "nosuchbranch"), artifact.ErrNoRef, "nosuchbranch"},
		{"a path instead of artifact.Dir", url(s.dir, ""), artifact.ErrURL, "local folders are not allowed"},
		{"unknown cartridge", func(s *tenant.Subscription) { s.Cartridge = "cobol" }, nil, `unknown cartridge "cobol": this flavour has php, proc`},
		{"unknown policy", func(s *tenant.Subscription) { s.Policy = "wild" }, nil, `unknown scaling policy "wild"`},
		{"unknown placement", func(s *tenant.Subscription) { s.Placement = "spread" }, nil, `unknown placement "spread"`},
		{"unknown tenant", func(s *tenant.Subscription) { s.Tenant = "nobody" }, nil, `no tenant "nobody"`},
		{"alias that is no name", func(s *tenant.Subscription) { s.Alias = "My App" }, tenant.ErrInvalid, `alias "My App"`},
		{"bounds the wrong way round", sized(3, 1), tenant.ErrInvalid, "minimum 3 and maximum 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := b.Subscribe(b.ctx, subscriptionOf(s, c.change))
			require.ErrorContains(t, err, c.says)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.NotContains(t, err.Error(), "\n")
		})
	}
	require.ErrorIs(t, b.Unsubscribe(b.ctx, tenant.Default, app), store.ErrNotFound, "nothing half-made stays")
	require.ErrorIs(t, b.Synchronise(b.ctx, tenant.Default, app), store.ErrNotFound)
	b.subscribe(s)
	err := b.Subscribe(b.ctx, subscriptionOf(s))
	require.ErrorIs(t, err, tenant.ErrAliasTaken)
	require.ErrorContains(t, err, "app")
	v, err := b.Topology().Next(b.ctx, 0)
	require.NoError(t, err)
	require.Equal(t, 1, v.Len())
}

func TestAppThatNeverOpensItsPort(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) { c.Cartridges = []cartridge.Type{impatient{}} })
	s := newSite(t, "x")
	s.commitFile("app.py", "import time\nprint('waiting for godot', flush=True)\ntime.sleep(600)\n")
	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s)))
	c := b.await("it is refused", func(c *topology.ClusterView) bool { return c.Cluster.Refused != nil })
	require.Contains(t, c.Cluster.Refused.Reason, "did not answer")
	require.Contains(t, c.Cluster.Refused.Reason, "$PORT", "the cure is there")
	require.Contains(t, c.Cluster.Refused.Log, "waiting for godot")
	b.await("its member ends", func(c *topology.ClusterView) bool { return c.Count(topology.Terminated) == 1 && c.Supply() == 0 })
	require.Eventually(t, func() bool { return len(processesOf(t, b.Config().Dir)) == 0 }, patience, 10*time.Millisecond)
}

func TestPHPThatIsNotInstalled(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) { c.Cartridges = []cartridge.Type{bare{}} })
	s := newSite(t, "x")
	s.commitFile("index.php", "<?php echo 'hello';")
	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s, func(s *tenant.Subscription) { s.Cartridge = "php" })))
	c := b.await("it is refused", func(c *topology.ClusterView) bool { return c.Cluster.Refused != nil })
	require.Contains(t, c.Cluster.Refused.Reason, "php-fpm-not-there")
	require.Contains(t, c.Cluster.Refused.Reason, "apt-get install", "the cure is there")
}

func TestReleaseThatNoCartridgeCanPlan(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "x")
	s.git("rm", "-q", "-r", ".")
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "notes.txt"), []byte("no program"), 0o600))
	s.git("add", "-A")
	s.git("commit", "-q", "-m", "nothing to run")
	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s)))
	c := b.await("it is refused", func(c *topology.ClusterView) bool { return c.Cluster.Refused != nil })
	require.Contains(t, c.Cluster.Refused.Reason, "Procfile")
	require.Empty(t, c.Members(), "nothing was launched")
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for _, c := range []struct {
		name   string
		change func(*stratos.Config)
	}{
		{"balancer", func(c *stratos.Config) { c.Listen = l.Addr().String() }},
		{"API", func(c *stratos.Config) { c.API = l.Addr().String() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t, filepath.Join(t.TempDir(), "data"))
			c.change(&cfg)
			p, err := stratos.New(cfg)
			require.NoError(t, err)
			defer func() { require.NoError(t, p.Close()) }()
			err = p.Run(t.Context())
			require.ErrorContains(t, err, "the "+c.name+" address "+l.Addr().String()+" is in use")
			require.ErrorContains(t, err, "choose another")
		})
	}
}

func TestDataFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p, err := stratos.New(testConfig(t, dir))
	require.NoError(t, err)

	_, err = stratos.New(testConfig(t, dir))
	require.ErrorIs(t, err, store.ErrInUse, "a second control plane on the same folder")
	require.ErrorContains(t, err, dir)
	require.NoError(t, p.Close())

	other := testConfig(t, dir)
	other.Name = "other"
	_, err = stratos.New(other)
	require.ErrorContains(t, err, `belongs to flavour "test", this one is "other"`)

	info, err := os.Stat(filepath.Join(dir, "admin.token"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	info, err = os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = stratos.New(testConfig(t, file))
	require.ErrorContains(t, err, file)
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*stratos.Config)
		says   string
	}{
		{"no name", func(c *stratos.Config) { c.Name = "" }, "flavour"},
		{"no cartridges", func(c *stratos.Config) { c.Cartridges = nil }, "no cartridges"},
		{"a cartridge twice", func(c *stratos.Config) { c.Cartridges = append(c.Cartridges, proc.Type{}) }, `"proc" is there twice`},
		{"no accounts", func(c *stratos.Config) { c.Accounts = nil }, "no accounts"},
		{"an account twice", func(c *stratos.Config) { c.Accounts = append(c.Accounts, c.Accounts[0]) }, `"here" is there twice`},
		{"API everywhere, reached nowhere", func(c *stratos.Config) { c.API = "0.0.0.0:8080" }, "say with URL where others reach it"},
		{"a replica without TLS", func(c *stratos.Config) { c.API = "10.0.0.1:8080"; c.URL = "http://10.0.0.1:8080" }, "is https"},
		{"a replica with a path", func(c *stratos.Config) { c.Replicas = []string{"http://127.0.0.1:8080/api"} }, "want its address and nothing else"},
		{"an authority without its key", func(c *stratos.Config) { c.TLS.CACert = []byte("x") }, "belong together"},
		{"API nowhere", func(c *stratos.Config) { c.API = "8080" }, "want host:port"},
		{"domain", func(c *stratos.Config) { c.Domain = "Example..org" }, "domain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t, filepath.Join(t.TempDir(), "data"))
			c.change(&cfg)
			_, err := stratos.New(cfg)
			require.ErrorContains(t, err, c.says)
			require.NoDirExists(t, cfg.Dir)
		})
	}
}

func TestMainThatWasNotCalled(t *testing.T) {
	program := filepath.Join(t.TempDir(), "nomain")
	out, err := exec.Command("go", "build", "-o", program, "./testdata/nomain").CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.Command(program, filepath.Join(t.TempDir(), "data")).CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "local.Main")
}
