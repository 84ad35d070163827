package controller

import (
	"github.com/gostratos/stratos/topology"
)

// place is one partition of one account, and how many members it still takes.
type place struct {
	account, partition string
	room               int
}

// places are all of them, in the order in which they are filled: one after
// another.
type places struct{ all []place }

// places counts what is left in every partition. Whatever is not Terminated
// takes room.
func (r *run) places(v *topology.View) *places {
	used := map[[2]string]int{}
	for c := range v.Clusters() {
		for _, m := range c.Members() {
			if m.State != topology.Terminated {
				used[[2]string{m.Account, m.Partition}]++
			}
		}
	}
	p := &places{}
	const unlimited = 1 << 30
	for _, a := range r.Accounts {
		if len(a.Partitions) == 0 {
			p.all = append(p.all, place{account: a.Name, room: unlimited})
		}
		for _, part := range a.Partitions {
			room := unlimited
			if part.Max > 0 {
				room = part.Max - used[[2]string{a.Name, part.Name}]
			}
			p.all = append(p.all, place{account: a.Name, partition: part.Name, room: room})
		}
	}
	return p
}

// take uses up one place.
func (p *places) take() (account, partition string, ok bool) {
	for i := range p.all {
		if p.all[i].room > 0 {
			p.all[i].room--
			return p.all[i].account, p.all[i].partition, true
		}
	}
	return "", "", false
}

// after finds the next place with room behind the one that refused, and
// begins again at the first.
func (p *places) after(account, partition string) (string, string, bool) {
	at := -1
	for i, pl := range p.all {
		if pl.account == account && pl.partition == partition {
			at = i
		}
	}
	for i := range p.all {
		if pl := p.all[(at+1+i)%len(p.all)]; pl.room > 0 {
			return pl.account, pl.partition, true
		}
	}
	return "", "", false
}
