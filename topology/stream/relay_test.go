package stream_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

func scope(t testing.TB, s string) stream.Scope {
	t.Helper()
	parsed, err := stream.ParseScope(s)
	require.NoError(t, err)
	return parsed
}

func TestOnlyTheScopesOfAChangeWake(t *testing.T) {
	records := map[string]any{}
	scopes := []stream.Scope{scope(t, "all"), scope(t, "tenant=t1"), scope(t, "tenant=t2"), scope(t, "service=php")}
	for i := range 100 {
		id := topology.ClusterID(fmt.Sprintf("c%d", i))
		records[topology.ClusterKey(id)] = topology.Cluster{ID: id, Tenant: topology.TenantID(fmt.Sprintf("t%d", i%10)), Service: "php"}
		scopes = append(scopes, stream.ClusterScope(id))
	}
	v := view(t, records)
	r := stream.NewRelay(v, scopes...)
	w, err := v.With(2, []store.Event{{KV: store.KV{Key: "members/c11/m", Mod: 2, Value: []byte(`{"id":"m"}`)}}})
	require.NoError(t, err)
	woken, err := r.Publish(w)
	require.NoError(t, err)
	require.Len(t, woken, 4)
	for _, s := range []string{"all", "tenant=t1", "service=php", "cluster=c11"} {
		require.Contains(t, woken[s], `"members/c11/m"`, s)
	}
}

func TestDigestsOfScopesOverRandomChanges(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STRATOS_TEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		seed = n
	}
	t.Logf("STRATOS_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	v := &topology.View{}
	scopes := []stream.Scope{scope(t, "all"), scope(t, "tenant=t0"), scope(t, "service=s1"), scope(t, "cluster=c3")}
	r := stream.NewRelay(v, scopes...)
	for rev := store.Revision(1); rev < 1000; rev++ {
		var events []store.Event
		id := topology.ClusterID(fmt.Sprintf("c%d", random.IntN(10)))
		key, value := topology.MemberKey(id, topology.MemberID(fmt.Sprint(random.IntN(3)))), any(topology.Member{})
		if random.IntN(2) == 0 { // it comes, goes, or moves to another scope
			key, value = topology.ClusterKey(id), topology.Cluster{ID: id,
				Tenant: topology.TenantID(fmt.Sprintf("t%d", random.IntN(3))), Service: topology.ServiceName(fmt.Sprintf("s%d", random.IntN(3)))}
		}
		b, err := json.Marshal(value)
		require.NoError(t, err)
		events = append(events, store.Event{KV: store.KV{Key: key, Mod: rev, Value: b}, Deleted: random.IntN(3) == 0})
		v, err = v.With(rev, events)
		require.NoError(t, err)
		if random.IntN(3) == 0 {
			continue // the next view brings both
		}
		_, err = r.Publish(v)
		require.NoError(t, err)
		for _, s := range scopes {
			var want topology.Digest
			for c := range v.Clusters() {
				if s.Has(c) {
					want = want.Plus(c.Digest())
				}
			}
			require.Equal(t, want, r.Digest(s), "%v at %d", s, rev)
		}
	}
}
