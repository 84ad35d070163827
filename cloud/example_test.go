package cloud_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gostratos/stratos/cloud"
)

// shed is a cloud of named boxes.
type shed struct {
	mu    sync.Mutex
	boxes map[cloud.InstanceID]cloud.Instance
}

var _ cloud.Driver = (*shed)(nil)

func (s *shed) Launch(_ context.Context, r cloud.Spec) (cloud.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := cloud.InstanceID(r.Token) // the same token is the same box
	if _, ok := s.boxes[id]; !ok && len(s.boxes) == 2 {
		return cloud.Instance{}, fmt.Errorf("%w: two boxes", cloud.ErrCapacity)
	} else if !ok {
		s.boxes[id] = cloud.Instance{ID: id, Name: r.Name, State: cloud.Running, Tags: r.Tags, Launched: time.Now()}
	}
	return s.boxes[id], nil
}

func (s *shed) Terminate(_ context.Context, id cloud.InstanceID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.boxes, id)
	return nil
}

func (s *shed) List(_ context.Context, o cloud.Owner) (all []cloud.Instance, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.boxes {
		if b.Tags[cloud.TagOwner] == string(o) {
			all = append(all, b)
		}
	}
	return all, nil
}

// A cloud's author writes three methods; the platform uses them through an account.
func ExampleDriver() {
	a := &cloud.Account{Name: "shed", Driver: &shed{boxes: map[cloud.InstanceID]cloud.Instance{}}}
	ctx := context.Background()
	for _, token := range []string{"a", "a", "b", "c"} {
		i, err := a.Launch(ctx, cloud.Spec{Token: token, Tags: map[string]string{cloud.TagOwner: "me"}})
		fmt.Println(i.ID, err, cloud.SurelyNot(err))
	}
	all, err := a.List(ctx, "me")
	fmt.Println(len(all), err)
	// Output:
	// a <nil> false
	// a <nil> false
	// b <nil> false
	//  launch in account shed: the partition is full: two boxes true
	// 2 <nil>
}
