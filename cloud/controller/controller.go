// Package controller is the Cloud Controller: it makes instances of recorded
// intents, so that none is leaked and none is doubled, whatever dies when.
//
// The idea that organises it: an instance is asked for only after the intent is
// durable, and every step after that can be repeated.
//
//	S1  one transaction: member Created, with its intent and the rendered request
//	S2  one transaction: the intent is marked as sent; only now may a call leave
//	S3  Launch, with the intent's token, name and tags
//	S4  one transaction: the instance's id is recorded, member Initialized
//	S5  the agent's join: one compare-and-swap binds the member to its key; it
//	    is also a second way to learn the instance's id
//
// After a crash between S2 and S4 the same request is sent again, byte for
// byte, and the cloud answers with the same instance (clouds with tokens or
// unique names), or its list is read until the outcome has settled (others).
//
// [Controller.Run] is the leader's: one owner at a time for each cluster looks
// at a view of the topology, decides (a pure function), and acts. Everything
// else that changes a member comes from its agent, through [Controller.Join] and
// [Controller.Report], which work on any replica.
package controller

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Step is a point in the protocol, for [Controller.Trace].
type Step string

// The steps, each before and after its effect.
const (
	BeforeS1 Step = "before S1"
	AfterS1  Step = "after S1"
	BeforeS2 Step = "before S2"
	AfterS2  Step = "after S2"
	BeforeS3 Step = "before S3"
	AfterS3  Step = "after S3"
	BeforeS4 Step = "before S4"
	AfterS4  Step = "after S4"
	BeforeS5 Step = "before S5"
	AfterS5  Step = "after S5"
)

// Controller turns wants into instances. Its fields are set before its first
// use and not changed after; durations that are 0 take their defaults.
type Controller struct {
	Store    store.Store
	Topology topology.Source
	Accounts []*cloud.Account // in the order in which they are filled

	// UserData renders what an instance is started with. It is called once a
	// launch; the result is recorded.
	UserData func(m topology.Member, joinToken string) ([]byte, error)
	// Idle reports whether a runtime of a member, at an address, has nothing
	// left to do and gets nothing new. Default: never; drains end by their deadline.
	Idle func(c topology.ClusterID, m topology.MemberID, address string) bool
	// Trace, if set, is called at every step, from any goroutine. It must not block.
	Trace func(Step, topology.MemberID)
	Log   *slog.Logger // default: none

	Heartbeat time.Duration // between two reports of an agent. Default 15 s; silent for 3: suspended
	Boot      time.Duration // from the launch to the first service. Default 10 min
	Grace     time.Duration // from Suspended to its end. Default 60 s
	Drain     time.Duration // from InMaintenance to its end. Default 60 s
	Sweep     time.Duration // between two sweeps of an account. Default 90 s
	// OrphanGrace is how old an instance that belongs to nobody must be before
	// it is terminated. Default: the account's settle time and 5 min.
	OrphanGrace time.Duration
	// Attempts is how many refused launches a member survives. Default 3.
	Attempts int

	clock    clock
	heard    heard
	losses   losses
	orphans  orphans
	refusals refusals
}

const (
	tombstone   = time.Hour              // how long a Terminated member is kept at least
	launchDelay = time.Second            // after a cluster's first failed member; it doubles
	maxDelay    = 5 * time.Minute        // of launches
	forgiven    = 10 * time.Minute       // a failed member's age when it counts no more
	drainPoll   = 50 * time.Millisecond  // between two looks at a draining runtime
	callRetry   = 500 * time.Millisecond // between two calls about the same instance, at first
	maxAsk      = 15 * time.Second       // between two lists that one member is waited for with, at most
)

func (c *Controller) heartbeat() time.Duration { return cmp.Or(c.Heartbeat, 15*time.Second) }
func (c *Controller) boot() time.Duration      { return cmp.Or(c.Boot, 10*time.Minute) }
func (c *Controller) grace() time.Duration     { return cmp.Or(c.Grace, time.Minute) }
func (c *Controller) drain() time.Duration     { return cmp.Or(c.Drain, time.Minute) }
func (c *Controller) sweepEvery() time.Duration {
	return cmp.Or(c.Sweep, 90*time.Second)
}

func (c *Controller) attempts() int {
	if c.Attempts > 0 {
		return c.Attempts
	}
	return 3
}

func (c *Controller) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

func (c *Controller) trace(s Step, m topology.MemberID) {
	if c.Trace != nil {
		c.Trace(s, m)
	}
}

func (c *Controller) account(name string) *cloud.Account {
	for _, a := range c.Accounts {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// tombstoneFor is how long a member's tombstone stays: a late instance of it
// must still find it.
func (c *Controller) tombstoneFor(a *cloud.Account) time.Duration {
	if a == nil {
		return tombstone
	}
	return max(tombstone, 2*a.Settle()+c.orphanGrace(a))
}

func (c *Controller) orphanGrace(a *cloud.Account) time.Duration {
	return cmp.Or(c.OrphanGrace, a.Settle()+5*time.Minute)
}
