package autoscale

import (
	"maps"
	"slices"
	"sort"
	"time"
)

// series is a value that several sources send, over time.
type series struct {
	latest map[string]Metric // by source
	points []Metric          // over all sources, oldest first
}

// add keeps what a source says now, and drops those that fell silent.
func (s *series) add(source string, v float64, now time.Time, k keep) {
	if s.latest == nil {
		s.latest = map[string]Metric{}
	}
	s.latest[source] = Metric{At: now, Value: v}
	s.trim(now, k)
}

// pushSum adds a point: the sum over the sources.
func (s *series) pushSum(now time.Time) { s.push(now, s.sum()) }

// pushMean adds a point: the mean over the sources.
func (s *series) pushMean(now time.Time) { s.push(now, s.sum()/float64(len(s.latest))) }

func (s *series) push(now time.Time, v float64) {
	if n := len(s.points); n > 0 && now.Before(s.points[n-1].At) {
		now = s.points[n-1].At // two calls at a time: the order stays
	}
	s.points = append(s.points, Metric{At: now, Value: v})
	if extra := len(s.points) - maxRemembered; extra > 0 {
		s.points = append(s.points[:0], s.points[extra:]...)
	}
}

// sum adds in a fixed order, so that the same values give the same sum.
func (s *series) sum() (total float64) {
	for _, source := range slices.Sorted(maps.Keys(s.latest)) {
		total += s.latest[source].Value
	}
	return total
}

// trim drops the sources that fell silent, the points older than the window,
// and those from a future that a clock set back has taken away.
func (s *series) trim(now time.Time, k keep) {
	maps.DeleteFunc(s.latest, func(_ string, m Metric) bool { return now.Sub(m.At).Abs() > k.gone })
	oldest, newest := now.Add(-k.window), now.Add(k.gone)
	s.points = slices.DeleteFunc(s.points, func(m Metric) bool {
		return m.At.Before(oldest) || m.At.After(newest)
	})
}

// value is what held at t: the newest point until then, 0 if that is too old.
func (s *series) value(t time.Time, k keep) float64 {
	i := sort.Search(len(s.points), func(i int) bool { return s.points[i].At.After(t) }) - 1
	if i < 0 || t.Sub(s.points[i].At) > k.gone {
		return 0
	}
	return s.points[i].Value
}
