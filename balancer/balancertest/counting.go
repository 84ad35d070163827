package balancertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/gostratos/stratos/balancer"
)

// drainFinishes: a target that drains gets nothing new and finishes what it
// has, and so does one that left the table.
func drainFinishes(ctx context.Context, b *bench) error {
	members := b.start(2)
	old, fresh := members[:1], members[1:]
	if err := b.apply(ctx, old, nil); err != nil {
		return err
	}
	wait, err := b.hold(ctx, 3, old...)
	if err != nil {
		return err
	}
	for _, draining := range [][]*member{old, nil} { // drains, then is absent
		if err := b.onlyTo(ctx, fresh, draining); err != nil {
			return err
		}
	}
	old[0].letGo()
	if err := errors.Join(wait()...); err != nil {
		return fmt.Errorf("a request that the target had when it began to drain: %w", err)
	}
	return b.onlyTo(ctx, fresh, old) // now that both are idle
}

// onlyTo applies a table and complains of a new request that does not go to
// the one member that serves.
func (b *bench) onlyTo(ctx context.Context, serving, draining []*member) error {
	if err := b.apply(ctx, serving, draining); err != nil {
		return err
	}
	for range 20 {
		name, err := b.want(ctx)
		if err != nil || name != string(serving[0].id) {
			return fmt.Errorf("a new request went to %q, error %v; want %s", name, err, serving[0].id)
		}
	}
	return nil
}

// drainedTruth: a target is drained when it is out of rotation and idle.
func drainedTruth(ctx context.Context, b *bench) error {
	d, ok := b.Backend.(balancer.Drainer)
	if !ok {
		return nil
	}
	members := b.start(2)
	old, fresh := members[:1], members[1:]
	id := old[0].target().TargetID
	is := func(when string, want bool) error {
		if got := d.Drained(shop, id); got != want {
			return fmt.Errorf("%s: drained is %t, want %t", when, got, want)
		}
		return nil
	}
	if err := b.apply(ctx, members, nil); err != nil {
		return err
	}
	if err := is("in rotation and idle", false); err != nil {
		return err
	}
	if err := b.apply(ctx, old, nil); err != nil {
		return err
	}
	wait, err := b.hold(ctx, 1, old...)
	if err != nil {
		return err
	}
	err = errors.Join(
		b.apply(ctx, fresh, old), is("draining with a request", false),
		b.apply(ctx, fresh, nil), is("absent with a request", false),
		b.applyTable(ctx, nil), is("its cluster absent, with a request", false),
	)
	if err != nil {
		return err
	}
	old[0].letGo()
	if err := errors.Join(wait()...); err != nil {
		return err
	}
	if err := eventually(ctx, func() error { return is("out of rotation and idle", true) }); err != nil {
		return err
	}
	return errors.Join(b.apply(ctx, old, nil), is("back in rotation", false))
}

// inFlightTruth: the gauge reads what clients and members know, and its
// integral is that gauge over time.
func inFlightTruth(ctx context.Context, b *bench) error {
	const n = 200
	sr, ok := b.Backend.(balancer.StatReader)
	if !ok {
		return nil
	}
	members := b.start(4)
	if err := b.apply(ctx, members, nil); err != nil {
		return err
	}
	before := sr.Stats()[shop]
	wait, err := b.hold(ctx, n, members...)
	if err != nil {
		return err
	}
	first := sr.Stats()[shop]
	second := sr.Stats()[shop]
	if err := allInFlight(first, members, n); err != nil {
		return err
	}
	if got, want := second.InFlightTime-first.InFlightTime, n*second.At.Sub(first.At); got < want*99/100 || got > want*101/100 {
		return fmt.Errorf("the integral grew by %v in %v with %d in flight; want %v", got, second.At.Sub(first.At), n, want)
	}
	for _, m := range members {
		m.letGo()
	}
	if err := errors.Join(wait()...); err != nil {
		return err
	}
	err = eventually(ctx, func() error { return idle(sr.Stats()[shop]) })
	if err != nil {
		return err
	}
	after := sr.Stats()[shop]
	if a, s := after.Arrivals-before.Arrivals, after.Served-before.Served; a != n || s != n {
		return fmt.Errorf("%d requests were sent and answered; counted %d arrivals, %d served", n, a, s)
	}
	if after.Errors != before.Errors || after.InFlightTime < second.InFlightTime {
		return fmt.Errorf("%d errors, integral %v after %v; want none, growing", after.Errors, after.InFlightTime, second.InFlightTime)
	}
	return nil
}

// allInFlight compares a reading with what the members hold.
func allInFlight(s balancer.Stats, members []*member, n int) error {
	if s.InFlight != n {
		return fmt.Errorf("%d requests are held open, the gauge reads %d", n, s.InFlight)
	}
	for _, m := range members {
		if got, want := s.InFlightTargets[m.target().TargetID], holding([]*member{m}); got != want {
			return fmt.Errorf("member %s holds %d requests, its gauge reads %d", m.id, want, got)
		}
	}
	return nil
}

func idle(s balancer.Stats) error {
	sum := 0
	for _, n := range s.InFlightTargets {
		sum += n
	}
	if s.InFlight != 0 || sum != 0 {
		return fmt.Errorf("nothing is in flight, the gauge reads %d, those of targets %d", s.InFlight, sum)
	}
	return nil
}

// killedMember: what a member had in flight when it died is over.
func killedMember(ctx context.Context, b *bench) error {
	sr, ok := b.Backend.(balancer.StatReader)
	if !ok {
		return nil
	}
	members := b.start(1)
	if err := b.apply(ctx, members, nil); err != nil {
		return err
	}
	wait, err := b.hold(ctx, 50, members...)
	if err != nil {
		return err
	}
	if got := sr.Stats()[shop].InFlight; got != 50 {
		return fmt.Errorf("50 requests are held open, the gauge reads %d", got)
	}
	members[0].kill()
	for _, err := range wait() {
		if err == nil {
			return errors.New("a request that its member never finished looks whole to the client")
		}
	}
	return eventually(ctx, func() error { return idle(sr.Stats()[shop]) })
}
