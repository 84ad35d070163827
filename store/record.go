package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Record is a typed JSON record and its place in the store. Fields that T does
// not know survive a rewrite, in nested objects too: an older replica destroys
// nothing that a newer one wrote. Only an element of a list that changed loses them.
type Record[T any] struct {
	Key         string
	Create, Mod Revision // 0: not in the store yet
	Value       T

	raw []byte // as read
}

// NewRecord returns a record that is not in the store yet.
func NewRecord[T any](key string, value T) Record[T] {
	return Record[T]{Key: key, Value: value}
}

// Decode reads a record. The error names the key.
func Decode[T any](kv KV) (Record[T], error) {
	r := Record[T]{Key: kv.Key, Create: kv.Create, Mod: kv.Mod, raw: kv.Value}
	if err := json.Unmarshal(kv.Value, &r.Value); err != nil {
		return r, fmt.Errorf("record %s: %w", kv.Key, err)
	}
	return r, nil
}

// Unchanged is the condition that nobody wrote the record since it was read,
// or that it is absent if it was never read.
func (r Record[T]) Unchanged() Cond { return Cond{Key: r.Key, Kind: CondMod, Rev: r.Mod} }

// Put is the operation that writes the record.
func (r Record[T]) Put() (Op, error) {
	b, err := r.encode()
	if err != nil {
		return Op{}, fmt.Errorf("record %s: %w", r.Key, err)
	}
	return Op{Key: r.Key, Value: b}, nil
}

// Read gets one record, or ErrNotFound.
func Read[T any](ctx context.Context, s Store, key string) (Record[T], error) {
	kv, _, err := s.Get(ctx, key, ReadOptions{})
	if err != nil {
		return Record[T]{Key: key}, fmt.Errorf("%s: %w", key, err)
	}
	return Decode[T](kv)
}

// ReadAll gets the records whose keys begin with prefix, and the revision at
// which they were read.
func ReadAll[T any](ctx context.Context, s Store, prefix string) ([]Record[T], Revision, error) {
	page, err := s.List(ctx, prefix, ReadOptions{})
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", prefix, err)
	}
	all := make([]Record[T], 0, len(page.KVs))
	for _, kv := range page.KVs {
		r, err := Decode[T](kv)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, r)
	}
	return all, page.Rev, nil
}

// encode marshals the value over what was read, so that fields unknown to T stay.
func (r Record[T]) encode() ([]byte, error) {
	now, err := json.Marshal(r.Value)
	if err != nil || r.raw == nil {
		return now, err
	}
	var before T
	if err := json.Unmarshal(r.raw, &before); err != nil {
		return nil, err
	}
	known, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	return keepUnknown(r.raw, known, now)
}

// keepUnknown adds to now, the JSON of a value, what is in raw and not in known,
// the JSON of what T made of raw: in objects the fields that T does not have,
// at any depth; in lists those elements that did not change, as they were.
func keepUnknown(raw, known, now []byte) ([]byte, error) {
	var r, k, n map[string]json.RawMessage
	if json.Unmarshal(now, &n) != nil || n == nil {
		return keepElements(raw, known, now)
	}
	if json.Unmarshal(raw, &r) != nil || json.Unmarshal(known, &k) != nil {
		return now, nil // it was no object before: nothing to keep
	}
	for name, was := range r {
		_, before, wasKnown := field(k, name)
		name, is, ok := field(n, name)
		switch {
		case !wasKnown && !ok:
			n[name] = was
		case ok:
			if !wasKnown { // T knows it, and left it out because it was empty
				before = json.RawMessage("{}")
			}
			merged, err := keepUnknown(was, before, is)
			if err != nil {
				return nil, err
			}
			n[name] = merged
		}
	}
	return json.Marshal(n)
}

// field finds a name among the fields of an object; like encoding/json, it
// takes another spelling in lower or upper case for the same field.
func field(object map[string]json.RawMessage, name string) (string, json.RawMessage, bool) {
	if v, ok := object[name]; ok {
		return name, v, true
	}
	for k, v := range object {
		if strings.EqualFold(k, name) {
			return k, v, true
		}
	}
	return name, nil, false
}

// keepElements is keepUnknown for lists. An element that changed has no past
// that could be told for sure, so it stands as it is now.
func keepElements(raw, known, now []byte) ([]byte, error) {
	var r, k, n []json.RawMessage
	if json.Unmarshal(raw, &r) != nil || json.Unmarshal(known, &k) != nil || json.Unmarshal(now, &n) != nil || len(r) != len(k) {
		return now, nil
	}
	used := make([]bool, len(k))
	for i, is := range n {
		for j := range k {
			if !used[j] && bytes.Equal(is, k[j]) {
				n[i], used[j] = r[j], true
				break
			}
		}
	}
	if n == nil {
		return now, nil
	}
	return json.Marshal(n)
}
