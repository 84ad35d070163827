package autoscale

import "time"

// source is what one source said of one cluster.
type source struct {
	seq    uint64
	last   time.Time // when the newest report was received
	queued bool      // as the newest report said
	spans  []stretch // traffic, in the order of at
}

// stretch is a stretch of time that one report covers, and the rates in it.
type stretch struct {
	at     time.Time // its end
	length time.Duration
	rates  rates
}

// rates are per second; of what is in flight and queued, that is the mean.
type rates struct{ inFlight, queue, arrivals, served float64 }

func (a *rates) add(b rates, weight float64) {
	a.inFlight += b.inFlight * weight
	a.queue += b.queue * weight
	a.arrivals += b.arrivals * weight
	a.served += b.served * weight
}

// record keeps a report that was received at now.
func (s *source) record(r *Report, now time.Time, k keep) {
	if now.Before(s.last) {
		now = s.last // two calls at a time; a clock that went back is the caller's to see
	}
	s.seq, s.last, s.queued = r.Seq, now, r.queued()
	if !r.traffic() {
		return
	}
	s.spans = append(s.spans, stretch{
		at:     now,
		length: time.Duration(r.Seconds * float64(time.Second)),
		rates: rates{
			inFlight: r.InFlightSeconds / r.Seconds,
			queue:    r.QueueSeconds / r.Seconds,
			arrivals: r.Arrivals / r.Seconds,
			served:   r.Served / r.Seconds,
		},
	})
	s.trim(now.Add(-k.window))
}

// trim drops what is older than oldest, and the oldest beyond the most that is
// remembered. The newest is kept: it says when the source last spoke.
func (s *source) trim(oldest time.Time) {
	drop := max(0, len(s.spans)-maxRemembered)
	for drop < len(s.spans)-1 && s.spans[drop].at.Before(oldest) {
		drop++
	}
	if drop > 0 {
		s.spans = append(s.spans[:0], s.spans[drop:]...)
	}
}

// patience is how long the source may be silent until nobody knows what goes
// on there: two intervals, or two of its own periods if those are longer.
func (s *source) patience(interval time.Duration, k keep) time.Duration {
	if len(s.spans) == 0 {
		return 2 * interval
	}
	return max(2*interval, min(2*s.spans[len(s.spans)-1].length, k.gone))
}

// silent reports whether nobody knows what goes on at the source. A last word
// from far in the future tells as little: the clock was set back.
func (s *source) silent(now time.Time, interval time.Duration, k keep) bool {
	gap := now.Sub(s.spans[len(s.spans)-1].at).Abs()
	return gap >= s.patience(interval, k)
}

// gone reports whether the source was silent for so long that what it had is elsewhere now.
func (s *source) gone(now, last time.Time, interval time.Duration, k keep) bool {
	return now.Sub(last).Abs() > max(k.gone, 2*s.patience(interval, k))
}

// known is how well a source knows an interval.
type known int

const (
	absent  known = iota // it was not there yet
	covered              // its reports cover some of it
	carried              // none does, but the one before was shortly before
	unknown              // it was silent
)

// during returns the source's mean rates in the interval that ends at end,
// weighted by time, and how much of it was covered. *newest is the position
// from which to look backwards; intervals are asked for from new to old.
func (s *source) during(end time.Time, interval time.Duration, newest *int, k keep) (rates, time.Duration, known) {
	begin := end.Add(-interval)
	for *newest >= 0 && !s.spans[*newest].begin().Before(end) {
		*newest--
	}
	var sum rates
	var seen time.Duration
	i := *newest
	for ; i >= 0 && s.spans[i].at.After(begin); i-- {
		if d := s.spans[i].overlap(begin, end); d > 0 {
			sum.add(s.spans[i].rates, d.Seconds())
			seen += d
		}
	}
	switch {
	case seen > 0:
		var avg rates
		avg.add(sum, 1/seen.Seconds())
		return avg, seen, covered
	case i < 0:
		return rates{}, 0, absent
	case end.Sub(s.spans[i].at) >= s.patience(interval, k):
		return rates{}, 0, unknown
	}
	return s.spans[i].rates, interval, carried
}

func (t *stretch) begin() time.Time { return t.at.Add(-t.length) }

// overlap is how much of the stretch lies between begin and end.
func (t *stretch) overlap(begin, end time.Time) time.Duration {
	from, to := t.begin(), t.at
	if from.Before(begin) {
		from = begin
	}
	if to.After(end) {
		to = end
	}
	return to.Sub(from)
}
