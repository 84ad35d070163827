package mock

import (
	"time"

	"github.com/gostratos/stratos/cloud"
)

// Load is what a cluster is offered: users that send one request, wait for the
// answer, think, and send the next. What they ask for depends on how fast they
// are answered: the loop is closed.
type Load struct {
	Users   int
	Think   time.Duration // between an answer and the next request
	Service time.Duration // of one request, when nobody else is served. Default 100 ms
}

// Figures are what a cluster does with its load.
type Figures struct {
	Running     int           // instances
	Throughput  float64       // requests a second
	InFlight    float64       // requests received and not yet answered
	Latency     time.Duration // of one request; 0 if there is no answer at all
	Utilisation float64       // of the instances' workers, 0 to 1
}

// Offer sets the load of a cluster (the value of [cloud.TagCluster]) from now on.
func (c *Cloud) Offer(cluster string, l Load) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	c.loads[cluster] = l
}

// Measure returns what a cluster does just now. The model is the asymptotic
// one of a closed queueing network, in a steady state: with N users who think
// for Z, k workers in all and a service time of S, the throughput is the
// smaller of N/(Z+S), when nobody waits, and k/S, when every worker is busy;
// the rest follows from Little's law.
func (c *Cloud) Measure(cluster string) Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	now, running := time.Now(), 0
	for _, i := range c.all {
		if i.Tags[cloud.TagCluster] == cluster && i.state(now) == cloud.Running {
			running++
		}
	}
	workers := c.Workers
	if workers <= 0 {
		workers = 10
	}
	return c.loads[cluster].on(running, workers)
}

// on is what instances with so many workers each make of the load.
func (l Load) on(running, workers int) Figures {
	f := Figures{Running: running, InFlight: float64(l.Users)}
	if l.Users <= 0 || running == 0 {
		return f
	}
	service := l.Service
	if service <= 0 {
		service = 100 * time.Millisecond
	}
	s, z, n, k := service.Seconds(), l.Think.Seconds(), float64(l.Users), float64(running*workers)
	f.Throughput = min(n/(z+s), k/s)
	f.InFlight = n - f.Throughput*z
	f.Latency = time.Duration((n/f.Throughput - z) * float64(time.Second)).Round(time.Microsecond)
	f.Utilisation = f.Throughput * s / k
	return f
}
