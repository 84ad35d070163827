package agent

import (
	"sync"

	"github.com/gostratos/stratos/internal/procfs"
)

// groups knows the process groups of the runtimes that run now.
type groups struct {
	mu  sync.Mutex
	ids map[int]bool
}

func newGroups() *groups { return &groups{ids: map[int]bool{}} }

func (g *groups) add(id int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids[id] = true
}

func (g *groups) remove(id int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.ids, id)
}

func (g *groups) has(id int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ids[id]
}

// memory is how much of the machine's memory the groups' processes hold, in
// bytes; what they share counts for each. 0 if it is unknown.
func (g *groups) memory() uint64 {
	all, err := procfs.All()
	if err != nil {
		return 0
	}
	var bytes uint64
	for _, p := range all {
		if g.has(p.Group) {
			bytes += p.Memory
		}
	}
	return bytes
}
