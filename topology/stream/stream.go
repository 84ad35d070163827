// Package stream carries the topology over HTTP: on change, and periodically.
//
// A [Server] answers with a snapshot, or with a stream of frames, one JSON
// object a line (or one server-sent event, for who accepts text/event-stream):
//
//	snap      {rev, store, changes, more, digest, n}   the whole scope, in one or more frames; no more in the last, which has the digest
//	ev        {after, rev, changes}                    what changed from after to rev: whole transactions, whole records
//	sync      {rev, digest, n}                         the scope at rev has n records with this digest
//	compacted {rev}                                    the place asked for is not known here: read the snapshot
//	bye       {retryMs}                                connect again, to any replica
//
// A change is a record's key with its new value, or with none if it was
// deleted. What is on the wire is a hint; the digest is the truth: a reader
// whose records sum up to another [topology.Digest] reads the snapshot again.
// Only the public projection of the records is carried.
//
// A [Client] folds the frames into views again; it is a [topology.Source] like
// the mirror in the control plane. Clients in other languages follow the same
// rules: never go back in revision; apply a frame whole; on a frame whose
// after is above what one has, on compacted, and on a digest that differs,
// read the snapshot; while the control plane is away, keep the last topology.
package stream

import "time"

// Paths of the two calls, below the control plane's address. Both take the
// query parameter scope. The stream takes after and store, too: the revision
// and the store that the reader has.
const (
	SnapshotPath = "/v1/topology"
	WatchPath    = "/v1/topology/watch"
)

// Media types of the answers. A snapshot is one JSON document, or, for who
// accepts it, the lines of snap frames.
const (
	typeJSON   = "application/json"
	typeLines  = "application/x-ndjson"
	typeEvents = "text/event-stream"
)

// spread varies a time by a fifth to either side, so that what began together
// does not go on together.
func spread(d time.Duration, random func(time.Duration) time.Duration) time.Duration {
	if d < 5 {
		return d
	}
	return d*4/5 + random(d*2/5)
}
