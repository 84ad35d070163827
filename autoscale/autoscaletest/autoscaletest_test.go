package autoscaletest

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/autoscale"
)

func TestInFlightKeepsThePromises(t *testing.T) {
	Run(t, func() autoscale.Policy { return autoscale.InFlight{} })
}

func TestALearnerKeepsThePromises(t *testing.T) {
	Run(t, func() autoscale.Policy { return &sticky{} })
}

// TestBrokenPoliciesFail is the test of the kit: a policy that breaks one
// promise must fail the check of that promise.
func TestBrokenPoliciesFail(t *testing.T) {
	ref := autoscale.InFlight{}
	made := 0
	tests := []struct {
		name    string
		promise string
		policy  func() autoscale.Policy
	}{
		{"depends on more than its input", "IsDeterministic", func() autoscale.Policy {
			made++
			return autoscale.InFlight{PerMember: float64(9 + made%2)}
		}},
		{"knows no maximum", "StaysWithinBounds", func() autoscale.Policy {
			return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
				free := *o
				free.Max = math.MaxInt
				return ref.Recommend(&free)
			})
		}},
		{"knows no minimum", "StaysWithinBounds", func() autoscale.Policy {
			return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
				free := *o
				free.Min = 0
				return ref.Recommend(&free)
			})
		}},
		{"starts what is pending once more", "CountsPending", func() autoscale.Policy {
			return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
				blind := *o
				blind.Members.Pending, blind.Want = 0, 0
				rec, err := ref.Recommend(&blind)
				rec.Size = min(rec.Size+o.Members.Pending, o.Max)
				return rec, err
			})
		}},
		{"never rests", "ConstantLoadSettles", func() autoscale.Policy {
			return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
				rec, err := ref.Recommend(o)
				rec.Size = min(rec.Size+int(o.Now.Unix()/600%2), o.Max)
				return rec, err
			})
		}},
		{"one threshold for up and down", "SwingStartsAreBounded", func() autoscale.Policy {
			return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
				if len(o.Samples) == 0 {
					return autoscale.Recommendation{}, autoscale.ErrNoData
				}
				need := int(math.Ceil(o.Samples[len(o.Samples)-1].InFlight / 7))
				return autoscale.Recommendation{Size: max(o.Min, min(need, o.Max))}, nil
			})
		}},
		{"takes silence for peace", "MissingSamplesHold", func() autoscale.Policy {
			return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
				if len(o.Samples) == 0 {
					return autoscale.Recommendation{Size: o.Min}, nil
				}
				return ref.Recommend(o)
			})
		}},
		{"takes NaN for 0", "BadSamplesHold", func() autoscale.Policy {
			return cleaned(func(v float64) bool { return math.IsNaN(v) })
		}},
		{"takes infinity for 0", "BadSamplesHold", func() autoscale.Policy {
			return cleaned(func(v float64) bool { return math.IsInf(v, 0) })
		}},
		{"takes less than 0 for 0", "BadSamplesHold", func() autoscale.Policy {
			return cleaned(func(v float64) bool { return v < 0 })
		}},
		{"sorts the samples in place", "DoesNotMutate", func() autoscale.Policy {
			return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
				rec, err := ref.Recommend(o)
				slices.SortFunc(o.Samples, func(a, b autoscale.Sample) int { return int(b.InFlight - a.InFlight) })
				return rec, err
			})
		}},
		{"drops a metric that it has read", "DoesNotMutate", func() autoscale.Policy {
			return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
				delete(o.Metrics, "lag")
				return ref.Recommend(o)
			})
		}},
		{"takes a jump forward for idleness", "ClockJumpIsHarmless", jumpy(20 * time.Minute)},
		{"takes a jump back for idleness", "ClockJumpIsHarmless", jumpy(-20 * time.Minute)},
		{"takes a small jump for idleness", "ClockJumpIsHarmless", jumpy(25 * time.Second)},
		{"saves nothing", "MemorySurvivesSaving", func() autoscale.Policy { return &sticky{forgetful: true} }},
		{"all clusters are one", "MemoriesShareNothing", func() autoscale.Policy { return &sticky{shared: &memory{}} }},
	}
	checks := map[string]promise{}
	broken := map[string]bool{}
	for _, p := range promises() {
		checks[p.name] = p
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := checks[tt.promise]
			require.NotNil(t, p.check, "no promise is called %s", tt.promise)
			require.NotEmpty(t, failure(p, tt.policy), "the kit did not notice")
			broken[tt.promise] = true
		})
	}
	for name := range checks {
		require.True(t, broken[name], "no policy breaks %s", name)
	}
}

func TestAPolicyThatFailsIsNoticed(t *testing.T) {
	failing := func() autoscale.Policy { return autoscale.InFlight{PerMember: -1} }
	for _, p := range promises() {
		if p.name == "MemorySurvivesSaving" || p.name == "MemoriesShareNothing" {
			continue // not a learner
		}
		require.Contains(t, failure(p, failing), "PerMember", p.name)
	}
}

// failure returns what a check complains of, or nothing.
func failure(p promise, policy func() autoscale.Policy) string {
	tb := &recording{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.check(tb, policy)
	}()
	<-done
	return tb.failed
}

// recording is a TB that keeps the failure instead of failing.
type recording struct{ failed string }

func (r *recording) Helper() {}
func (r *recording) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// rule is a policy that is a function.
type rule func(o *autoscale.Observation) (autoscale.Recommendation, error)

func (r rule) Recommend(o *autoscale.Observation) (autoscale.Recommendation, error) { return r(o) }

// cleaned is a policy that takes bad values for 0.
func cleaned(bad func(float64) bool) autoscale.Policy {
	return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
		c := *o
		c.Samples = slices.Clone(o.Samples)
		for i := range c.Samples {
			s := &c.Samples[i]
			for _, v := range []*float64{&s.InFlight, &s.Queue, &s.Arrivals} {
				if bad(*v) {
					*v = 0
				}
			}
		}
		return autoscale.InFlight{}.Recommend(&c)
	})
}

// jumpy makes a policy that thinks nothing happened between two samples that
// are further apart than far.
func jumpy(far time.Duration) func() autoscale.Policy {
	return func() autoscale.Policy {
		return rule(func(o *autoscale.Observation) (autoscale.Recommendation, error) {
			for i := 1; i < len(o.Samples); i++ {
				gap := o.Samples[i].At.Sub(o.Samples[i-1].At)
				if far > 0 && gap > far || far < 0 && gap < far {
					return autoscale.Recommendation{Size: o.Min}, nil
				}
			}
			return autoscale.InFlight{}.Recommend(o)
		})
	}
}

// sticky learns: it keeps to the largest of its last sizes.
type sticky struct {
	forgetful bool
	shared    *memory
}

func (s *sticky) Recommend(o *autoscale.Observation) (autoscale.Recommendation, error) {
	return s.Learn().Recommend(o)
}

func (s *sticky) Learn() autoscale.Memory {
	if s.shared != nil {
		return s.shared
	}
	return &memory{forgetful: s.forgetful}
}

type memory struct {
	forgetful bool
	last      []int
}

func (m *memory) Recommend(o *autoscale.Observation) (autoscale.Recommendation, error) {
	rec, err := autoscale.InFlight{}.Recommend(o)
	if err != nil {
		return rec, err
	}
	m.last = append(m.last, rec.Size)
	m.last = m.last[max(0, len(m.last)-20):]
	return autoscale.Recommendation{Size: max(o.Min, min(slices.Max(m.last), o.Max)), Reason: "the largest of the last"}, nil
}

func (m *memory) MarshalBinary() ([]byte, error) {
	if m.forgetful {
		return nil, nil
	}
	return json.Marshal(m.last)
}

func (m *memory) UnmarshalBinary(data []byte) error {
	if m.forgetful {
		return nil
	}
	return json.Unmarshal(data, &m.last)
}

var _ autoscale.Learner = (*sticky)(nil)
