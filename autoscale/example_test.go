package autoscale_test

import (
	"fmt"
	"time"

	"github.com/gostratos/stratos/autoscale"
)

func ExampleInFlight() {
	policy := autoscale.InFlight{PerMember: 10}
	r, err := policy.Recommend(&autoscale.Observation{
		Min: 1, Max: 20,
		Members: autoscale.Members{Active: 1, Pending: 1},
		Samples: []autoscale.Sample{{InFlight: 22}, {InFlight: 31}, {InFlight: 40}},
	})
	fmt.Println(r.Size, err)
	fmt.Println(r.Reason)
	// Output:
	// 5 <nil>
	// 31 in flight on average over 3 samples, 2 members carry 14: 5 needed
}

// nightly is a whole policy: it keeps three members by day and one by night.
type nightly struct{}

func (nightly) Recommend(o *autoscale.Observation) (autoscale.Recommendation, error) {
	if h := o.Now.Hour(); h < 6 || h >= 22 {
		return autoscale.Recommendation{Size: 1, Reason: "night"}, nil
	}
	return autoscale.Recommendation{Size: 3, Reason: "day"}, nil
}

func ExamplePolicy() {
	var p autoscale.Policy = nightly{}
	r, err := p.Recommend(&autoscale.Observation{Now: time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)})
	fmt.Println(r.Size, r.Reason, err)
	// Output: 1 night <nil>
}
