package autoscale_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/autoscale"
)

// window makes samples of an interval of 5 s with these means in flight.
func window(inFlight ...float64) []autoscale.Sample {
	var out []autoscale.Sample
	for _, v := range inFlight {
		out = append(out, autoscale.Sample{Interval: 5 * time.Second, InFlight: v})
	}
	return out
}

func repeat(n int, s autoscale.Sample) []autoscale.Sample {
	return slices.Repeat([]autoscale.Sample{s}, n)
}

func TestInFlightGoldenVectors(t *testing.T) {
	idle := func(n int) []autoscale.Sample { return repeat(n, autoscale.Sample{Interval: 5 * time.Second}) }
	tests := []struct {
		name     string
		members  autoscale.Members
		min, max int
		samples  []autoscale.Sample
		want     int
		reason   string
	}{
		{"1, 7: hold", autoscale.Members{Active: 1}, 1, 10, window(7, 7, 7), 1,
			"7 in flight on average over 3 samples, 1 member carries 7: enough"},
		{"1, 7.1", autoscale.Members{Active: 1}, 1, 10, window(7.1, 7.1, 7.1), 2,
			"7.1 in flight on average over 3 samples, 1 member carries 7: 2 needed"},
		{"1, 70", autoscale.Members{Active: 1}, 1, 10, window(70, 70, 70), 10,
			"70 in flight on average over 3 samples, 1 member carries 7: 10 needed"},
		{"1, 200: at most 10", autoscale.Members{Active: 1}, 1, 10, window(200, 200, 200), 10,
			"200 in flight on average over 3 samples, 1 member carries 7: 29 needed, at most 10 allowed"},
		{"3 with 2 pending, 21: hold", autoscale.Members{Active: 1, Pending: 2}, 1, 10, window(21, 21, 21), 3,
			"21 in flight on average over 3 samples, 3 members carry 21: enough"},
		{"3 with 2 pending, 21.1", autoscale.Members{Active: 1, Pending: 2}, 1, 10, window(21.1, 21.1, 21.1), 4,
			"21.1 in flight on average over 3 samples, 3 members carry 21: 4 needed"},
		{"3, 10: hold", autoscale.Members{Active: 3}, 1, 10, window(10, 10, 10), 3,
			"10 in flight on average over 3 samples, 3 members carry 21: enough"},
		{"3, 9.9", autoscale.Members{Active: 3}, 1, 10, window(9.9, 9.9, 9.9), 2,
			"9.9 in flight on average over 3 samples, below 10: 2 will do"},
		{"3, 9.9, one draining: hold", autoscale.Members{Active: 3, Draining: 1}, 1, 10, window(9.9, 9.9, 9.9), 3,
			"9.9 in flight on average over 3 samples, below 10: 2 would do, but 1 still draining"},
		{"1, 0: hold", autoscale.Members{Active: 1}, 1, 10, window(0, 0, 0), 1,
			"0 in flight on average over 3 samples, 1 member carries 7: enough"},
		{"1, 0, min 0: hold", autoscale.Members{Active: 1}, 0, 10, idle(59), 1,
			"0 in flight on average over 3 samples, 1 member carries 7: enough"},
		{"1, min 0, idle for 5 min", autoscale.Members{Active: 1}, 0, 10, idle(60), 0,
			"nothing in flight for 5 min: none needed"},
		{"1, min 1, idle for 5 min: hold", autoscale.Members{Active: 1}, 1, 10, idle(60), 1,
			"0 in flight on average over 3 samples, 1 member carries 7: enough"},
		{"0, queue 3", autoscale.Members{}, 0, 10, []autoscale.Sample{{Queue: 3}}, 1,
			"3 queued and no members: 1 needed"},

		// What the vectors leave open.
		{"suspended members are supply", autoscale.Members{Active: 2, Other: 1}, 1, 10, window(21, 21, 21), 3, ""},
		{"the mean of the last three", autoscale.Members{Active: 2}, 1, 10, window(900, 20, 31, 42), 5,
			"31 in flight on average over 3 samples, 2 members carry 14: 5 needed"},
		{"down one at a time", autoscale.Members{Active: 9}, 1, 10, window(0, 0, 0), 8, ""},
		{"0, queue and a full window", autoscale.Members{}, 0, 10, []autoscale.Sample{{InFlight: 20}, {InFlight: 20}, {InFlight: 20, Queue: 20}}, 3, ""},
		{"0, nothing queued: hold", autoscale.Members{}, 0, 10, window(0, 0, 0), 0, ""},
		{"below the minimum", autoscale.Members{}, 2, 10, window(0, 0, 0), 2, ""},
		{"above the maximum", autoscale.Members{Active: 7}, 1, 5, window(45, 45, 45), 5, ""},
		{"arrivals are not idle", autoscale.Members{Active: 1}, 0, 10,
			repeat(60, autoscale.Sample{Interval: 5 * time.Second, Arrivals: .1}), 1, ""},
		{"absurdly many", autoscale.Members{Active: 1}, 1, 10, window(math.MaxFloat64, math.MaxFloat64, math.MaxFloat64), 10, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := &autoscale.Observation{Interval: 5 * time.Second, Min: tt.min, Max: tt.max, Members: tt.members, Samples: tt.samples}
			got, err := autoscale.InFlight{PerMember: 10}.Recommend(o)
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Size, got.Reason)
			if tt.reason != "" {
				require.Equal(t, tt.reason, got.Reason)
			}
		})
	}
}

func TestInFlightNeedsData(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		name    string
		samples []autoscale.Sample
	}{
		{"no samples", nil},
		{"window not full", window(900, 900)},
		{"NaN", window(1, nan, 1)},
		{"infinite", window(1, 1, inf)},
		{"negative", window(-1, 1, 1)},
		{"queue is NaN", []autoscale.Sample{{Queue: nan}, {}, {}}},
		{"queue is negative", []autoscale.Sample{{}, {}, {Queue: -1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range []int{0, 2} {
				o := &autoscale.Observation{Min: 0, Max: 10, Members: autoscale.Members{Active: n}, Samples: tt.samples}
				_, err := autoscale.InFlight{}.Recommend(o)
				require.ErrorIs(t, err, autoscale.ErrNoData)
			}
		})
	}
}

func TestInFlightHoldsTheWant(t *testing.T) {
	o := &autoscale.Observation{Min: 1, Max: 10, Want: 4, Members: autoscale.Members{Active: 3, Draining: 1}, Samples: window(18, 18, 18)}
	got, err := autoscale.InFlight{}.Recommend(o)
	require.NoError(t, err)
	require.Equal(t, 4, got.Size, "a member that was lost is replaced, not saved: %s", got.Reason)
}

func TestInFlightSettings(t *testing.T) {
	o := &autoscale.Observation{Min: 0, Max: 10, Members: autoscale.Members{Active: 1}, Samples: repeat(60, autoscale.Sample{Interval: 5 * time.Second})}
	tests := []struct {
		name    string
		policy  autoscale.InFlight
		problem string
	}{
		{"defaults", autoscale.InFlight{}, ""},
		{"never idle", autoscale.InFlight{IdleAfter: -1}, ""},
		{"negative members' worth", autoscale.InFlight{PerMember: -1}, "PerMember"},
		{"NaN members' worth", autoscale.InFlight{PerMember: math.NaN()}, "PerMember"},
		{"negative window", autoscale.InFlight{Window: -1}, "Window"},
		{"swings", autoscale.InFlight{Up: .5, Down: .5}, "swing"},
		{"NaN threshold", autoscale.InFlight{Up: math.NaN()}, "swing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.policy.Recommend(o)
			if tt.problem != "" {
				require.ErrorContains(t, err, tt.problem)
				require.NotErrorIs(t, err, autoscale.ErrNoData)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.policy.IdleAfter == 0, got.Size == 0, got.Reason)
		})
	}
}
