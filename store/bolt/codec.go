package bolt

import (
	"encoding/binary"
	"errors"

	"github.com/gostratos/stratos/store"
)

// change is an event and what was at its key before: with the changes after a
// revision, the state at that revision can be told. Absent: the zero KV.
type change struct {
	event  store.Event
	before store.KV
}

var errDamaged = errors.New("damaged")

// appendKV encodes everything but the key: Create, Mod and Lease as varints,
// then the value up to the end.
func appendKV(b []byte, kv store.KV) []byte {
	b = binary.AppendUvarint(b, uint64(kv.Create))
	b = binary.AppendUvarint(b, uint64(kv.Mod))
	b = binary.AppendUvarint(b, uint64(kv.Lease))
	return append(b, kv.Value...)
}

// decodeKV copies b, which belongs to the file.
func decodeKV(key string, b []byte) (store.KV, error) {
	var n [3]uint64
	for i := range n {
		v, used := binary.Uvarint(b)
		if used <= 0 {
			return store.KV{}, errDamaged
		}
		n[i], b = v, b[used:]
	}
	if n[0] == 0 { // what stands for absent
		return store.KV{}, errDamaged
	}
	return store.KV{
		Key: key, Value: append([]byte{}, b...),
		Create: store.Revision(n[0]), Mod: store.Revision(n[1]), Lease: store.LeaseID(n[2]),
	}, nil
}

// appendChange encodes the key, the event's record and the record before,
// each with its length. An empty one stands for absent: a deletion, or a creation.
func appendChange(b []byte, c change) []byte {
	b = appendBytes(b, []byte(c.event.Key))
	for _, kv := range []store.KV{c.event.KV, c.before} {
		var enc []byte
		if kv.Create != 0 {
			enc = appendKV(nil, kv)
		}
		b = appendBytes(b, enc)
	}
	return b
}

// decodeChanges decodes a transaction of the log.
func decodeChanges(rev store.Revision, b []byte) ([]change, error) {
	var all []change
	for len(b) > 0 {
		var c change
		var key []byte
		var ok bool
		if key, b, ok = cutBytes(b); !ok {
			return nil, errDamaged
		}
		c.event = store.Event{KV: store.KV{Key: string(key), Mod: rev}, Deleted: true}
		for _, kv := range []*store.KV{&c.event.KV, &c.before} {
			var enc []byte
			if enc, b, ok = cutBytes(b); !ok {
				return nil, errDamaged
			}
			if len(enc) == 0 {
				continue
			}
			var err error
			if *kv, err = decodeKV(string(key), enc); err != nil {
				return nil, err
			}
		}
		c.event.Deleted = c.event.Create == 0
		all = append(all, c)
	}
	return all, nil
}

func appendBytes(b, part []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

func cutBytes(b []byte) (part, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	b = b[used:]
	return b[:n], b[n:], true
}
