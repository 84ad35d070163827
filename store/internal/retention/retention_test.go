package retention_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/internal/retention"
)

// TestKeepsAtLeast commits at many speeds: history within either bound stays,
// and what is far beyond both goes.
func TestKeepsAtLeast(t *testing.T) {
	const revisions, minutes = 1000, 10
	for _, test := range []struct {
		name  string
		every time.Duration
	}{
		{"fast", time.Millisecond}, {"even", 600 * time.Millisecond}, {"slow", time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := retention.Keeper{Policy: retention.Policy{Revisions: revisions, For: minutes * time.Minute}}
			now := time.Unix(0, 0)
			var compacted store.Revision
			steps := max(3*revisions, int(3*minutes*time.Minute/test.every))
			for rev := store.Revision(1); rev <= store.Revision(steps); rev++ {
				now = now.Add(test.every)
				upTo := k.Horizon(now, rev, compacted)
				if upTo == 0 {
					continue
				}
				require.Greater(t, upTo, compacted)
				compacted = upTo
				require.GreaterOrEqual(t, rev-upTo, store.Revision(revisions))
				require.GreaterOrEqual(t, time.Duration(rev-upTo)*test.every, minutes*time.Minute)
			}
			kept := store.Revision(steps) - compacted
			most := max(revisions, store.Revision(minutes*time.Minute/test.every))
			require.LessOrEqual(t, kept, most*5/4+2)
		})
	}
}

func TestDefaults(t *testing.T) {
	var k retention.Keeper
	now := time.Unix(0, 0)
	require.Zero(t, k.Horizon(now, 1, 0))
	require.Zero(t, k.Horizon(now.Add(time.Hour), retention.DefaultRevisions, 0))
	require.Zero(t, k.Horizon(now.Add(time.Hour), 2*retention.DefaultRevisions, 0), "an hour ago, only revision 1 was there")
	require.Equal(t, store.Revision(retention.DefaultRevisions),
		k.Horizon(now.Add(2*time.Hour), 2*retention.DefaultRevisions, 0))
}
