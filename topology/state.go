package topology

import (
	"fmt"
	"slices"
	"time"
)

// State is where a member is in its life.
type State string

// The states of a member.
const (
	Created         State = "Created"         // the intent is recorded
	Initialized     State = "Initialized"     // the instance's id is recorded
	Starting        State = "Starting"        // its agent joined
	Active          State = "Active"          // it serves
	Suspended       State = "Suspended"       // it fell silent
	InMaintenance   State = "InMaintenance"   // it drains
	ReadyToShutDown State = "ReadyToShutDown" // drained
	Terminating     State = "Terminating"     // its instance is being ended
	Terminated      State = "Terminated"      // gone; a tombstone
)

// moves is the whole life of a member: everything else is refused.
var moves = map[State][]State{
	"":              {Created},
	Created:         {Initialized, Terminating},
	Initialized:     {Starting, Terminating},
	Starting:        {Active, Suspended, Terminating},
	Active:          {Starting, Suspended, InMaintenance, Terminating},
	Suspended:       {Active, Starting, InMaintenance, Terminating},
	InMaintenance:   {Active, ReadyToShutDown, Terminating},
	ReadyToShutDown: {Terminating},
	Terminating:     {Terminated},
}

// TransitionError says that a member may not move from From to To.
type TransitionError struct {
	Member   MemberID
	From, To State
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("member %s: no transition from %q to %q", e.Member, e.From, e.To)
}

// To moves the member to a state, for a reason, at a time, until a deadline
// (zero: for ever). A move that is not in the table is a *TransitionError and
// changes nothing.
func (m Member) To(s State, reason string, now, deadline time.Time) (Member, error) {
	if !slices.Contains(moves[m.State], s) {
		return m, &TransitionError{Member: m.ID, From: m.State, To: s}
	}
	m.State, m.Reason, m.Since, m.Deadline = s, reason, now, deadline
	return m, nil
}

// Supply reports whether a member in this state serves, or soon will.
func (s State) Supply() bool {
	switch s {
	case Created, Initialized, Starting, Active, Suspended:
		return true
	}
	return false
}

// Pending reports whether a member in this state is on its way to its first request.
func (s State) Pending() bool { return s == Created || s == Initialized || s == Starting }

// Draining reports whether a member in this state is on its way out, with its
// instance still there.
func (s State) Draining() bool {
	return s == InMaintenance || s == ReadyToShutDown || s == Terminating
}
