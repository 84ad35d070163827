package stream

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// kinds of frames.
const (
	frameSnap      = "snap"
	frameEv        = "ev"
	frameSync      = "sync"
	frameCompacted = "compacted"
	frameBye       = "bye"
)

// frame is one line of a stream.
type frame struct {
	T       string         `json:"t"`
	After   store.Revision `json:"after,omitempty"`
	Rev     store.Revision `json:"rev,omitempty"`
	Store   string         `json:"store,omitempty"`
	Changes []change       `json:"changes,omitempty"`
	More    bool           `json:"more,omitempty"`
	Digest  string         `json:"digest,omitempty"`
	N       int            `json:"n,omitempty"`
	RetryMs int            `json:"retryMs,omitempty"`
}

// change is a record's new value, or its end.
type change struct {
	Key   string          `json:"key"`
	Mod   store.Revision  `json:"mod,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// parseFrame reads one line.
func parseFrame(line []byte) (f frame, err error) {
	if err := json.Unmarshal(line, &f); err != nil {
		return frame{}, fmt.Errorf("topology stream: %w", err)
	}
	switch f.T {
	case frameSnap, frameEv, frameSync, frameCompacted, frameBye:
	default:
		return frame{}, fmt.Errorf("topology stream: unknown frame %q", f.T)
	}
	if f.Rev < 0 || f.After < 0 {
		return frame{}, fmt.Errorf("topology stream: frame %q of revision %d after %d", f.T, f.Rev, f.After)
	}
	return f, nil
}

// events are the changes as the view takes them.
func (f *frame) events() []store.Event {
	events := make([]store.Event, len(f.Changes))
	for i, c := range f.Changes {
		events[i] = store.Event{
			KV:      store.KV{Key: c.Key, Value: c.Value, Mod: c.Mod},
			Deleted: c.Value == nil,
		}
	}
	return events
}

// sums reports whether the frame has the digest of these records.
func (f *frame) sums(d topology.Digest) bool { return f.Digest == d.String() && f.N == d.N() }

// line encodes a frame, with its end of line.
func (f *frame) line() []byte {
	var b bytes.Buffer
	// A frame without changes is numbers and plain strings, and a buffer takes
	// everything: this cannot fail.
	_ = json.NewEncoder(&b).Encode(f)
	return b.Bytes()
}

// evLine encodes an ev frame whose changes are encoded already.
func evLine(after, rev store.Revision, changes [][]byte) []byte {
	b := fmt.Appendf(nil, `{"t":"ev","after":%d,"rev":%d,"changes":[`, after, rev)
	b = append(b, bytes.Join(changes, []byte{','})...)
	return append(b, "]}\n"...)
}
