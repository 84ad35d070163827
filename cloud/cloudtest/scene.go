package cloudtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
)

// scene is one test's use of a cloud: its owner is nobody else's.
type scene struct {
	testing.TB
	h     Harness
	d     cloud.Driver
	caps  cloud.Capabilities
	owner cloud.Owner

	mu     sync.Mutex
	number int
	owners []cloud.Owner
}

func newScene(t testing.TB, h Harness) *scene {
	t.Helper()
	require.NotNil(t, h.Open, "set Harness.Open")
	require.NotNil(t, h.Kill, "set Harness.Kill")
	s := &scene{TB: t, h: h, d: h.Open(t)}
	s.caps = (&cloud.Account{Driver: s.d}).Capabilities()
	s.owner = s.newOwner()
	t.Cleanup(s.clean)
	return s
}

func (s *scene) newOwner() cloud.Owner {
	o := cloud.Owner("cloudtest-" + strings.ToLower(rand.Text()[:12]))
	s.owners = append(s.owners, o)
	return o
}

// repeats reports whether the cloud lets a launch be repeated.
func (s *scene) repeats() bool { return s.caps.Idempotency != cloud.ByTags }

// spec is a new request.
func (s *scene) spec() cloud.Spec {
	s.mu.Lock()
	s.number++
	name := fmt.Sprintf("%s-%d", s.owner, s.number)
	s.mu.Unlock()
	spec := cloud.Spec{
		Token: strings.ReplaceAll(name, "-", ""),
		Name:  name,
		Tags: map[string]string{
			cloud.TagOwner:   string(s.owner),
			cloud.TagMember:  name,
			cloud.TagCluster: "shop",
			cloud.TagAttempt: "1",
			cloud.TagSentAt:  time.Now().UTC().Format(time.RFC3339),
		},
		UserData: []byte("{}"),
	}
	if s.h.Fill != nil {
		s.h.Fill(&spec)
	}
	return spec
}

// again is the same request, sharing no memory with it.
func again(spec cloud.Spec) cloud.Spec {
	spec.Tags = maps.Clone(spec.Tags)
	spec.UserData = append([]byte(nil), spec.UserData...)
	return spec
}

func (s *scene) launch(spec cloud.Spec) cloud.Instance {
	s.Helper()
	i, err := s.d.Launch(s.Context(), again(spec))
	require.NoError(s, err, "launching %s", spec.Name)
	require.NotEmpty(s, i.ID, "the instance %s has no id", spec.Name)
	return i
}

// list returns the owner's instances by id.
func (s *scene) list(owner cloud.Owner) map[cloud.InstanceID]cloud.Instance {
	s.Helper()
	all, err := s.d.List(s.Context(), owner)
	require.NoError(s, err, "listing")
	byID := map[cloud.InstanceID]cloud.Instance{}
	for _, i := range all {
		require.NotContains(s, byID, i.ID, "listed twice")
		byID[i.ID] = i
	}
	return byID
}

// live are those of owner that are not Gone.
func (s *scene) live(owner cloud.Owner) map[cloud.InstanceID]cloud.Instance {
	s.Helper()
	all := s.list(owner)
	maps.DeleteFunc(all, func(_ cloud.InstanceID, i cloud.Instance) bool { return i.State == cloud.Gone })
	return all
}

// eventually waits for something to show.
func (s *scene) eventually(what string, ok func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.caps.ListLag+s.h.within())
	defer cancel()
	require.True(s, until(ctx, ok), "not within %v: %s", s.caps.ListLag+s.h.within(), what)
}

func until(ctx context.Context, ok func() bool) bool {
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for !ok() {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// settle waits for as long as the cloud's list may be behind.
func (s *scene) settle() {
	if s.caps.ListLag > 0 {
		<-time.After(s.caps.ListLag)
	}
}

// seen waits until the instance is listed as live, and returns what is listed.
func (s *scene) seen(id cloud.InstanceID) (i cloud.Instance) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s is listed", id), func() (ok bool) {
		i, ok = s.live(s.owner)[id]
		return ok
	})
	return i
}

// end terminates, as the platform does: again and again until it is gone.
func (s *scene) end(id cloud.InstanceID) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s is gone", id), func() bool {
		require.NoError(s, s.d.Terminate(s.Context(), id), "terminating %s", id)
		_, ok := s.live(s.owner)[id]
		return !ok
	})
}

// clean leaves nothing of the scene in the cloud. It lists to the end, as what
// is Gone may still take up room.
func (s *scene) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), s.caps.ListLag+s.h.within())
	defer cancel()
	s.settle()
	var err error
	clean := until(ctx, func() bool {
		left := 0
		for _, o := range s.owners {
			var all []cloud.Instance
			if all, err = s.d.List(ctx, o); err != nil {
				return false
			}
			for _, i := range all {
				if err = s.d.Terminate(ctx, i.ID); err != nil {
					return false
				}
				if i.State != cloud.Gone {
					left++
				}
			}
		}
		return left == 0
	})
	if !clean {
		s.Errorf("instances of %v are still there: terminate them by hand (last error: %v)", s.owners, err)
	}
}
