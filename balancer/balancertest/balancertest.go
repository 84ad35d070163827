// Package balancertest checks that a balancer keeps its promises: those of
// [balancer.Backend], and of [balancer.StatReader] and [balancer.Drainer] if
// it is one. It sends real requests to real HTTP servers on loopback.
//
//	func TestConformance(t *testing.T) {
//		balancertest.Run(t, func(t *testing.T) balancertest.Harness { ... })
//	}
package balancertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gostratos/stratos/balancer"
)

// patience is how long a promise may take: far longer than it should, on the
// slowest machine.
const patience = 60 * time.Second

// Harness is a balancer to check.
type Harness struct {
	// Backend has no table yet.
	Backend balancer.Backend
	// URL is where requests enter it: http://host:port.
	URL string
}

// Run checks every promise, each in a subtest named after it, on a balancer
// of its own that open starts and, with t.Cleanup, ends. Promises of an
// interface that the backend does not implement are not checked.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, p := range promises() {
		t.Run(p.name, func(t *testing.T) {
			if err := p.keep(t.Context(), open(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// promise is one thing that a balancer does.
type promise struct {
	name  string
	check func(ctx context.Context, b *bench) error
}

func promises() []promise {
	return []promise{
		{"RequestsAreSharedEvenly", sharedEvenly},
		{"UnknownHostIs404", unknownHost},
		{"TheLongestPathWins", longestPath},
		{"NoTargetWaitsOrIs503", noTarget},
		{"ATableIsWhole", wholeTable},
		{"UpdatesLoseNoRequest", updatesLoseNothing},
		{"ARefusedConnectionIsNoError", refusedConnection},
		{"APostReachesAMemberOnce", postOnce},
		{"ADrainingTargetFinishes", drainFinishes},
		{"DrainedIsTheTruth", drainedTruth},
		{"InFlightIsTheTruth", inFlightTruth},
		{"AKilledMemberHasNothingInFlight", killedMember},
	}
}

// keep runs the check on a balancer, and ends what it began.
func (p promise) keep(ctx context.Context, h Harness) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b := newBench(h)
	defer b.close()
	return p.check(ctx, b)
}

// eventually waits until the condition has nothing to complain about, and
// returns its last complaint if ctx ends before.
func eventually(ctx context.Context, condition func() error) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("still: %w", err)
		}
	}
}
