package controller

import "slices"

// place is one partition of one account, and how many members it takes.
type place struct {
	partition
	limit int // 0: no limit
}

// places are all of them, in the order in which they are filled: one after
// another.
func (c *Controller) places() []place {
	var all []place
	for _, a := range c.Accounts {
		if len(a.Partitions) == 0 {
			all = append(all, place{partition: partition{account: a.Name}})
		}
		for _, p := range a.Partitions {
			all = append(all, place{partition{a.Name, p.Name}, p.Max})
		}
	}
	return all
}

// placesAfter are all places, first those behind the one that refused.
func (c *Controller) placesAfter(refused partition) []place {
	all := c.places()
	at := slices.IndexFunc(all, func(p place) bool { return p.partition == refused })
	return append(all[at+1:len(all):len(all)], all[:at+1]...)
}
