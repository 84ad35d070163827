package cloudtest

import (
	"context"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
)

func launchReturnsTheInstance(s *scene) {
	spec := s.spec()
	i := s.launch(spec)
	require.Equal(s, spec.Name, i.Name)
	require.Equal(s, spec.Partition, i.Partition)
	require.Contains(s, []cloud.InstanceState{cloud.Pending, cloud.Running}, i.State)

	listed := s.seen(i.ID)
	require.Equal(s, spec.Name, listed.Name, "in the list")
	require.Equal(s, spec.Partition, listed.Partition, "in the list")
}

func launchIsIdempotent(s *scene) {
	if !s.repeats() {
		return
	}
	spec := s.spec()
	const callers = 4
	got := make([]cloud.Instance, callers)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() { got[n], errs[n] = s.d.Launch(s.Context(), again(spec)) })
	}
	wg.Wait()
	for n := range callers {
		require.NoError(s, errs[n], "one of %d launches at once", callers)
	}
	late := s.launch(spec)
	for n := range callers {
		require.Equal(s, late.ID, got[n].ID, "the same token gave two instances")
	}
	s.seen(late.ID)
	s.settle()
	require.Len(s, s.live(s.owner), 1, "one request, repeated")
}

func launchWithAnotherRequestIsRefused(s *scene) {
	if !s.repeats() {
		return
	}
	spec := s.spec()
	first := s.launch(spec)
	s.seen(first.ID)

	other := again(spec)
	what := "the same token with other user-data"
	if s.caps.Idempotency == cloud.ByName {
		other.Token += "other"
		what = "the same name with another token"
	} else {
		other.UserData = append(other.UserData, ' ')
	}
	_, err := s.d.Launch(s.Context(), other)
	require.ErrorIs(s, err, cloud.ErrRejected, what)

	require.Equal(s, first.ID, s.launch(spec).ID, "the first request after %s", what)
	s.settle()
	live := s.live(s.owner)
	require.Len(s, live, 1)
	require.Contains(s, live, first.ID, "the first instance does not suffer")
}

// lostAnswersDoNotDouble breaks calls off at various moments, as a crash of the
// platform or a bad line does, and launches again.
func lostAnswersDoNotDouble(s *scene) {
	if !s.repeats() {
		return
	}
	for n, patience := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		spec := s.spec()
		ctx, cancel := context.WithTimeout(s.Context(), patience)
		lost, err := s.d.Launch(ctx, again(spec))
		cancel()
		if err != nil {
			require.False(s, cloud.SurelyNot(err), "a call that was broken off says that surely nothing was launched: %v", err)
		}
		i := s.launch(spec)
		if err == nil {
			require.Equal(s, lost.ID, i.ID)
		}
		s.seen(i.ID)
		s.settle()
		require.Len(s, s.live(s.owner), n+1, "one request, broken off after %v and sent again", patience)
	}
}

func runningHasAnAddress(s *scene) {
	id := s.launch(s.spec()).ID
	var i cloud.Instance
	s.eventually("the instance runs", func() bool {
		i = s.list(s.owner)[id]
		return i.State == cloud.Running
	})
	require.NotEmpty(s, i.Addresses)
	require.NotContains(s, i.Addresses, "")
}

func tagsAreThere(s *scene) {
	spec := s.spec()
	spec.Tags["note"] = "a blank = sign: and /slash"
	i := s.launch(spec)
	listed := s.seen(i.ID)
	for key, value := range spec.Tags {
		require.Equal(s, value, i.Tags[key], "tag %s in Launch's answer", key)
		require.Equal(s, value, listed.Tags[key], "tag %s in the list", key)
	}
}

// launchTimeIsTold: how old an instance is decides whether it is an orphan.
func launchTimeIsTold(s *scene) {
	const skew = 5 * time.Minute
	before := time.Now().Add(-skew)
	i := s.launch(s.spec())
	first := s.seen(i.ID).Launched
	require.WithinRange(s, first, before, time.Now().Add(skew))
	require.True(s, first.Equal(s.seen(i.ID).Launched), "the launch time changes")
}

func answersBelongToTheCaller(s *scene) {
	spec := again(s.spec())
	want := spec.Tags[cloud.TagMember]
	i, err := s.d.Launch(s.Context(), spec)
	require.NoError(s, err)
	spec.Tags[cloud.TagMember] = "changed in the request"
	listed := s.seen(i.ID)
	require.Equal(s, want, listed.Tags[cloud.TagMember], "the driver kept the caller's map")
	listed.Tags[cloud.TagMember] = "changed in the answer"
	for n := range listed.Addresses {
		listed.Addresses[n] = "changed in the answer"
	}
	listed = s.seen(i.ID)
	require.Equal(s, want, listed.Tags[cloud.TagMember], "the driver gave its own map away")
	require.NotContains(s, listed.Addresses, "changed in the answer", "the driver gave its own slice away")
}
