package autoscaletest_test

import (
	"testing"

	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/autoscale/autoscaletest"
)

func ExampleRun() {
	// In a file of the policy's own package:
	_ = func(t *testing.T) { // func TestConformance(t *testing.T)
		autoscaletest.Run(t, func() autoscale.Policy { return autoscale.InFlight{PerMember: 25} })
	}
}
