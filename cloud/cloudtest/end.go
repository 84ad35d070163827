package cloudtest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
)

// terminateEnds also when it is called only once.
func terminateEnds(s *scene) {
	ended, stays := s.launch(s.spec()), s.launch(s.spec())
	s.seen(ended.ID)
	s.seen(stays.ID)
	require.NoError(s, s.d.Terminate(s.Context(), ended.ID))
	s.eventually(fmt.Sprintf("%s is gone", ended.ID), func() bool {
		_, ok := s.live(s.owner)[ended.ID]
		return !ok
	})
	require.Contains(s, s.live(s.owner), stays.ID, "another instance was terminated")
}

func terminateOfGoneSucceeds(s *scene) {
	i := s.launch(s.spec())
	s.seen(i.ID)
	s.end(i.ID)
	for range 3 {
		require.NoError(s, s.d.Terminate(s.Context(), i.ID), "terminating what is gone")
	}

	killed := s.launch(s.spec())
	s.seen(killed.ID)
	s.h.Kill(s, killed.ID)
	require.NoError(s, s.d.Terminate(s.Context(), killed.ID), "terminating what was killed")
	s.end(killed.ID)
	s.settle()
	require.Empty(s, s.live(s.owner))
}

// goneIsSeen without anybody asking for the instance's end.
func goneIsSeen(s *scene) {
	killed, stays := s.launch(s.spec()), s.launch(s.spec())
	s.seen(killed.ID)
	s.seen(stays.ID)
	s.h.Kill(s, killed.ID)
	s.eventually(fmt.Sprintf("the killed %s is Gone, or not listed", killed.ID), func() bool {
		_, ok := s.live(s.owner)[killed.ID]
		return !ok
	})
	s.settle()
	require.NotContains(s, s.live(s.owner), killed.ID, "it came back")
	require.Contains(s, s.live(s.owner), stays.ID)
}

// survivesReopen: the platform restarts and finds everything again.
func survivesReopen(s *scene) {
	kept, ended := s.spec(), s.spec()
	first, second := s.launch(kept), s.launch(ended)
	before := s.seen(first.ID)
	s.seen(second.ID)

	s.d = s.h.Open(s)
	after := s.seen(first.ID)
	require.Equal(s, before.Tags, after.Tags)
	require.Equal(s, before.Name, after.Name)
	require.True(s, before.Launched.Equal(after.Launched), "the launch time changed")
	if s.repeats() {
		require.Equal(s, first.ID, s.launch(kept).ID, "a launch repeated after a restart")
	}
	s.end(second.ID)
	s.settle()
	require.Len(s, s.live(s.owner), 1)
	require.NotEqual(s, cloud.Gone, s.seen(first.ID).State)
}
