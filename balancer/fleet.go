package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// FleetPrefix is where it is recorded which balancers there are elsewhere.
const FleetPrefix = "balancers/"

// Limits of a status.
const (
	MaxName    = 100    // bytes of a balancer's name
	MaxDrained = 10_000 // targets of one status
)

// ErrInvalid says that a status cannot be taken.
var ErrInvalid = errors.New("invalid balancer status")

// Status is what a balancer in another process says of itself, whole, every
// second or so.
type Status struct {
	Name string `json:"name"` // unique among the balancers of a platform
	Seq  uint64 `json:"seq"`  // one that is not above the last is passed over
	// Drained are the draining targets of the applied table that have nothing left to do.
	Drained []ClusterTarget `json:"drained,omitempty"`
}

// ClusterTarget names a target and its cluster.
type ClusterTarget struct {
	Cluster topology.ClusterID `json:"cluster"`
	Member  topology.MemberID  `json:"member"`
	Address string             `json:"address"`
}

// known is the record that there is a balancer. Only that is recorded: what it
// says every second lives in memory.
type known struct {
	V     int       `json:"v"`
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

// Fleet knows the balancers of other processes: a target is drained when all
// of them say so. One that is silent says nothing, so that its requests are
// not cut off while only the way to the control plane is broken; after Forget
// it counts as gone. Its methods may be called concurrently.
type Fleet struct {
	Store store.Store
	// Forget is the silence after which a balancer is forgotten. Default 10 min.
	Forget time.Duration

	mu   sync.Mutex
	last map[string]*heardStatus
}

var _ Drainer = (*Fleet)(nil)

// heardStatus is a balancer's last word. Seq 0: none yet, in this reign.
type heardStatus struct {
	at      time.Time
	seq     uint64
	drained map[ClusterTarget]bool
}

// Load reads which balancers there are; a new leader begins with it. What
// former statuses said is forgotten.
func (f *Fleet) Load(ctx context.Context) error {
	recs, _, err := store.ReadAll[known](ctx, f.Store, FleetPrefix)
	if err != nil {
		return err
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = map[string]*heardStatus{}
	for _, r := range recs {
		f.last[r.Value.Name] = &heardStatus{at: now}
	}
	return nil
}

// Heard takes a status. The first one of a balancer is recorded. ErrInvalid
// says what is wrong with it.
func (f *Fleet) Heard(ctx context.Context, s Status) error {
	switch {
	case s.Name == "" || len(s.Name) > MaxName:
		return fmt.Errorf("%w: its name has %d bytes, want 1 to %d", ErrInvalid, len(s.Name), MaxName)
	case len(s.Drained) > MaxDrained:
		return fmt.Errorf("%w: %d drained targets, at most %d", ErrInvalid, len(s.Drained), MaxDrained)
	}
	if !f.note(s) {
		return nil
	}
	rec := store.NewRecord(FleetPrefix+s.Name, known{V: 1, Name: s.Name, Since: time.Now()})
	op, err := rec.Put()
	if err != nil {
		return err
	}
	_, err = f.Store.Commit(ctx, store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{op}})
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return nil // recorded already
	}
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.last, s.Name) // its next status tries again
	}
	return err
}

// note keeps a status in memory, and reports whether its balancer is new.
func (f *Fleet) note(s Status) (fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		f.last = map[string]*heardStatus{}
	}
	h, ok := f.last[s.Name]
	if !ok {
		h = &heardStatus{}
		f.last[s.Name] = h
	}
	if s.Seq <= h.seq {
		return false // late, or doubled
	}
	h.at, h.seq, h.drained = time.Now(), s.Seq, make(map[ClusterTarget]bool, len(s.Drained))
	for _, t := range s.Drained {
		h.drained[t] = true
	}
	return !ok
}

// Drained implements [Drainer]: all balancers say so. Without any there is
// nobody who could send something.
func (f *Fleet) Drained(c topology.ClusterID, t TargetID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.last {
		if !h.drained[ClusterTarget{Cluster: c, Member: t.Member, Address: t.Address}] {
			return false
		}
	}
	return true
}

// Tidy forgets balancers that were silent for too long. The leader calls it
// now and then; guard is its own.
func (f *Fleet) Tidy(ctx context.Context, guard store.Cond) error {
	for _, name := range f.silent(time.Now()) {
		_, err := f.Store.Commit(ctx, store.Txn{If: []store.Cond{guard}, Then: []store.Op{{Key: FleetPrefix + name, Delete: true}}})
		if err != nil {
			return err
		}
		f.mu.Lock()
		delete(f.last, name)
		f.mu.Unlock()
	}
	return nil
}

func (f *Fleet) silent(now time.Time) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := maps.Clone(f.last)
	maps.DeleteFunc(gone, func(_ string, h *heardStatus) bool {
		return now.Sub(h.at) < cmp.Or(f.Forget, 10*time.Minute)
	})
	return slices.Sorted(maps.Keys(gone))
}

// DrainedOf lists the draining targets of a table that have nothing left to do.
func DrainedOf(t *Table, d Drainer) []ClusterTarget {
	var all []ClusterTarget
	if t == nil {
		return nil
	}
	for id, c := range t.Clusters {
		for _, target := range c.Targets {
			if target.Draining && d.Drained(id, target.TargetID) {
				all = append(all, ClusterTarget{Cluster: id, Member: target.Member, Address: target.Address})
			}
		}
	}
	return all
}

// Elsewhere is the backend of a control plane that has no balancer of its own:
// they all run in processes of their own, and follow the topology themselves.
type Elsewhere struct{}

var _ Backend = Elsewhere{}

// Apply implements [Backend]: there is nothing to do.
func (Elsewhere) Apply(context.Context, *Table) error { return nil }
