// Package stream carries the topology over HTTP: on change, and periodically.
//
// A [Server] answers with a snapshot, or with a stream of frames, one JSON
// object a line:
//
//	snap {rev, store, changes}   the whole scope; the first frame of a stream
//	ev   {rev, changes}          what changed since: whole transactions, whole records
//	sync {rev}                   nothing else happened up to rev
//	bye  {retryMs}               connect again, to any replica
//
// A change is a record's key with its new value, or with none if it was
// deleted. A [Client] folds the frames into views again; it is a
// [topology.Source] like the mirror in the control plane. Only the public
// projection of the records is carried.
package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Paths of the two calls, below the control plane's address. Both take the
// query parameter scope.
const (
	SnapshotPath = "/v1/topology"
	WatchPath    = "/v1/topology/watch"
)

// ErrScope says that a scope is not well formed.
var ErrScope = errors.New(`invalid scope: want "all", "cluster=ID", "service=NAME" or "tenant=ID"`)

// Scope says which part of the topology is meant. The zero value is all of it.
type Scope struct{ kind, name string }

// ParseScope reads a scope. Empty means all.
func ParseScope(s string) (Scope, error) {
	if s == "" || s == "all" {
		return Scope{}, nil
	}
	kind, name, ok := strings.Cut(s, "=")
	if !ok || name == "" || len(s) > store.MaxKeyBytes {
		return Scope{}, ErrScope
	}
	switch kind {
	case "cluster", "service", "tenant":
		return Scope{kind: kind, name: name}, nil
	}
	return Scope{}, ErrScope
}

// ClusterScope is the scope of one cluster.
func ClusterScope(id topology.ClusterID) Scope { return Scope{kind: "cluster", name: string(id)} }

// String returns what ParseScope reads.
func (s Scope) String() string {
	if s.kind == "" {
		return "all"
	}
	return s.kind + "=" + s.name
}

// Has reports whether a cluster belongs to the scope.
func (s Scope) Has(c *topology.ClusterView) bool {
	switch s.kind {
	case "cluster":
		return string(c.Cluster.ID) == s.name
	case "service":
		return string(c.Cluster.Service) == s.name
	case "tenant":
		return string(c.Cluster.Tenant) == s.name
	}
	return true
}

// kinds of frames.
const (
	frameSnap = "snap"
	frameEv   = "ev"
	frameSync = "sync"
	frameBye  = "bye"
)

// frame is one line of a stream.
type frame struct {
	T       string         `json:"t"`
	Rev     store.Revision `json:"rev,omitempty"`
	Store   string         `json:"store,omitempty"` // snap only
	Changes []change       `json:"changes,omitempty"`
	RetryMs int            `json:"retryMs,omitempty"` // bye only
}

// change is a record's new value, or its end.
type change struct {
	Key   string          `json:"key"`
	Mod   store.Revision  `json:"mod,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// fold applies a frame to a view; nil is no view yet.
func fold(v *topology.View, f frame) (*topology.View, error) {
	switch {
	case f.T == frameSnap:
		v = &topology.View{}
	case v == nil:
		return nil, fmt.Errorf("frame %q before the first snapshot", f.T)
	case f.Rev < v.Rev:
		return nil, fmt.Errorf("revision %d after %d: the stream goes back", f.Rev, v.Rev)
	}
	events := make([]store.Event, len(f.Changes))
	for i, c := range f.Changes {
		events[i] = store.Event{
			KV:      store.KV{Key: c.Key, Value: c.Value, Mod: c.Mod},
			Deleted: c.Value == nil,
		}
	}
	return v.With(f.Rev, events)
}
