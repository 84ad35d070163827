package mock_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/cloudtest"
	"github.com/gostratos/stratos/cloud/mock"
)

func TestDriver(t *testing.T) {
	for _, kind := range []cloud.Idempotency{cloud.ByName, cloud.ByToken, cloud.ByTags} {
		for _, lag := range []time.Duration{0, 50 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, lag %v", kind, lag), func(t *testing.T) {
				boot := func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(30)) * time.Millisecond }
				c := &mock.Cloud{Idempotency: kind, ListLag: lag, Boot: boot}
				cloudtest.Run(t, cloudtest.Harness{
					Open: func(testing.TB) cloud.Driver { return c },
					Kill: func(_ testing.TB, id cloud.InstanceID) { c.Kill(id) },
				})
			})
		}
	}
}

func spec(n int) cloud.Spec {
	return cloud.Spec{Name: "n" + strconv.Itoa(n), Token: "t" + strconv.Itoa(n), Tags: map[string]string{cloud.TagOwner: "me", cloud.TagCluster: "shop"}}
}

func TestSameSeedSameCloud(t *testing.T) {
	history := func(seed uint64) (all []string) {
		synctest.Test(t, func(t *testing.T) {
			c := &mock.Cloud{Seed: seed, Lost: .4, Failing: .3, ListLag: time.Second, Boot: func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(1000)) * time.Millisecond }}
			for n := range 50 {
				_, err := c.Launch(t.Context(), spec(n))
				all = append(all, fmt.Sprint(err))
				<-time.After(20 * time.Millisecond)
			}
			list, err := c.List(t.Context(), "me")
			all = append(all, fmt.Sprint(err))
			for _, i := range list {
				all = append(all, string(i.ID)+string(i.State))
			}
		})
		return all
	}
	require.Equal(t, history(1), history(1))
	require.NotEqual(t, history(1), history(2))
}

func TestLimits(t *testing.T) {
	c := &mock.Cloud{Limits: map[string]int{"": 1}}
	first, err := c.Launch(t.Context(), spec(1))
	require.NoError(t, err)
	_, err = c.Launch(t.Context(), spec(2))
	require.ErrorIs(t, err, cloud.ErrCapacity)
	require.NoError(t, c.Terminate(t.Context(), first.ID))
	_, err = c.Launch(t.Context(), spec(2))
	require.NoError(t, err, "an ended instance makes room")
}

func TestLostAnswersAreDeedsOrNot(t *testing.T) {
	c := &mock.Cloud{Seed: 3, Lost: .5}
	failed := 0
	for n := range 200 {
		if _, err := c.Launch(t.Context(), spec(n)); err != nil {
			require.False(t, cloud.SurelyNot(err))
			failed++
		}
	}
	var all []cloud.Instance
	for err := error(context.Canceled); err != nil; {
		all, err = c.List(t.Context(), "me")
	}
	require.Greater(t, len(all), 200-failed, "some were launched, and the answer was lost")
	require.Less(t, len(all), 200, "some were not")
}

func TestAgentsAreCalledWhenTheirInstanceRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boots := []time.Duration{3 * time.Second, time.Second, 2 * time.Second}
		var ran []string
		start := time.Now()
		c := &mock.Cloud{
			Boot: func(*rand.Rand) time.Duration { b := boots[0]; boots = boots[1:]; return b },
			Agent: func(_ context.Context, i cloud.Instance, userData []byte) {
				ran = append(ran, fmt.Sprint(i.Name, " ", i.State, " ", time.Since(start), " ", string(userData)))
			},
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		for n := range 3 {
			s := spec(n)
			s.UserData = []byte("token")
			_, err := c.Launch(ctx, s)
			require.NoError(t, err)
		}
		<-time.After(time.Minute)
		stop()
		require.NoError(t, <-done)
		require.Equal(t, []string{"n1 running 1s token", "n2 running 2s token", "n0 running 3s token"}, ran)
	})
}

func TestLoadIsAClosedLoop(t *testing.T) {
	c := &mock.Cloud{Workers: 10}
	c.Offer("shop", mock.Load{Users: 300, Think: 900 * time.Millisecond})
	require.Equal(t, mock.Figures{InFlight: 300}, c.Measure("shop"), "nobody answers")
	for n := range 3 {
		_, err := c.Launch(t.Context(), spec(n))
		require.NoError(t, err)
		f := c.Measure("shop")
		require.Equal(t, n+1, f.Running)
		require.InDelta(t, 100*float64(n+1), f.Throughput, 1e-6, "as much as the workers can do")
		require.InDelta(t, 1, f.Utilisation, 1e-6)
		require.InDelta(t, f.Throughput*f.Latency.Seconds(), f.InFlight, 1e-3, "Little's law")
	}
	_, err := c.Launch(t.Context(), spec(3))
	require.NoError(t, err)
	f := c.Measure("shop")
	require.InDelta(t, 300, f.Throughput, 1e-6, "as much as the users ask for")
	require.InDelta(t, .75, f.Utilisation, 1e-6)
	require.Equal(t, 100*time.Millisecond, f.Latency)
}

func TestMany(t *testing.T) {
	c := &mock.Cloud{}
	for n := range 100_000 {
		_, err := c.Launch(t.Context(), spec(n))
		require.NoError(t, err)
	}
	all, err := c.List(t.Context(), "me")
	require.NoError(t, err)
	require.Len(t, all, 100_000)
}

func ExampleCloud() {
	c := &mock.Cloud{Workers: 10}
	c.Offer("shop", mock.Load{Users: 100, Think: 400 * time.Millisecond})
	for n := range 2 {
		_, err := c.Launch(context.Background(), cloud.Spec{Name: fmt.Sprint("shop-", n), Tags: map[string]string{cloud.TagCluster: "shop"}})
		if err != nil {
			fmt.Println(err)
			return
		}
		f := c.Measure("shop")
		fmt.Printf("%d running: %.0f requests/s, %v each, %.0f %% busy\n", f.Running, f.Throughput, f.Latency, 100*f.Utilisation)
	}
	// Output:
	// 1 running: 100 requests/s, 600ms each, 100 % busy
	// 2 running: 200 requests/s, 100ms each, 100 % busy
}
