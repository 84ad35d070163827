package stratos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

func TestRollOut(t *testing.T) {
	r1 := topology.Release{Revision: "r1", Archive: "a1", Plan: "p1"}
	r2 := topology.Release{Revision: "r2", Archive: "a2", Plan: "p2"}
	built := func(r topology.Release) *artifact.Release {
		return &artifact.Release{Revision: r.Revision, State: artifact.Built, Archive: artifact.Digest(r.Archive), Plan: artifact.Digest(r.Plan)}
	}
	at := time.Unix(1, 0)
	failed := &artifact.Release{Revision: "r2", State: artifact.Failed, Reason: "no compiler", Log: "make: cc", At: at}
	no := &topology.Refusal{Release: r2, Reason: "it crashed"}
	serves := func(s topology.State, r topology.Release) topology.Member {
		return topology.Member{State: s, Serving: &topology.Runtime{Release: r}}
	}
	refuses := func(s topology.State) topology.Member { return topology.Member{State: s, Refused: no} }
	for _, c := range []struct {
		name    string
		before  topology.Cluster
		head    *artifact.Release
		members []topology.Member
		want    topology.Cluster
	}{
		{"nothing is released", topology.Cluster{}, nil, nil, topology.Cluster{}},
		{"the first release is the candidate", topology.Cluster{}, built(r1), nil, topology.Cluster{Candidate: &r1}},
		{"served: it is current", topology.Cluster{Candidate: &r1}, built(r1), []topology.Member{serves(topology.Active, r1)}, topology.Cluster{Current: &r1}},
		{"served, but not Active", topology.Cluster{Candidate: &r1}, built(r1), []topology.Member{serves(topology.Starting, r1)}, topology.Cluster{Candidate: &r1}},
		{"a new head is the candidate", topology.Cluster{Current: &r1}, built(r2), []topology.Member{serves(topology.Active, r1)}, topology.Cluster{Current: &r1, Candidate: &r2}},
		{"refused", topology.Cluster{Current: &r1, Candidate: &r2}, built(r2), []topology.Member{refuses(topology.Active)}, topology.Cluster{Current: &r1, Refused: no}},
		{"refused by one that is ending", topology.Cluster{Candidate: &r2}, built(r2), []topology.Member{refuses(topology.Terminating)}, topology.Cluster{Refused: no}},
		{"refused long ago by one that is gone", topology.Cluster{Current: &r1, Candidate: &r2}, built(r2), []topology.Member{refuses(topology.Terminated)}, topology.Cluster{Current: &r1, Candidate: &r2}},
		{"what was refused is not tried again", topology.Cluster{Current: &r1, Refused: no}, built(r2), nil, topology.Cluster{Current: &r1, Refused: no}},
		{"one that comes up clears the refusal", topology.Cluster{Candidate: &r1, Refused: no}, built(r1), []topology.Member{serves(topology.Active, r1)}, topology.Cluster{Current: &r1}},
		{"the head goes back to what is current", topology.Cluster{Current: &r1, Candidate: &r2}, built(r1), nil, topology.Cluster{Current: &r1}},
		{"a build that failed is refused", topology.Cluster{Current: &r1}, failed, nil, topology.Cluster{Current: &r1, Refused: &topology.Refusal{
			Release: topology.Release{Revision: "r2"}, Reason: "no compiler", Log: "make: cc", At: at}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var recs []store.Record[topology.Member]
			for _, m := range c.members {
				recs = append(recs, store.NewRecord("m", m))
			}
			require.Equal(t, c.want, rollOut(c.before, c.head, "", recs))
		})
	}
}

// TestConfigIsPartOfARelease: the same files with other connections are tried
// as a release is.
func TestConfigIsPartOfARelease(t *testing.T) {
	r1 := topology.Release{Revision: "r1", Archive: "a1", Plan: "p1"}
	configured := r1
	configured.Config = "c"
	head := &artifact.Release{Revision: "r1", State: artifact.Built, Archive: "a1", Plan: "p1"}
	c := rollOut(topology.Cluster{Current: &r1}, head, "c", nil)
	require.Equal(t, topology.Cluster{Current: &r1, Candidate: &configured}, c)
	c = rollOut(topology.Cluster{Refused: &topology.Refusal{Release: r1}}, head, "c", nil)
	require.Equal(t, &configured, c.Candidate, "what was refused without a connection is tried with it")
	c = rollOut(topology.Cluster{Current: &configured}, head, "c", nil)
	require.Equal(t, topology.Cluster{Current: &configured}, c)
}
