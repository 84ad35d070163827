package autoscale_test

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/autoscale"
)

const every = 5 * time.Second

// start is when the tests' clocks begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// after is the time n intervals after start.
func after(n int) time.Time { return start.Add(time.Duration(n) * every) }

// traffic is a report that covers one interval with a constant number in flight.
func traffic(source string, seq uint64, inFlight float64) autoscale.Report {
	return autoscale.Report{Source: source, Seq: seq, Cluster: "acme.shop", Seconds: 5, InFlightSeconds: 5 * inFlight, Arrivals: 50, Served: 40}
}

func inFlight(samples []autoscale.Sample) []float64 {
	out := []float64{}
	for _, s := range samples {
		out = append(out, math.Round(s.InFlight*1000)/1000)
	}
	return out
}

func TestRecorderMakesSamples(t *testing.T) {
	type event struct {
		at     time.Duration // after start
		report autoscale.Report
	}
	long := traffic("a", 1, 8)
	long.Seconds, long.InFlightSeconds = 15, 120
	half := func(seq uint64, v float64) autoscale.Report {
		r := traffic("a", seq, v)
		r.Seconds, r.InFlightSeconds = 2.5, 2.5*v
		return r
	}
	tests := []struct {
		name   string
		events []event
		at     time.Duration
		want   []float64
	}{
		{"no report", nil, 0, []float64{}},
		{"one source", []event{{0, traffic("a", 1, 3)}, {every, traffic("a", 2, 9)}}, every, []float64{3, 9}},
		{"two sources are summed", []event{{0, traffic("a", 1, 3)}, {0, traffic("b", 1, 4)}}, 0, []float64{7}},
		{"weighted by time", []event{{0, half(1, 2)}, {every / 2, half(2, 6)}}, every / 2, []float64{4}},
		{"spread over the intervals it covers", []event{{0, long}}, 0, []float64{8, 8, 8}},
		{"reports between two intervals", []event{{0, traffic("a", 1, 2)}, {every, traffic("a", 2, 12)}}, every + 2*time.Second, []float64{6, 12}},
		{"a second source joins later", []event{{0, traffic("a", 1, 3)}, {every, traffic("a", 2, 3)}, {every, traffic("b", 1, 5)}}, every, []float64{3, 8}},
		{"late by less than an interval", []event{{0, traffic("a", 1, 3)}, {0, traffic("b", 1, 4)}, {every, traffic("a", 2, 3)}}, every, []float64{7, 7}},
		{"seq again is ignored", []event{{0, traffic("a", 7, 3)}, {every, traffic("a", 7, 900)}}, every, []float64{3, 3}},
		{"seq below is ignored", []event{{0, traffic("a", 7, 3)}, {every, traffic("a", 6, 900)}}, every, []float64{3, 3}},
		{"just not silent", []event{{0, traffic("a", 1, 3)}}, 2*every - 1, []float64{3}},
		{"silent for two intervals", []event{{0, traffic("a", 1, 3)}}, 2 * every, []float64{}},
		{"one of two is silent", []event{{0, traffic("a", 1, 3)}, {0, traffic("b", 1, 4)}, {2 * every, traffic("a", 2, 3)}}, 2 * every, []float64{}},
		{"ignored reports do not speak", []event{{0, traffic("a", 2, 3)}, {2 * every, traffic("a", 1, 3)}}, 2 * every, []float64{}},
		{"gone: the rest is all there is", []event{{0, traffic("a", 1, 3)}, {0, traffic("b", 1, 4)},
			{13 * every, traffic("a", 2, 3)}}, 13 * every, []float64{3}},
		{"begins anew after a silence", []event{{0, traffic("a", 1, 3)}, {4 * every, traffic("a", 2, 5)}}, 4 * every, []float64{5}},
		{"back with seq from 1 after it was gone", []event{{0, traffic("a", 9, 3)}, {100 * every, traffic("a", 1, 5)}}, 100 * every, []float64{5}},
		{"a slow source has its own period", []event{{0, long}}, 2*every + every/2, []float64{8, 8, 8, 8, 8, 8}},
		{"a clock that was set back", []event{{time.Hour, traffic("a", 1, 3)}}, 0, []float64{}},
		{"and goes on from there", []event{{time.Hour, traffic("a", 1, 3)}, {0, traffic("a", 2, 5)}}, 0, []float64{5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r autoscale.Recorder
			for _, e := range tt.events {
				require.NoError(t, r.RecordAt(e.report, start.Add(e.at)))
			}
			samples, _ := r.Observe("acme.shop", start.Add(tt.at), every)
			got := inFlight(samples)
			require.Equal(t, tt.want, got)
			for i, s := range samples {
				require.Equal(t, start.Add(tt.at).Add(-time.Duration(len(samples)-1-i)*every), s.At)
				require.Equal(t, every, s.Interval)
			}
		})
	}
}

func TestRecorderSamplesAreWhole(t *testing.T) {
	var r autoscale.Recorder
	a, b := traffic("a", 1, 3), traffic("b", 1, 3)
	a.QueueSeconds, a.LoadAverage, a.Memory = 10, 2, 100
	b.LoadAverage = 4
	require.NoError(t, r.RecordAt(a, start))
	require.NoError(t, r.RecordAt(b, start))
	samples, metrics := r.Observe("acme.shop", start, every)
	require.Empty(t, metrics)
	require.Equal(t, []autoscale.Sample{{At: start, Interval: every, InFlight: 6, Queue: 2, Arrivals: 100, Served: 80, LoadAverage: 3, Memory: 100}}, samples)
	samples[0].InFlight = 99
	again, _ := r.Observe("acme.shop", start, every)
	require.Equal(t, 6., again[0].InFlight, "what is handed out is the caller's")
}

func TestRecorderWindowIsBounded(t *testing.T) {
	var r autoscale.Recorder
	short := autoscale.Recorder{Window: 30 * time.Second}
	for i := range 2000 {
		require.NoError(t, r.RecordAt(traffic("a", uint64(i+1), 1), after(i)))
		require.NoError(t, short.RecordAt(traffic("a", uint64(i+1), 1), after(i)))
	}
	samples, _ := r.Observe("acme.shop", after(1999), every)
	require.Len(t, samples, 120, "ten minutes of 5 s")
	samples, _ = short.Observe("acme.shop", after(1999), every)
	require.Len(t, samples, 6)
}

func TestRecorderDoesNotTakeThePastForThePresent(t *testing.T) {
	var r autoscale.Recorder
	for i := range 100 {
		require.NoError(t, r.RecordAt(traffic("a", uint64(i+1), float64(i)), after(i)))
	}
	for _, n := range []int{97, 94, 60} {
		samples, _ := r.Observe("acme.shop", after(n), every)
		require.Empty(t, samples, "the clock was set back: these are old")
	}
	require.NoError(t, r.RecordAt(traffic("a", 101, 7), after(61)))
	samples, _ := r.Observe("acme.shop", after(61), every)
	require.Equal(t, []float64{7}, inFlight(samples))
}

func TestRecorderRefuses(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*autoscale.Report)
		problem string
	}{
		{"no source", func(r *autoscale.Report) { r.Source = "" }, "source"},
		{"no cluster", func(r *autoscale.Report) { r.Cluster = "" }, "cluster"},
		{"NaN in flight", func(r *autoscale.Report) { r.InFlightSeconds = math.NaN() }, "inFlightSeconds is NaN"},
		{"negative in flight", func(r *autoscale.Report) { r.InFlightSeconds = -1 }, "inFlightSeconds is -1"},
		{"negative seconds", func(r *autoscale.Report) { r.Seconds = -1 }, "seconds"},
		{"infinite seconds", func(r *autoscale.Report) { r.Seconds = math.Inf(1) }, "seconds"},
		{"more than a day", func(r *autoscale.Report) { r.Seconds = 86401 }, "covers"},
		{"next to no time", func(r *autoscale.Report) { r.Seconds = 1e-300 }, "covers"},
		{"traffic in no time", func(r *autoscale.Report) { r.Seconds = 0 }, "seconds"},
		{"negative queue", func(r *autoscale.Report) { r.Queue = -1 }, "queue"},
		{"negative queue seconds", func(r *autoscale.Report) { r.QueueSeconds = -1 }, "queueSeconds"},
		{"NaN arrivals", func(r *autoscale.Report) { r.Arrivals = math.NaN() }, "arrivals"},
		{"negative served", func(r *autoscale.Report) { r.Served = -1 }, "served"},
		{"absurd memory", func(r *autoscale.Report) { r.Memory = 1e300 }, "memory"},
		{"NaN load", func(r *autoscale.Report) { r.LoadAverage = math.NaN() }, "loadAverage"},
		{"NaN metric", func(r *autoscale.Report) { r.Metrics = map[string]float64{"lag": math.NaN()} }, `"lag"`},
		{"nameless metric", func(r *autoscale.Report) { r.Metrics = map[string]float64{"": 1} }, "name"},
		{"33 metrics", func(r *autoscale.Report) { r.Metrics = numbered(0, 33) }, "at most 32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r autoscale.Recorder
			report := traffic("a", 1, 3)
			tt.change(&report)
			require.ErrorContains(t, r.RecordAt(report, start), tt.problem)
			samples, metrics := r.Observe("acme.shop", start, every)
			require.Empty(t, samples)
			require.Empty(t, metrics)
			require.NoError(t, r.RecordAt(traffic("a", 1, 3), start), "what was refused does not count as seen")
		})
	}
}

// numbered makes n metrics with names of their own.
func numbered(from, n int) map[string]float64 {
	m := map[string]float64{}
	for i := range n {
		m[fmt.Sprint("m", from+i)] = 1
	}
	return m
}

func TestRecorderBoundsSources(t *testing.T) {
	var r autoscale.Recorder
	for i := range 1000 {
		require.NoError(t, r.RecordAt(traffic(fmt.Sprint("s", i), 1, 1), start))
	}
	require.ErrorContains(t, r.RecordAt(traffic("one more", 1, 1), start), "1000")
	require.NoError(t, r.RecordAt(traffic("s0", 2, 1), start), "those that are known go on")
	other := traffic("one more", 1, 1)
	other.Cluster = "acme.other"
	require.NoError(t, r.RecordAt(other, start), "the bound is of one cluster")
	require.NoError(t, r.RecordAt(traffic("one more", 1, 1), start.Add(time.Hour)), "those that are gone make room")
}

func TestRecorderMetrics(t *testing.T) {
	var r autoscale.Recorder
	say := func(source string, seq uint64, at time.Time, metrics map[string]float64) error {
		return r.RecordAt(autoscale.Report{Source: source, Seq: seq, Cluster: "acme.shop", Metrics: metrics}, at)
	}
	require.NoError(t, say("a", 1, start, map[string]float64{"lag": 10}))
	require.NoError(t, say("b", 1, after(1), map[string]float64{"lag": 5}))
	require.NoError(t, say("a", 2, after(2), map[string]float64{"lag": 0}))
	samples, metrics := r.Observe("acme.shop", after(2), every)
	require.Empty(t, samples, "nobody said anything about requests")
	require.Equal(t, map[string][]autoscale.Metric{"lag": {{At: start, Value: 10}, {At: after(1), Value: 15}, {At: after(2), Value: 5}}}, metrics)

	require.NoError(t, r.RecordAt(traffic("balancer", 1, 3), after(30)))
	samples, _ = r.Observe("acme.shop", after(30), every)
	require.Equal(t, []float64{3}, inFlight(samples), "whoever sends only metrics may be silent")

	require.NoError(t, say("a", 3, after(30), numbered(0, 31)))
	require.ErrorContains(t, say("a", 4, after(30), numbered(31, 2)), "metrics")
	require.NoError(t, say("a", 4, after(300), numbered(31, 2)), "names that nobody sends any more make room")
}

func TestRecorderForget(t *testing.T) {
	var r autoscale.Recorder
	require.NoError(t, r.RecordAt(traffic("a", 5, 3), start))
	r.Forget("acme.shop")
	r.Forget("never.there")
	samples, _ := r.Observe("acme.shop", start, every)
	require.Empty(t, samples)
	require.NoError(t, r.RecordAt(traffic("a", 1, 4), start))
	samples, _ = r.Observe("acme.shop", start, every)
	require.Equal(t, []float64{4}, inFlight(samples))
}

func TestRecorderWakesWhenAQueueBegins(t *testing.T) {
	var r autoscale.Recorder
	woken := func() bool {
		select {
		case <-r.Woken():
			return true
		default:
			return false
		}
	}
	queued := func(seq uint64, n int) autoscale.Report {
		q := traffic("a", seq, 0)
		q.Queue = n
		return q
	}
	require.NoError(t, r.RecordAt(queued(1, 0), start))
	require.False(t, woken(), "nothing is queued")
	require.NoError(t, r.RecordAt(queued(2, 1), after(1)))
	require.NoError(t, r.RecordAt(queued(3, 0), after(2)))
	require.NoError(t, r.RecordAt(queued(4, 7), after(3)))
	require.True(t, woken())
	require.False(t, woken(), "wake-ups coalesce")
	require.NoError(t, r.RecordAt(queued(5, 9), after(4)))
	require.False(t, woken(), "the queue began before")
}

func TestRecorderIsConcurrent(t *testing.T) {
	var r autoscale.Recorder
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 50 {
				now := start.Add(time.Duration(n) * 100 * time.Millisecond)
				if err := r.RecordAt(traffic(fmt.Sprint("s", i), uint64(n+1), 1), now); err != nil {
					t.Error(err)
				}
				r.Observe("acme.shop", now, every)
				r.Woken()
			}
		})
	}
	wg.Wait()
	samples, _ := r.Observe("acme.shop", after(1), every)
	require.NotEmpty(t, samples)
	require.InDelta(t, 8, samples[len(samples)-1].InFlight, 1e-9)
}

func FuzzRecord(f *testing.F) {
	f.Add(`{"source":"a","seq":1,"cluster":"c","seconds":5,"inFlightSeconds":50,"arrivals":10,"served":9}`, `{"source":"a","seq":2,"cluster":"c","seconds":0.001,"queueSeconds":1e15}`, int64(5e9))
	f.Add(`{"source":"a","seq":1,"cluster":"c","seconds":86400}`, `{"source":"b","seq":1,"cluster":"c","metrics":{"lag":1},"loadAverage":3}`, int64(-5e9))
	f.Add(`{"source":"a","seq":1,"cluster":"c","seconds":-1}`, `{"source":"a","cluster":"c","seconds":1e300}`, int64(0))
	f.Fuzz(func(t *testing.T, first, second string, gap int64) {
		var r autoscale.Recorder
		now := start
		for _, text := range []string{first, second} {
			var report autoscale.Report
			if json.Unmarshal([]byte(text), &report) != nil {
				return
			}
			_ = r.RecordAt(report, now) // refusing is fine; what is kept must make sense
			samples, metrics := r.Observe(report.Cluster, now, every)
			require.LessOrEqual(t, len(samples), 120)
			require.LessOrEqual(t, len(metrics), 32)
			for _, s := range samples {
				for _, v := range []float64{s.InFlight, s.Queue, s.Arrivals, s.Served, s.LoadAverage, s.Memory} {
					require.False(t, math.IsNaN(v) || math.IsInf(v, 0) || v < 0, "%+v", s)
				}
			}
			now = now.Add(time.Duration(gap))
		}
	})
}
