package autoscale

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// InFlight follows the requests in flight: up early, and at once to what the
// load needs; down slowly, one member at a time and only while none is draining.
// It looks at no clock. The zero value works.
//
// With n members of supply (pending ones count, so a boot that takes long
// starts nothing twice) and the mean in flight of the last Window samples:
//
//	up    mean > n x PerMember x Up         to mean / (PerMember x Up), rounded up
//	down  mean < (n-1) x PerMember x Down   to n-1, if nothing is draining
//
// A cluster whose minimum is 0 goes to 0 when it was idle for IdleAfter, and
// back to at least 1 as soon as one request is queued.
type InFlight struct {
	// PerMember is how many requests one member serves at a time. Default: 10.
	PerMember float64
	// Window is how many samples are averaged; with fewer, the size is held. Default: 3.
	Window int
	// Up is the share of PerMember above which more members are needed. Default: 0.7.
	Up float64
	// Down is the share of PerMember below which one member less suffices. It
	// must be below Up, or sizes would swing. Default: 0.5.
	Down float64
	// IdleAfter is how long nothing may arrive, queue or be in flight until a
	// cluster whose minimum is 0 goes to 0. It cannot be longer than the
	// samples reach back (see [Recorder.Window]). Negative: never. Default: 5 min.
	IdleAfter time.Duration
}

var _ Policy = InFlight{}

// slack absorbs the rounding of sums and products at a threshold.
const slack = 1e-9

// Recommend implements [Policy]. Too few samples, or one that is negative or
// no number, are ErrNoData. Any other error is a setting that cannot work.
func (p InFlight) Recommend(o *Observation) (Recommendation, error) {
	p = p.withDefaults()
	if err := p.check(); err != nil {
		return Recommendation{}, err
	}
	n := o.Members.Supply()
	recent := o.Samples[max(0, len(o.Samples)-p.Window):]
	for i := range recent {
		if !recent[i].valid() {
			return Recommendation{}, fmt.Errorf("%w: a sample is negative or no number", ErrNoData)
		}
	}
	if n == 0 && len(recent) > 0 && recent[len(recent)-1].Queue > 0 {
		return p.wake(o, recent), nil
	}
	if o.Min <= 0 && p.idle(o) {
		return bounded(o, 0, fmt.Sprintf("nothing in flight for %s: none needed", span(p.IdleAfter))), nil
	}
	if len(recent) < p.Window {
		return Recommendation{}, fmt.Errorf("%w: %d of %s", ErrNoData, len(recent), count(p.Window, "sample"))
	}
	return p.follow(o, n, mean(recent)), nil
}

// follow is the rule for a cluster of n members with a full window.
func (p InFlight) follow(o *Observation, n int, avg float64) Recommendation {
	carry := float64(n) * p.PerMember * p.Up
	keep := float64(n-1) * p.PerMember * p.Down
	saw := fmt.Sprintf("%s in flight on average over %s", number(avg), count(p.Window, "sample"))
	switch {
	case avg > carry*(1+slack):
		size := p.needed(avg)
		return bounded(o, size, fmt.Sprintf("%s, %s %s: %d needed", saw, carries(n), number(carry), size))
	case avg >= keep*(1-slack):
		return bounded(o, held(o, n), fmt.Sprintf("%s, %s %s: enough", saw, carries(n), number(carry)))
	case o.Members.Draining > 0:
		return bounded(o, held(o, n), fmt.Sprintf("%s, below %s: %d would do, but %d still draining",
			saw, number(keep), n-1, o.Members.Draining))
	}
	return bounded(o, n-1, fmt.Sprintf("%s, below %s: %d will do", saw, number(keep), n-1))
}

// wake is the size of a cluster that has no members while requests wait. It
// does not wait for a full window: somebody is waiting for the first member.
func (p InFlight) wake(o *Observation, recent []Sample) Recommendation {
	size := 1
	if len(recent) == p.Window {
		size = max(size, p.needed(mean(recent)))
	}
	queued := recent[len(recent)-1].Queue
	return bounded(o, size, fmt.Sprintf("%s queued and no members: %d needed", number(queued), size))
}

// needed is how many members carry avg requests in flight.
func (p InFlight) needed(avg float64) int {
	n := math.Ceil(avg / (p.PerMember * p.Up) * (1 - slack))
	return int(min(n, math.MaxInt32)) // beyond any bound, and safe to convert
}

// idle reports whether the newest samples say that nothing happened for
// IdleAfter. It adds up intervals: a clock that jumped makes nobody idle.
func (p InFlight) idle(o *Observation) bool {
	if p.IdleAfter < 0 {
		return false
	}
	var quiet time.Duration
	for i := len(o.Samples) - 1; i >= 0; i-- {
		s := &o.Samples[i]
		if s.InFlight != 0 || s.Queue != 0 || s.Arrivals != 0 {
			return false
		}
		length := s.Interval
		if length <= 0 {
			length = o.Interval
		}
		if quiet += length; quiet >= p.IdleAfter {
			return true
		}
	}
	return false
}

func (p InFlight) withDefaults() InFlight {
	if p.PerMember == 0 {
		p.PerMember = 10
	}
	if p.Window == 0 {
		p.Window = 3
	}
	if p.Up == 0 {
		p.Up = .7
	}
	if p.Down == 0 {
		p.Down = .5
	}
	if p.IdleAfter == 0 {
		p.IdleAfter = 5 * time.Minute
	}
	return p
}

func (p InFlight) check() error {
	switch {
	case !(p.PerMember > 0) || math.IsInf(p.PerMember, 1):
		return fmt.Errorf("in-flight policy: PerMember is %g: set a number above 0", p.PerMember)
	case p.Window < 0:
		return fmt.Errorf("in-flight policy: Window is %d: set the number of samples to average", p.Window)
	case !(p.Down > 0 && p.Down < p.Up) || math.IsInf(p.Up, 1):
		return fmt.Errorf("in-flight policy: Down %g and Up %g would swing: set 0 < Down < Up", p.Down, p.Up)
	}
	return nil
}

// held is the size that changes nothing.
func held(o *Observation, n int) int {
	if o.Want > 0 {
		return o.Want
	}
	return n
}

// bounded clamps a size, and says so in the reason.
func bounded(o *Observation, size int, reason string) Recommendation {
	switch c := clamp(size, o.Min, o.Max); {
	case c < size:
		return Recommendation{Size: c, Reason: fmt.Sprintf("%s, at most %d allowed", reason, c)}
	case c > size:
		return Recommendation{Size: c, Reason: fmt.Sprintf("%s, at least %d kept", reason, c)}
	}
	return Recommendation{Size: size, Reason: reason}
}

// clamp brings a size into [low, high]. If they contradict each other, high
// wins: it is what may be spent.
func clamp(size, low, high int) int { return max(0, min(max(size, low), high)) }

// valid reports whether the sample's traffic can be reckoned with.
func (s *Sample) valid() bool {
	for _, v := range [...]float64{s.InFlight, s.Queue, s.Arrivals} {
		if checkNumber(v) != nil {
			return false
		}
	}
	return true
}

// checkNumber refuses what is no amount of anything.
func checkNumber(v float64) error {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return errors.New("not a finite number")
	case v < 0:
		return errors.New("negative")
	}
	return nil
}

func mean(samples []Sample) float64 {
	var sum float64
	for i := range samples {
		sum += samples[i].InFlight / float64(len(samples)) // divided first: never overflows
	}
	return sum
}

// number writes an amount as one reads it: at most two digits after the point.
func number(v float64) string {
	if v >= 1e15 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func carries(n int) string {
	if n == 1 {
		return "1 member carries"
	}
	return strconv.Itoa(n) + " members carry"
}

// span writes a duration as one reads it: "5 min", "90 s".
func span(d time.Duration) string {
	switch {
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d >= time.Second && d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return d.String()
}
