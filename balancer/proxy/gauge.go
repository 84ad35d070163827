package proxy

import "time"

// gauge is a number and its integral over time. Whoever guards it with a lock
// reads the clock under that lock: then the steps of the integral neither
// overlap nor leave gaps, and it is exact to the clock's resolution however
// many goroutines count.
//
// The integral is in nanoseconds: it wraps after 292 request-years (a thousand
// requests in flight for 106 days), and the difference of two readings stays
// right even then.
type gauge struct {
	n     int
	since time.Time     // of the last change
	sum   time.Duration // the integral until since
}

// add changes the number at a time that is not before the last one.
func (g *gauge) add(d int, now time.Time) {
	g.sum = g.at(now)
	g.n += d
	g.since = now
}

// at is the integral until now.
func (g *gauge) at(now time.Time) time.Duration {
	if g.n == 0 {
		return g.sum
	}
	return g.sum + time.Duration(g.n)*now.Sub(g.since)
}
