package cloudtest

import (
	"context"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
)

// listIsWhole: what is not listed is taken for dead.
func listIsWhole(s *scene) {
	want := map[cloud.InstanceID]bool{}
	for range s.h.many() {
		want[s.launch(s.spec()).ID] = true
	}
	require.Len(s, want, s.h.many(), "different requests gave one instance")
	for id := range want {
		s.seen(id)
	}
	for range 3 {
		live := s.live(s.owner)
		for id := range want {
			require.Contains(s, live, id)
		}
		require.Len(s, live, len(want))
	}
}

func listIsWholeOrAnError(s *scene) {
	for range 3 {
		s.seen(s.launch(s.spec()).ID)
	}
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	all, err := s.d.List(ctx, s.owner)
	if err == nil {
		require.Len(s, all, 3, "a list that was broken off")
	}
	require.Len(s, s.live(s.owner), 3, "the next list")
}

func listIsOnlyOwners(s *scene) {
	mine := s.launch(s.spec())
	s.seen(mine.ID)

	other := s.newOwner()
	spec := s.spec()
	spec.Tags[cloud.TagOwner] = string(other)
	theirs := s.launch(spec)
	s.eventually("the other owner's instance is listed", func() bool {
		_, ok := s.live(other)[theirs.ID]
		return ok
	})
	require.Len(s, s.live(s.owner), 1)
	require.Len(s, s.live(other), 1)
	require.Empty(s, s.live(s.newOwner()), "of an owner who launched nothing")
	require.Empty(s, s.live(""), "of no owner")
}

// callsMayOverlap has every method called at once; the race detector sees more.
func callsMayOverlap(s *scene) {
	const each = 3
	var wg sync.WaitGroup
	errs := make(chan error, 4*each)
	for range each {
		keep, end := s.spec(), s.spec()
		wg.Go(func() {
			_, err := s.d.Launch(s.Context(), keep)
			errs <- err
		})
		wg.Go(func() {
			i, err := s.d.Launch(s.Context(), end)
			errs <- err
			if err == nil {
				errs <- s.d.Terminate(s.Context(), i.ID)
			}
		})
		wg.Go(func() {
			_, err := s.d.List(s.Context(), s.owner)
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(s, err)
	}
	s.settle()
	s.eventually("what was kept is listed, what was ended is gone", func() bool { return len(s.live(s.owner)) == each })
}
