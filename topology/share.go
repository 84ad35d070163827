package topology

import "maps"

// share lets a member that was just read use what its cluster holds already,
// where that is the same: the members of a cluster mostly have one release and
// the same ports, which would else be most of what a view holds. What a view
// hands out is not changed, so nobody can tell.
func (c *ClusterView) share(m *Member) {
	if m.Cluster == c.Cluster.ID {
		m.Cluster = c.Cluster.ID
	}
	for _, r := range []*Release{c.Cluster.Current, c.Cluster.Candidate} {
		if r == nil {
			continue
		}
		if r.Same(m.Assigned) {
			m.Assigned = r
		}
		if m.Serving != nil && m.Serving.Release == *r {
			m.Serving.Release = *r
		}
	}
	for o := range c.All() {
		m.shareWith(&o.Member)
		break // any: most are alike
	}
}

// shareWith is share, for what another member of the cluster has.
func (m *Member) shareWith(o *Member) {
	if m.State == o.State {
		m.State = o.State
	}
	if m.Account == o.Account {
		m.Account = o.Account
	}
	if m.Partition == o.Partition {
		m.Partition = o.Partition
	}
	if o.Assigned.Same(m.Assigned) {
		m.Assigned = o.Assigned
	}
	if m.Serving != nil && o.Serving != nil && m.Serving.same(*o.Serving) {
		m.Serving = o.Serving
	}
}

// same reports whether two runtimes are equal in everything.
func (r Runtime) same(o Runtime) bool {
	return r.Release == o.Release && maps.Equal(r.Ports, o.Ports) && r.TLS == o.TLS && r.Deadline.Equal(o.Deadline)
}
