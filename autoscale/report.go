package autoscale

import (
	"fmt"
)

// Limits of what sources may send. They keep a [Recorder] small whatever comes in.
const (
	maxSources    = 1000  // of one cluster
	maxMetrics    = 32    // names, of one report and of one cluster
	maxName       = 256   // bytes of a source's, a cluster's, a metric's name
	maxSeconds    = 86400 // covered by one report
	minSeconds    = 1e-3  // covered by one report that covers any time at all
	maxAmount     = 1e15  // of anything
	maxRemembered = 720   // reports of one source, points of one metric
)

// check says what is wrong with a report, or nil.
func (r *Report) check() error {
	if err := r.checkNames(); err != nil {
		return err
	}
	amounts := []struct {
		name  string
		value float64
	}{
		{"seconds", r.Seconds},
		{"inFlightSeconds", r.InFlightSeconds},
		{"queueSeconds", r.QueueSeconds},
		{"queue", float64(r.Queue)},
		{"arrivals", r.Arrivals},
		{"served", r.Served},
		{"loadAverage", r.LoadAverage},
		{"memory", r.Memory},
	}
	for _, a := range amounts {
		if err := checkAmount(a.value); err != nil {
			return fmt.Errorf("report: %s is %g: %w", a.name, a.value, err)
		}
	}
	for name, v := range r.Metrics {
		if err := checkAmount(v); err != nil {
			return fmt.Errorf("report: metric %q is %g: %w", name, v, err)
		}
	}
	return r.checkSeconds()
}

func (r *Report) checkNames() error {
	switch {
	case r.Source == "" || len(r.Source) > maxName:
		return fmt.Errorf("report: source has %d bytes: name it in 1 to %d", len(r.Source), maxName)
	case r.Cluster == "" || len(r.Cluster) > maxName:
		return fmt.Errorf("report: cluster has %d bytes: name it in 1 to %d", len(r.Cluster), maxName)
	case len(r.Metrics) > maxMetrics:
		return fmt.Errorf("report: %d metrics: send at most %d", len(r.Metrics), maxMetrics)
	}
	for name := range r.Metrics {
		if name == "" || len(name) > maxName {
			return fmt.Errorf("report: a metric's name has %d bytes: name it in 1 to %d", len(name), maxName)
		}
	}
	return nil
}

// checkSeconds refuses spans of time that cannot be divided by.
func (r *Report) checkSeconds() error {
	switch {
	case r.Seconds > maxSeconds:
		return fmt.Errorf("report: covers %g s: cover at most %d", r.Seconds, maxSeconds)
	case r.Seconds >= minSeconds:
		return nil
	case r.Seconds > 0:
		return fmt.Errorf("report: covers %g s: cover at least %g, or none", r.Seconds, minSeconds)
	case r.InFlightSeconds > 0 || r.QueueSeconds > 0 || r.Arrivals > 0 || r.Served > 0:
		return fmt.Errorf("report: traffic over 0 s: say in seconds which time it covers")
	}
	return nil
}

func checkAmount(v float64) error {
	if err := checkNumber(v); err != nil {
		return err
	}
	if v > maxAmount {
		return fmt.Errorf("above %g", maxAmount)
	}
	return nil
}

// traffic reports whether the report says anything about requests.
func (r *Report) traffic() bool { return r.Seconds > 0 }

// queued reports whether requests wait, or waited.
func (r *Report) queued() bool { return r.Queue > 0 || r.QueueSeconds > 0 }
