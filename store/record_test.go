package store_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

type inner struct {
	Host string `json:"host"`
	Port int    `json:"port,omitempty"`
}

type outer struct {
	Name  string            `json:"name,omitempty"`
	Size  int               `json:"size"`
	Inner *inner            `json:"inner,omitempty"`
	List  []inner           `json:"list,omitempty"`
	Map   map[string]inner  `json:"map,omitempty"`
	Tags  map[string]string `json:"tags,omitempty"`
}

func TestRecordKeepsWhatItDoesNotKnow(t *testing.T) {
	for _, test := range []struct {
		name   string
		raw    string
		change func(*outer)
		want   string
	}{
		{"nothing changed", `{"name":"a","size":1,"new":{"x":[1]}}`, func(*outer) {}, `{"name":"a","size":1,"new":{"x":[1]}}`},
		{"a field changed", `{"name":"a","size":1,"new":7}`, func(o *outer) { o.Name = "b" }, `{"name":"b","size":1,"new":7}`},
		{"a field cleared", `{"name":"a","size":1,"new":7}`, func(o *outer) { o.Name = "" }, `{"size":1,"new":7}`},
		{"nested", `{"size":0,"inner":{"host":"h","port":1,"new":2}}`, func(o *outer) { o.Inner.Host = "i" },
			`{"size":0,"inner":{"host":"i","port":1,"new":2}}`},
		{"nested and cleared", `{"size":0,"inner":{"host":"h","port":1,"new":2}}`, func(o *outer) { o.Inner.Port = 0 },
			`{"size":0,"inner":{"host":"h","new":2}}`},
		{"an object cleared", `{"size":0,"inner":{"host":"h","new":2}}`, func(o *outer) { o.Inner = nil }, `{"size":0}`},
		{"nested in a map", `{"size":0,"map":{"a":{"host":"h","new":2},"b":{"host":"h"}}}`, func(o *outer) {
			o.Map["a"] = inner{Host: "i"}
			delete(o.Map, "b")
			o.Map["c"] = inner{Host: "j"}
		}, `{"size":0,"map":{"a":{"host":"i","new":2},"c":{"host":"j"}}}`},
		{"keys of a map", `{"size":0,"tags":{"a":"1","b":"2"}}`, func(o *outer) { delete(o.Tags, "a") }, `{"size":0,"tags":{"b":"2"}}`},
		{"elements that did not change", `{"size":0,"list":[{"host":"a","new":1},{"host":"b","new":2},{"host":"c","new":3}]}`,
			func(o *outer) { o.List = []inner{o.List[2], {Host: "d"}, o.List[0]} },
			`{"size":0,"list":[{"host":"c","new":3},{"host":"d"},{"host":"a","new":1}]}`},
		{"equal elements", `{"size":0,"list":[{"host":"a","new":1},{"host":"a","new":2}]}`, func(*outer) {},
			`{"size":0,"list":[{"host":"a","new":1},{"host":"a","new":2}]}`},
		{"an empty known field is set", `{"size":0,"name":"","new":1}`, func(o *outer) { o.Name = "x" }, `{"size":0,"name":"x","new":1}`},
		{"a null", `{"size":0,"inner":null,"new":null}`, func(o *outer) { o.Inner = &inner{Host: "h"} },
			`{"size":0,"inner":{"host":"h"},"new":null}`},
		{"large numbers", `{"size":0,"new":12345678901234567890.5}`, func(o *outer) { o.Size = 1 }, `{"size":1,"new":12345678901234567890.5}`},
		{"another spelling", `{"NAME":"a","size":0}`, func(o *outer) { o.Name = "" }, `{"size":0}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := store.Decode[outer](store.KV{Key: "k", Value: []byte(test.raw), Create: 1, Mod: 2})
			require.NoError(t, err)
			test.change(&r.Value)
			op, err := r.Put()
			require.NoError(t, err)
			require.Equal(t, "k", op.Key)
			require.JSONEq(t, test.want, string(op.Value))
			require.Equal(t, store.Cond{Key: "k", Rev: 2}, r.Unchanged())
		})
	}
}

func TestRecordInStore(t *testing.T) {
	s := mem.New()
	defer func() { require.NoError(t, s.Close()) }()
	_, err := store.Read[outer](t.Context(), s, "o/1")
	require.ErrorIs(t, err, store.ErrNotFound)
	require.ErrorContains(t, err, "o/1")

	r := store.NewRecord("o/1", outer{Name: "one"})
	op, err := r.Put()
	require.NoError(t, err)
	x := store.Txn{If: []store.Cond{r.Unchanged()}, Then: []store.Op{op}}
	rev, err := s.Commit(t.Context(), x)
	require.NoError(t, err)
	var conflict *store.ConflictError
	_, err = s.Commit(t.Context(), x)
	require.ErrorAs(t, err, &conflict, "a new record never replaces another")

	got, err := store.Read[outer](t.Context(), s, "o/1")
	require.NoError(t, err)
	require.Equal(t, outer{Name: "one"}, got.Value)
	require.Equal(t, rev, got.Mod)
	all, at, err := store.ReadAll[outer](t.Context(), s, "o/")
	require.NoError(t, err)
	require.Equal(t, rev, at)
	require.Len(t, all, 1)

	_, err = s.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: "o/2", Value: []byte("{")}}})
	require.NoError(t, err)
	_, _, err = store.ReadAll[outer](t.Context(), s, "o/")
	require.ErrorContains(t, err, "o/2")
}

// FuzzRecord: whatever was stored, a value that is put is the value that is read.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"name":"a","inner":{"host":"h","new":1},"list":[{"host":"x","y":[]}],"map":{"":{}}}`), "b", 1)
	f.Add([]byte(`{"NAME":"a","Name":"b","name":"c","tags":null}`), "", 0)
	f.Add([]byte(`null`), "b", 1)
	f.Fuzz(func(t *testing.T, raw []byte, name string, size int) {
		r, err := store.Decode[outer](store.KV{Key: "k", Value: raw})
		if err != nil {
			return
		}
		r.Value.Name, r.Value.Size = name, size
		if r.Value.Inner != nil {
			r.Value.Inner.Host = name
		}
		want, err := json.Marshal(r.Value)
		require.NoError(t, err)
		op, err := r.Put()
		require.NoError(t, err)
		again, err := store.Decode[outer](store.KV{Key: "k", Value: op.Value})
		require.NoError(t, err)
		got, err := json.Marshal(again.Value)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(got))
	})
}
