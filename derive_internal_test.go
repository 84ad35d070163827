package stratos

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/tenant"
)

func TestRemapNotesWhoseDomainsChanged(t *testing.T) {
	s := mem.New()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	d := &deriver{Platform: &Platform{store: s}}
	a, b := artifact.Key{Tenant: "t", Alias: "a"}, artifact.Key{Tenant: "t", Alias: "b"}
	record := func(host string, k artifact.Key) store.Op {
		op, err := store.NewRecord(tenant.DomainKey(host), tenant.Domain{V: tenant.Schema, Host: host, Tenant: tenant.ID(k.Tenant), Alias: k.Alias}).Put()
		require.NoError(t, err)
		return op
	}
	for _, step := range []struct {
		name  string
		op    store.Op
		dirty map[artifact.Key]bool
	}{
		{"mapped", record("one.example", a), map[artifact.Key]bool{a: true}},
		{"another's", record("two.example", b), map[artifact.Key]bool{b: true}},
		{"moved", record("one.example", b), map[artifact.Key]bool{a: true, b: true}},
		{"written again", record("one.example", b), map[artifact.Key]bool{}},
		{"deleted", store.Op{Key: tenant.DomainKey("two.example"), Delete: true}, map[artifact.Key]bool{b: true}},
	} {
		_, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{step.op}})
		require.NoError(t, err, step.name)
		dirty := map[artifact.Key]bool{}
		require.NoError(t, d.remap(t.Context(), dirty), step.name)
		require.Equal(t, step.dirty, dirty, step.name)
	}
}
