// Package autoscale decides how many members a cluster should have.
//
// A [Policy] is arithmetic: it is given what was observed and returns a size.
// It does no I/O and reads no clock, so the policy that runs in production
// can be replayed over a recorded day in a second. One that learns is a [Learner].
//
// A [Recorder] keeps the recent samples of every cluster, from any number of
// sources; the [Scaler] asks each cluster's policy once an interval, clamps the
// answer to the cluster's bounds, and records it as the cluster's want. The
// default is [InFlight]: requests in flight, scale up early, scale down slowly.
package autoscale

import (
	"encoding"
	"errors"
	"time"

	"github.com/gostratos/stratos/topology"
)

// ErrNoData says that an observation does not suffice for a decision: the size is held.
var ErrNoData = errors.New("not enough data to decide")

// Policy says how many members a cluster should have. Implementations are
// values, used concurrently for many clusters, and do not change the observation.
type Policy interface {
	// Recommend returns a size and the reason for it. ErrNoData keeps the size;
	// any other error too, and is logged.
	Recommend(o *Observation) (Recommendation, error)
}

// Learner is a policy that learns. Learn gives a fresh memory for one cluster.
type Learner interface {
	Policy
	Learn() Memory
}

// Memory is what a [Learner] knows of one cluster: a Policy whose answer is a
// function of its parameters and the sequence of observations since Learn. It
// is used by one goroutine at a time, and can be saved and restored.
type Memory interface {
	Policy
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// Observation is all that a policy may look at.
type Observation struct {
	Cluster  topology.ClusterID
	Now      time.Time
	Interval time.Duration // between two decisions
	Min, Max int
	// Want is the size recorded until now, within the bounds: what holding
	// means while members are missing. 0: as many as the supply.
	Want    int
	Members Members
	// Samples are the recent ones, one an interval, oldest first. None are
	// there if no source is alive.
	Samples []Sample
	// Metrics are other signals that somebody sent, by name, oldest first.
	Metrics map[string][]Metric
}

// Members counts a cluster's members by what they are worth to a policy.
type Members struct {
	Active   int // serve
	Pending  int // launched, not serving yet
	Other    int // suspended within their grace
	Draining int // on their way out: no supply
}

// Supply is how many members serve or soon will.
func (m Members) Supply() int { return m.Active + m.Pending + m.Other }

// Sample is what a cluster did in one interval that ended at At, over all its sources.
type Sample struct {
	At          time.Time
	Interval    time.Duration
	InFlight    float64 // requests received and not yet answered: the mean over the interval
	Queue       float64 // requests held because no member serves: the mean over the interval
	Arrivals    float64 // requests received in the interval
	Served      float64 // answers given in the interval
	LoadAverage float64 // of the members, the mean
	Memory      float64 // bytes, of the members, the mean
}

// Metric is a value of a named metric.
type Metric struct {
	At    time.Time
	Value float64
}

// Recommendation is a size with its reason, in words and numbers.
type Recommendation struct {
	Size   int
	Reason string
}

// Decision is what came of a recommendation.
type Decision struct {
	Cluster  topology.ClusterID `json:"cluster"`
	At       time.Time          `json:"at"`
	Policy   string             `json:"policy"`
	InFlight float64            `json:"inFlight"` // the newest sample's
	Queue    float64            `json:"queue"`
	Supply   int                `json:"supply"`
	Before   int                `json:"before"` // the want until now
	Want     int                `json:"want"`   // the want from now on
	Reason   string             `json:"reason"`
}

// Report is what one source saw of one cluster since its last report.
type Report struct {
	Source  string             `json:"source"` // unique: a balancer's id
	Seq     uint64             `json:"seq"`    // grows; a report that is not above the last is ignored
	Cluster topology.ClusterID `json:"cluster"`
	Seconds float64            `json:"seconds"` // covered by this report
	// InFlightSeconds is the integral of the requests in flight over Seconds;
	// QueueSeconds that of the queued ones.
	InFlightSeconds float64            `json:"inFlightSeconds"`
	QueueSeconds    float64            `json:"queueSeconds,omitempty"`
	Queue           int                `json:"queue,omitempty"` // right now
	Arrivals        float64            `json:"arrivals"`
	Served          float64            `json:"served"`
	LoadAverage     float64            `json:"loadAverage,omitempty"`
	Memory          float64            `json:"memory,omitempty"`
	Metrics         map[string]float64 `json:"metrics,omitempty"`
}
