package bolt

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
)

// FuzzDecodeChanges: whatever is in the file is an error or changes that
// encode to themselves, never a panic.
func FuzzDecodeChanges(f *testing.F) {
	kv := store.KV{Key: "k", Value: []byte("v"), Create: 3, Mod: 7, Lease: 300}
	f.Add(appendChange(nil, change{event: store.Event{KV: kv}}))
	f.Add(appendChange(nil, change{event: store.Event{KV: kv}, before: kv}))
	two := appendChange(nil, change{event: store.Event{KV: store.KV{Key: "gone", Mod: 7}, Deleted: true}, before: kv})
	f.Add(appendChange(two, change{event: store.Event{KV: kv}}))
	f.Add([]byte{1, 'k', 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		changes, err := decodeChanges(7, b)
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
			return
		}
		var enc []byte
		for _, c := range changes {
			enc = appendChange(enc, c)
		}
		again, err := decodeChanges(7, enc)
		require.NoError(t, err)
		require.Len(t, again, len(changes))
		for i, c := range changes {
			require.Equal(t, c.event.Key, again[i].event.Key)
			require.Equal(t, c.event.Deleted, again[i].event.Deleted)
			require.Equal(t, c.event.Value, again[i].event.Value)
		}
	})
}

func TestChangesSurvive(t *testing.T) {
	kv := func(key, value string) store.KV {
		return store.KV{Key: key, Value: []byte(value), Create: 5, Mod: 1 << 40, Lease: 1 << 50}
	}
	want := []change{
		{event: store.Event{KV: kv("made", "1")}},
		{event: store.Event{KV: kv("changed", "")}, before: kv("changed", "before")},
		{event: store.Event{KV: store.KV{Key: "deleted", Mod: 1 << 40}, Deleted: true}, before: kv("deleted", "x")},
	}
	var enc []byte
	for _, c := range want {
		enc = appendChange(enc, c)
	}
	got, err := decodeChanges(1<<40, enc)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for n := range len(enc) {
		part, err := decodeChanges(1<<40, enc[:n])
		if err == nil { // cut between changes
			require.Less(t, len(part), len(want))
		}
	}
}
