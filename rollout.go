package stratos

import (
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// rollOut moves a cluster's releases on: the newest one becomes the candidate,
// a candidate that a member serves becomes the current release, one that a
// member could not bring up is refused, with the reason. It is a pure function.
// config names what it runs with beside its plan.
func rollOut(c topology.Cluster, head *artifact.Release, config string, members []store.Record[topology.Member]) topology.Cluster {
	c = propose(c, head, config)
	if c.Candidate == nil {
		return c
	}
	for _, r := range members {
		m := r.Value
		switch {
		case m.State == topology.Active && m.Serving != nil && m.Serving.Release == *c.Candidate:
			c.Current, c.Candidate, c.Refused = c.Candidate, nil, nil
			return c
		case m.State != topology.Terminated && m.Refused != nil && m.Refused.Release == *c.Candidate:
			c.Refused, c.Candidate = m.Refused, nil
			return c
		}
	}
	return c
}

// propose makes the newest release the candidate, unless it is current or was refused.
func propose(c topology.Cluster, head *artifact.Release, config string) topology.Cluster {
	if head == nil {
		return c
	}
	release := topology.Release{Revision: head.Revision, Archive: string(head.Archive), Plan: string(head.Plan), Config: config}
	switch {
	case head.State == artifact.Failed:
		c.Candidate = nil
		if c.Refused == nil || c.Refused.Release != release {
			c.Refused = &topology.Refusal{Release: release, Reason: head.Reason, Log: head.Log, At: head.At}
		}
	case release.Same(c.Current), c.Refused != nil && c.Refused.Release == release:
		c.Candidate = nil
	default:
		c.Candidate = &release
	}
	return c
}
