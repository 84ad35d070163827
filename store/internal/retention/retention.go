// Package retention decides how much history an engine keeps.
package retention

import (
	"time"

	"github.com/gostratos/stratos/store"
)

// The defaults of [Policy].
const (
	DefaultRevisions = 100_000
	DefaultFor       = 10 * time.Minute
)

// Policy is how much history is kept at least: history is forgotten only when
// it is beyond both. Time is counted while the store is open. The zero value keeps the defaults.
type Policy struct {
	Revisions int64         // default: 100 000
	For       time.Duration // default: 10 minutes
}

// Keeper applies a [Policy]. It is not safe for concurrent use; the zero value is ready.
type Keeper struct {
	Policy Policy

	marks []mark // which revision was the newest at which time, in order
}

type mark struct {
	at  time.Time
	rev store.Revision
}

// Horizon notes that head is the newest revision now, and returns the revision
// up to which history should be compacted: 0, or above compacted. It lags by
// an eighth of the policy, so that compaction comes seldom and is worth it.
func (k *Keeper) Horizon(now time.Time, head, compacted store.Revision) store.Revision {
	keep, keepFor := k.policy()
	if n := len(k.marks); n == 0 || now.Sub(k.marks[n-1].at) >= keepFor/8 {
		k.marks = append(k.marks, mark{now, head})
	}
	old := 0 // the marks that are old enough; the last of them counts
	for old < len(k.marks) && now.Sub(k.marks[old].at) >= keepFor {
		old++
	}
	if old == 0 {
		return 0
	}
	k.marks = k.marks[old-1:]
	upTo := min(k.marks[0].rev, head-store.Revision(keep))
	if upTo-compacted < store.Revision(max(keep/8, 1)) {
		return 0
	}
	return upTo
}

func (k *Keeper) policy() (int64, time.Duration) {
	p := k.Policy
	if p.Revisions <= 0 {
		p.Revisions = DefaultRevisions
	}
	if p.For <= 0 {
		p.For = DefaultFor
	}
	return p.Revisions, p.For
}
