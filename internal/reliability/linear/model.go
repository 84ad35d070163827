package linear

import (
	"math"

	"github.com/anishathalye/porcupine"

	"github.com/gostratos/stratos/store"
)

// Operation is one call and its answer: a Get, a List or a transaction.
type Operation struct {
	Client       int
	Call, Return int64

	Get  *int `json:",omitempty"` // the key
	List bool `json:",omitempty"`
	If   []Condition
	Then []Change

	Rev      store.Revision   // read at, committed at, or refused at; 0 if it is not known
	Saw      [keyCount]Record // by Get or List
	Unknown  bool
	Conflict bool
	Failed   Condition      // of a conflict: the first that did not hold
	Now      store.Revision // and what it was compared with
}

// Condition holds if a key was last written, or created, at Rev; 0: if it is absent.
type Condition struct {
	Key  int
	Kind store.CondKind
	Rev  store.Revision
}

// Change writes a key, or deletes it. No value is written twice.
type Change struct {
	Key    int
	Value  string
	Delete bool
}

// Record is what is at a key; the zero Record if nothing.
type Record struct {
	Value       string
	Mod, Create store.Revision
}

// hidden is the revision of a transaction of unknown outcome, until somebody saw it.
const hidden = -1

// state is the model: the keys, and a revision that was reached.
type state struct {
	rev  store.Revision
	keys [keyCount]Record
}

// Judge says whether a history is linearizable.
func Judge(history []Operation) Result {
	r := Result{Operations: len(history)}
	seen := revisions(history)
	ops := make([]porcupine.Operation, len(history))
	for i, op := range history {
		if op.Unknown { // may happen at any time later, or never
			r.Unknown++
			op.Return = math.MaxInt64
			for _, ch := range op.Then {
				op.Rev = max(op.Rev, seen[ch.Value])
			}
		}
		ops[i] = porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Return: op.Return}
	}
	r.Linearizable = porcupine.CheckOperations(porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, _ any) (bool, any) { return s.(state).step(in.(Operation)) },
	}, ops)
	return r
}

// revisions says at which revision each value was seen: that of a transaction
// whose writer was not told.
func revisions(history []Operation) map[string]store.Revision {
	seen := make(map[string]store.Revision)
	for _, op := range history {
		for _, saw := range op.Saw {
			if saw.Value != "" {
				seen[saw.Value] = saw.Mod
			}
		}
	}
	return seen
}

// step says whether op may happen in s, and what is then.
func (s state) step(op Operation) (bool, state) {
	switch {
	case op.Get != nil:
		ok, next := s.sees(op, *op.Get)
		return ok && op.Rev >= s.at(op.Rev), next.reached(op.Rev)
	case op.List:
		ok, next := true, s
		for i := range keyCount {
			if ok, next = next.sees(op, i); !ok {
				return false, s
			}
		}
		return op.Rev >= s.rev, next.reached(op.Rev)
	case op.Conflict:
		ok, next := s.refuses(op)
		return ok && op.Rev >= s.rev, next.reached(op.Rev)
	}
	ok, next := s.holds(op.If)
	if !ok {
		return op.Unknown, s // an unknown outcome may be that it was refused
	}
	return next.apply(op)
}

// at is the revision to be compared with one that may not be known.
func (s state) at(rev store.Revision) store.Revision {
	if rev == 0 {
		return 0
	}
	return s.rev
}

func (s state) reached(rev store.Revision) state {
	s.rev = max(s.rev, rev)
	return s
}

// sees says whether op reads what is at key. What was hidden is known from then on.
func (s state) sees(op Operation, key int) (bool, state) {
	is, saw := &s.keys[key], op.Saw[key]
	if is.Create == hidden && saw.Create != 0 {
		is.Create = saw.Create
	}
	return *is == saw, s
}

// compared is what a condition looks at.
func (s *state) compared(c Condition) *store.Revision {
	if c.Kind == store.CondCreate {
		return &s.keys[c.Key].Create
	}
	return &s.keys[c.Key].Mod
}

// holds says whether conditions may hold. A revision that nobody was told of
// is the one that a condition names: somebody was told of it in a conflict.
func (s state) holds(conds []Condition) (bool, state) {
	for _, c := range conds {
		is := s.compared(c)
		if *is == hidden && c.Rev != 0 {
			*is = c.Rev
		}
		if *is != c.Rev {
			return false, s
		}
	}
	return true, s
}

// refuses says whether the condition that failed is the first that does not hold.
func (s state) refuses(op Operation) (bool, state) {
	for _, c := range op.If {
		is := s.compared(c)
		if *is == hidden && c.Rev != 0 && c != op.Failed {
			*is = c.Rev // it held
		}
		if *is == c.Rev {
			continue
		}
		if c != op.Failed || op.Now == c.Rev {
			return false, s
		}
		if *is == hidden && op.Now != 0 {
			*is = op.Now
		}
		return *is == op.Now, s
	}
	return false, s
}

func (s state) apply(op Operation) (bool, state) {
	rev := op.Rev
	if rev == 0 {
		rev = hidden
	}
	next, changed := s, false
	for _, ch := range op.Then {
		was := s.keys[ch.Key]
		switch {
		case ch.Delete && was.Mod == 0:
			continue
		case ch.Delete:
			next.keys[ch.Key] = Record{}
		case was.Mod == 0:
			next.keys[ch.Key] = Record{Value: ch.Value, Mod: rev, Create: rev}
		default:
			next.keys[ch.Key] = Record{Value: ch.Value, Mod: rev, Create: was.Create}
		}
		changed = true
	}
	switch {
	case rev == hidden:
		return true, next
	case changed:
		return rev > s.rev, next.reached(rev)
	}
	return rev >= s.rev, next.reached(rev)
}
