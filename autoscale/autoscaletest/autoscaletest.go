// Package autoscaletest is the conformance kit of [autoscale.Policy]: what a
// scaling policy must promise, whatever its rule. An author calls [Run] in a
// test of the policy's own package:
//
//	func TestConformance(t *testing.T) {
//		autoscaletest.Run(t, func() autoscale.Policy { return mine.Policy{} })
//	}
//
// The kit drives the policy through rounds of a simulated cluster: members
// take their time to boot, a load stays or swings, signals fail. It looks at
// sizes only and has no opinion on how many members a load needs.
package autoscaletest

import (
	"testing"

	"github.com/gostratos/stratos/autoscale"
)

// TB is the part of *testing.T that the checks use.
type TB interface {
	Helper()
	// Fatalf ends the check.
	Fatalf(format string, args ...any)
}

// Run checks every promise, each in a subtest of its name. newPolicy returns
// the policy under test, always with the same settings; one that learns is
// given a fresh memory for every simulated cluster, as the Scaler does.
func Run(t *testing.T, newPolicy func() autoscale.Policy) {
	t.Helper()
	for _, p := range promises() {
		t.Run(p.name, func(t *testing.T) { p.check(t, newPolicy) })
	}
}

// promise is one thing that every policy must do.
type promise struct {
	name  string
	check func(t TB, newPolicy func() autoscale.Policy)
}

func promises() []promise {
	return []promise{
		{"IsDeterministic", isDeterministic},
		{"StaysWithinBounds", staysWithinBounds},
		{"CountsPending", countsPending},
		{"ConstantLoadSettles", constantLoadSettles},
		{"SwingStartsAreBounded", swingStartsAreBounded},
		{"MissingSamplesHold", missingSamplesHold},
		{"BadSamplesHold", badSamplesHold},
		{"DoesNotMutate", doesNotMutate},
		{"ClockJumpIsHarmless", clockJumpIsHarmless},
		{"MemorySurvivesSaving", memorySurvivesSaving},
		{"MemoriesShareNothing", memoriesShareNothing},
	}
}
