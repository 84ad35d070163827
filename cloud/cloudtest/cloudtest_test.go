package cloudtest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/cloudtest"
)

// The reference keeps every promise, whatever makes it idempotent.
func TestReferenceKeepsAllPromises(t *testing.T) {
	for _, kind := range []cloud.Idempotency{cloud.ByToken, cloud.ByName, cloud.ByTags} {
		t.Run(string(kind), func(t *testing.T) { cloudtest.Run(t, harness(kind, "")) })
	}
}

// mutations break the reference driver, each in one way that one promise names.
var mutations = []struct{ name, promise string }{
	{"the name is changed", "LaunchReturnsTheInstance"},
	{"the partition is lost", "LaunchReturnsTheInstance"},
	{"nothing starts", "LaunchReturnsTheInstance"},
	{"a repeated launch makes another", "LaunchIsIdempotent"},
	{"a repeated launch returns another id", "LaunchIsIdempotent"},
	{"launch looks, then acts", "LaunchIsIdempotent"},
	{"another request gets the first instance", "LaunchWithAnotherRequestIsRefused"},
	{"another request replaces the instance", "LaunchWithAnotherRequestIsRefused"},
	{"another request is refused without a sentinel", "LaunchWithAnotherRequestIsRefused"},
	{"a lost answer loses the token", "LostAnswersDoNotDouble"},
	{"a broken-off launch says surely not", "LostAnswersDoNotDouble"},
	{"no address", "RunningHasAnAddress"},
	{"terminate does nothing", "TerminateEnds"},
	{"terminate ends all of the owner's", "TerminateEnds"},
	{"terminate of what is gone is an error", "TerminateOfGoneSucceeds"},
	{"terminate of what was killed is an error", "TerminateOfGoneSucceeds"},
	{"list stops after a page", "ListIsWhole"},
	{"list repeats an instance", "ListIsWhole"},
	{"a broken-off list is a part", "ListIsWholeOrAnError"},
	{"list does not look at the owner", "ListIsOnlyOwners"},
	{"list of an unknown owner is an error", "ListIsOnlyOwners"},
	{"no owner means all", "ListIsOnlyOwners"},
	{"launch answers without tags", "TagsAreThere"},
	{"list has no tags", "TagsAreThere"},
	{"an odd tag is lost", "TagsAreThere"},
	{"the launch time is now", "LaunchTimeIsTold"},
	{"no launch time", "LaunchTimeIsTold"},
	{"the caller's map is kept", "AnswersBelongToTheCaller"},
	{"the driver's own map is given away", "AnswersBelongToTheCaller"},
	{"the driver's own slice is given away", "AnswersBelongToTheCaller"},
	{"the dead are listed as running", "GoneIsSeen"},
	{"a restart forgets", "SurvivesReopen"},
	{"a restart ends what runs", "SurvivesReopen"},
	{"a restart forgets the tags", "SurvivesReopen"},
	{"terminate does nothing", "CallsMayOverlap"},
}

func TestKitFindsEachBrokenPromise(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // some wait for what never comes
			for _, kind := range []cloud.Idempotency{cloud.ByToken, cloud.ByName} {
				h := harness(kind, m.name)
				h.Within = 300 * time.Millisecond
				require.NotEmpty(t, check(t, m.promise, h), "%s was not found by %s", m.name, m.promise)
			}
		})
	}
}

func TestEveryPromiseHasAMutation(t *testing.T) {
	for _, name := range cloudtest.Promises() {
		found := slices.ContainsFunc(mutations, func(m struct{ name, promise string }) bool { return m.promise == name })
		require.True(t, found, "nothing shows that %s can fail", name)
	}
}

// The kit ends what it launched, also when a promise is broken.
func TestKitLeavesNothing(t *testing.T) {
	for _, broken := range []string{"", "the name is changed"} {
		h := harness(cloud.ByName, broken)
		for _, name := range cloudtest.Promises() {
			check(t, name, h)
		}
		d := h.Open(t).(*memory)
		for _, i := range d.dc.instances {
			require.Equal(t, cloud.Gone, i.State, "%s is left", i.ID)
		}
	}
}

// check runs one promise's test and returns how it failed.
func check(t *testing.T, promise string, h cloudtest.Harness) (failures []string) {
	r := &recorder{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { cloudtest.Check(r, promise, h) })
	wg.Wait()
	for _, f := range slices.Backward(r.cleanups) {
		wg.Go(f)
		wg.Wait()
	}
	return r.failures
}

// recorder is a test that may fail without failing the one around it.
type recorder struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.FailNow()
}

func (r *recorder) FailNow() {
	if len(r.failures) == 0 {
		r.failures = append(r.failures, "failed")
	}
	runtime.Goexit()
}

func (r *recorder) Cleanup(f func())         { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Context() context.Context { return r.TB.Context() }
