package balancer

import (
	"maps"
	"net"
	"slices"
	"strconv"
)

// Port returns the host:port at which the target is reached by the name of a
// port. A target with one port serves "http" there, whatever its name.
func (t *Target) Port(name string) (string, bool) {
	port, ok := t.Ports[name]
	if !ok && name == HTTP && len(t.Ports) == 1 {
		for _, port = range t.Ports {
			ok = true
		}
	}
	if !ok {
		return "", false
	}
	return net.JoinHostPort(t.Host, strconv.Itoa(port)), true
}

// Same reports whether both tables route alike, at whatever revision; nil is
// the same only as nil.
func (t *Table) Same(o *Table) bool {
	if t == nil || o == nil {
		return t == o
	}
	return slices.Equal(t.Routes, o.Routes) && maps.EqualFunc(t.Clusters, o.Clusters, sameCluster)
}

func sameCluster(a, b *Cluster) bool {
	return a.ID == b.ID && a.Tenant == b.Tenant && a.Vacant == b.Vacant && slices.EqualFunc(a.Targets, b.Targets, sameTarget)
}

func sameTarget(a, b Target) bool {
	return a.TargetID == b.TargetID && a.Host == b.Host && a.Draining == b.Draining && a.TLS == b.TLS && maps.Equal(a.Ports, b.Ports)
}
