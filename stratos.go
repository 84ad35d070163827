// Package stratos composes a Platform as a Service out of the packages below it.
//
// A flavour is a Go program: it fills a [Config] with values (cartridges,
// policies, accounts of clouds, a balancer), makes a [Platform] of it and calls
// Run. There is no plugin system and no registry; what a flavour can do is what
// it imports. This package links no cloud's SDK, no cartridge and no etcd.
//
//	p, err := stratos.New(stratos.Config{...})
//	...
//	defer p.Close()
//	err = p.Run(ctx)
//
// Subscribe and the other verbs record wishes: they work before, during and
// without Run. Members outlive Run, and the next one adopts them; [Platform.Shutdown]
// ends them.
package stratos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/internal/confine"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/topology"
)

// Version of the framework.
const Version = "0.1.0"

// Config says what a platform is made of. Only Name, Cartridges and Accounts
// have no default.
type Config struct {
	// Name of the flavour: lower-case letters, digits and dashes. A data folder
	// belongs to one flavour.
	Name string
	// Dir is where everything is kept, made if needed, mode 0700. Default: Name + ".data".
	Dir string

	// Listen is where the built-in balancer takes requests. Default 127.0.0.1:8000.
	Listen string
	// API is where the control plane answers: plain HTTP on a loopback address,
	// TLS on any other. Keep it over restarts. Default 127.0.0.1:8080.
	API string
	// URL is where others reach this API, for example "https://10.0.0.1:8080".
	// Default: API. Two replicas never share one.
	URL string
	// Replicas are the URLs of all replicas of the control plane; instances are
	// told. They share Store, Blobs and the master key. Default: URL alone.
	Replicas []string
	// TLS says how an API off loopback shows itself.
	TLS TLS
	// MasterKey is the file of the key that seals secrets in the store; all
	// replicas have the same one. Default: master.key in Dir; the first replica makes it.
	MasterKey string
	// ServicePorts are the loopback ports on which balancers take connections to
	// the services of subscriptions, as databases are: one each. Default 23000-23999.
	ServicePorts PortRange
	// Domain is what subscriptions' host names end with: alias.Domain. Default "localhost".
	Domain string

	// Cartridges are the kinds of runtime that can be subscribed to.
	Cartridges []cartridge.Type
	// Policies are the scaling policies by name; "" is the default for
	// subscriptions that name none. Default for "": autoscale.InFlight{}.
	Policies map[string]autoscale.Policy
	// Accounts of clouds, in the order in which they are filled.
	Accounts []*cloud.Account
	// Balancer applies the routing table. Default: the built-in proxy on Listen.
	// balancer.Elsewhere{}: all balancers are processes of their own, see [Balancer].
	Balancer balancer.Backend
	// Store keeps the records; it is not closed by Close. Default: a file in Dir.
	Store store.Store
	// Blobs keep the releases. Default: a folder in Dir.
	Blobs artifact.Blobs
	// Backups keep the backups of services. Default: a folder in Dir, or with a
	// Store of its own, which others may share, none.
	Backups artifact.Blobs

	// Build bounds every build with all that it starts.
	Build BuildLimits
	// BuildUID is the user and group that builds run as if the control plane
	// runs as root; the number belongs to nobody else. Default 900000.
	BuildUID int

	// Poll is how often repositories are looked at without being told. Default 60 s.
	Poll time.Duration
	// Interval between two scaling decisions. Default 5 s.
	Interval time.Duration
	// Heartbeat between two reports of an agent. Default 15 s.
	Heartbeat time.Duration
	// Boot is the time from a launch to the first service. Default 10 min.
	Boot time.Duration
	// Grace is how long a silent member may come back. Default 60 s.
	Grace time.Duration
	// Drain is how long a leaving member may finish its requests. Default 60 s.
	Drain time.Duration

	// Trace, if set, is called at every step of an instance's launch; see
	// [controller.Step]. It must not block.
	Trace func(controller.Step, topology.MemberID)
	Log   *slog.Logger // default: none
}

// BuildLimits bound a build: where it reaches one it is stopped, and its release
// is refused with the reason.
type BuildLimits struct {
	Time      time.Duration // Default 15 min
	CPU       time.Duration // time of processors. Default 15 min
	Memory    int64         // bytes resident. Default 2 GiB
	Disk      int64         // bytes in its folders, with what former builds have cached. Default 4 GiB
	Processes int           // Default 512
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last int }

func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Platform is a running, or runnable, flavour. Its methods may be called concurrently.
type Platform struct {
	cfg         Config
	store       store.Store
	closeStore  func() error
	id          store.ID
	cartridges  map[string]cartridge.Type
	replica     replica
	fleet       *balancer.Fleet
	edge        *edge
	mirror      *topology.Mirror
	blobs       artifact.Blobs
	backups     artifact.Blobs // nil: there is no place for any
	coordinator *artifact.Coordinator
	controller  *controller.Controller
	recorder    *autoscale.Recorder
	scaler      *autoscale.Scaler
	proxy       *proxy.Proxy // nil if Config.Balancer is set
	logs        *api.Logs
	abilities   func() confine.Abilities // of this machine, to keep builds apart
}

// New checks everything, opens the data folder and prepares the accounts. It
// starts nothing; Close releases the folder. Errors say what is wrong and the cure.
func New(cfg Config) (*Platform, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Platform{cfg: cfg, cartridges: map[string]cartridge.Type{}, closeStore: func() error { return nil }}
	for _, t := range cfg.Cartridges {
		p.cartridges[t.Name()] = t
	}
	if err := p.open(); err != nil {
		return nil, errors.Join(err, p.closeStore())
	}
	p.compose()
	return p, nil
}

// Close releases the data folder. Run has returned before.
func (p *Platform) Close() error { return p.closeStore() }

// Config returns the configuration with its defaults filled in.
func (p *Platform) Config() Config { return p.cfg }

// Topology hands out views of the topology while Run runs.
func (p *Platform) Topology() topology.Source { return p.mirror }

// Decisions returns the scaler's last decisions about a cluster, oldest first.
func (p *Platform) Decisions(c topology.ClusterID) []autoscale.Decision {
	return p.scaler.Decisions(c)
}

// openTimeout bounds what New waits for.
const openTimeout = 30 * time.Second

// open prepares the folder, the store and the accounts.
func (p *Platform) open() error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if err := os.MkdirAll(p.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := p.openStore(ctx); err != nil {
		return err
	}
	var err error
	if p.id, err = p.store.ID(ctx); err != nil {
		return err
	}
	if err := p.claim(ctx); err != nil {
		return err
	}
	if err := p.openReplica(ctx); err != nil {
		return err
	}
	if err := p.adminToken(ctx); err != nil {
		return err
	}
	for _, a := range p.cfg.Accounts {
		dir := filepath.Join(p.cfg.Dir, "accounts", a.Name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
		if err := a.Open(ctx, dir); err != nil {
			return err
		}
		if err := p.locate(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) openStore(ctx context.Context) error {
	if p.cfg.Store != nil {
		p.store = p.cfg.Store
		return nil
	}
	path := filepath.Join(p.cfg.Dir, "stratos.db")
	s, err := bolt.Open(path, nil)
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("data folder %s is in use by another control plane: stop it, or choose another folder: %w", p.cfg.Dir, err)
	}
	if err != nil {
		return fmt.Errorf("data folder %s: %w", p.cfg.Dir, err)
	}
	p.store, p.closeStore = s, s.Close
	return nil
}

// compose makes the parts out of what is open.
func (p *Platform) compose() {
	cfg := p.cfg
	p.abilities = sync.OnceValue(confine.Probe)
	p.mirror = &topology.Mirror{Store: p.store}
	p.blobs = cfg.Blobs
	if p.blobs == nil {
		p.blobs = &artifact.DirBlobs{Path: filepath.Join(cfg.Dir, "blobs")}
	}
	p.backups = cfg.Backups
	if p.backups == nil && cfg.Store == nil {
		p.backups = &artifact.DirBlobs{Path: filepath.Join(cfg.Dir, "backups")}
	}
	p.coordinator = &artifact.Coordinator{
		Store: p.store, Blobs: p.blobs, Dir: filepath.Join(cfg.Dir, "artifacts"),
		Build: p.build, Note: noteOf, Poll: cfg.Poll, InUse: p.revisionsInUse,
		BuildTimeout: cfg.Build.Time, Admit: p.admit, Log: cfg.Log,
	}
	if cfg.Balancer == nil {
		p.proxy = &proxy.Proxy{TLS: p.memberTLS(), Log: cfg.Log}
		p.cfg.Balancer = p.proxy
	}
	p.fleet = &balancer.Fleet{Store: p.store}
	p.edge = p.builtIn()
	p.controller = &controller.Controller{
		Store: p.store, Topology: p.mirror, Accounts: cfg.Accounts,
		UserData: p.userData, Idle: p.drained, Trace: cfg.Trace, Log: cfg.Log,
		Heartbeat: cfg.Heartbeat, Boot: cfg.Boot, Grace: cfg.Grace, Drain: cfg.Drain,
	}
	p.logs = &api.Logs{Dir: filepath.Join(cfg.Dir, "logs")}
	p.recorder = &autoscale.Recorder{}
	p.scaler = &autoscale.Scaler{
		Store: p.store, Topology: p.mirror, Recorder: p.recorder,
		Policies: cfg.Policies, Interval: cfg.Interval, Log: cfg.Log,
	}
}

// builtIn is the balancer of this process. Among several replicas it tells the
// leader what it sees, as any other does.
func (p *Platform) builtIn() *edge {
	e := &edge{
		name: "proxy", source: p.mirror, backend: p.cfg.Balancer, log: p.log(),
		every: min(sampleEvery, p.cfg.Interval/2), samples: p.takeSamples,
	}
	if p.replica.shared {
		e.name, e.status = p.replica.url, p.takeStatus
	}
	return e
}

// drained reports whether no balancer has anything left to do with a runtime.
// A backend that cannot tell leaves it to the drain's deadline.
func (p *Platform) drained(c topology.ClusterID, m topology.MemberID, address string) bool {
	t := balancer.TargetID{Member: m, Address: address}
	if _, none := p.cfg.Balancer.(balancer.Elsewhere); !none {
		own, ok := p.cfg.Balancer.(balancer.Drainer)
		if !ok || !own.Drained(c, t) {
			return false
		}
	}
	return p.fleet.Drained(c, t)
}

func (p *Platform) log() *slog.Logger {
	if p.cfg.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.cfg.Log
}
