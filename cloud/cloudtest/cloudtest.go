// Package cloudtest holds a [cloud.Driver] to its promises.
//
// [Run] is one call in a driver's own tests. It launches, terminates and kills
// real instances of whatever cloud the [Harness] opens, and leaves none behind.
// Each subtest is named by the promise that it checks. What a cloud cannot
// promise is known from its [cloud.Capabilities]: a driver that is idempotent
// [cloud.ByTags] is not asked to launch twice.
package cloudtest

import (
	"testing"
	"time"

	"github.com/gostratos/stratos/cloud"
)

// Harness says how to test one driver.
type Harness struct {
	// Open returns a driver that is ready for use. Each call in one test means
	// the same cloud, as after a restart of the platform. Required.
	Open func(t testing.TB) cloud.Driver
	// Kill ends an instance behind the driver's back, as a power cut does.
	// Required.
	Kill func(t testing.TB, id cloud.InstanceID)

	// Fill completes a request with what this cloud asks for: image, size,
	// partition, user-data. Default: nothing, and user-data "{}".
	Fill func(s *cloud.Spec)
	// Many is how many instances ListIsWhole launches: more than fit into one
	// answer of the cloud. Default 8.
	Many int
	// Within is how long a change may take to show, beyond the list lag.
	// Default 30 s.
	Within time.Duration
}

func (h Harness) many() int {
	if h.Many > 0 {
		return h.Many
	}
	return 8
}

func (h Harness) within() time.Duration {
	if h.Within > 0 {
		return h.Within
	}
	return 30 * time.Second
}

// promise is one thing that a driver promises.
type promise struct {
	name  string
	check func(s *scene)
}

func promises() []promise {
	return []promise{
		{"LaunchReturnsTheInstance", launchReturnsTheInstance},
		{"LaunchIsIdempotent", launchIsIdempotent},
		{"LaunchWithAnotherRequestIsRefused", launchWithAnotherRequestIsRefused},
		{"LostAnswersDoNotDouble", lostAnswersDoNotDouble},
		{"RunningHasAnAddress", runningHasAnAddress},
		{"TerminateEnds", terminateEnds},
		{"TerminateOfGoneSucceeds", terminateOfGoneSucceeds},
		{"ListIsWhole", listIsWhole},
		{"ListIsWholeOrAnError", listIsWholeOrAnError},
		{"ListIsOnlyOwners", listIsOnlyOwners},
		{"TagsAreThere", tagsAreThere},
		{"LaunchTimeIsTold", launchTimeIsTold},
		{"AnswersBelongToTheCaller", answersBelongToTheCaller},
		{"GoneIsSeen", goneIsSeen},
		{"SurvivesReopen", survivesReopen},
		{"CallsMayOverlap", callsMayOverlap},
	}
}

// Run checks every promise, each in a subtest.
func Run(t *testing.T, h Harness) {
	for _, p := range promises() {
		t.Run(p.name, func(t *testing.T) { p.check(newScene(t, h)) })
	}
}
