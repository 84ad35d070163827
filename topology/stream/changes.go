package stream

import (
	"bytes"
	"encoding/json"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// changes encodes, with commas between them, the records in which a cluster
// differs from what it was; nil is no cluster.
func changes(before, now *topology.ClusterView) ([]byte, error) {
	if before == nil {
		before = &topology.ClusterView{}
	}
	if now == nil {
		now = &topology.ClusterView{Cluster: topology.Cluster{ID: before.Cluster.ID}}
	}
	var w changeWriter
	id := now.Cluster.ID
	if now.Known && now.Mod() != before.Mod() {
		w.put(topology.ClusterKey(id), now.Mod(), now.Cluster)
	}
	if before.Known && !now.Known {
		w.gone(topology.ClusterKey(id))
	}
	if now.Want != nil && now.WantMod() != before.WantMod() {
		w.put(topology.WantKey(id), now.WantMod(), now.Want)
	}
	if before.Want != nil && now.Want == nil {
		w.gone(topology.WantKey(id))
	}
	for _, m := range now.Members() {
		if was, ok := before.Member(m.ID); !ok || was.Mod != m.Mod {
			w.put(topology.MemberKey(id, m.ID), m.Mod, m.Public())
		}
	}
	for _, m := range before.Members() {
		if _, ok := now.Member(m.ID); !ok {
			w.gone(topology.MemberKey(id, m.ID))
		}
	}
	return w.buf.Bytes(), w.err
}

type changeWriter struct {
	buf bytes.Buffer
	err error
}

func (w *changeWriter) put(key string, mod store.Revision, value any) {
	b, err := json.Marshal(value)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.write(change{Key: key, Mod: mod, Value: b})
}

func (w *changeWriter) gone(key string) { w.write(change{Key: key}) }

func (w *changeWriter) write(c change) {
	b, err := json.Marshal(c)
	if err != nil && w.err == nil {
		w.err = err
	}
	if w.buf.Len() > 0 {
		w.buf.WriteByte(',')
	}
	w.buf.Write(b)
}

// chunkBytes is about the length of a snap frame: a reader on a slow line must
// take one within the write timeout.
const chunkBytes = 64 << 10

// snapLines encodes a scope of a view as snap frames.
func snapLines(v *topology.View, scope Scope, storeID string) ([]byte, error) {
	var out, chunk bytes.Buffer
	d := scope.digest(v)
	head := frame{T: frameSnap, Rev: v.Rev, Store: storeID}
	for c := range scope.clusters(v) {
		b, err := changes(nil, c)
		if err != nil {
			return nil, err
		}
		if chunk.Len() > 0 && chunk.Len()+len(b) > chunkBytes {
			head.More = true
			writeSnap(&out, head, chunk.Bytes())
			chunk.Reset()
		}
		if chunk.Len() > 0 {
			chunk.WriteByte(',')
		}
		chunk.Write(b)
	}
	head.More, head.Digest, head.N = false, d.String(), d.N()
	writeSnap(&out, head, chunk.Bytes())
	return out.Bytes(), nil
}

// writeSnap writes a frame with changes that are encoded already.
func writeSnap(out *bytes.Buffer, f frame, changes []byte) {
	line := f.line()
	out.Write(bytes.TrimSuffix(line, []byte("}\n")))
	out.WriteString(`,"changes":[`)
	out.Write(changes)
	out.WriteString("]}\n")
}
