package cloud_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
)

// answers is a driver that gives the answers it is told to.
type answers struct {
	instance cloud.Instance
	list     []cloud.Instance
	err      error
	hang     bool // until ctx ends
	calls    int
	at       []time.Time
}

func (a *answers) called(ctx context.Context) error {
	a.calls++
	a.at = append(a.at, time.Now())
	if a.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return a.err
}

func (a *answers) Launch(ctx context.Context, _ cloud.Spec) (cloud.Instance, error) {
	return a.instance, a.called(ctx)
}
func (a *answers) Terminate(ctx context.Context, _ cloud.InstanceID) error { return a.called(ctx) }
func (a *answers) List(ctx context.Context, _ cloud.Owner) ([]cloud.Instance, error) {
	return a.list, a.called(ctx)
}

func TestAccountNamesItselfInErrors(t *testing.T) {
	theirs := errors.New("InsufficientInstanceCapacity")
	d := &answers{err: errors.Join(cloud.ErrCapacity, theirs)}
	a := &cloud.Account{Name: "europe", Driver: d}
	_, err := a.Launch(t.Context(), cloud.Spec{Partition: "a"})
	require.ErrorIs(t, err, cloud.ErrCapacity)
	require.ErrorIs(t, err, theirs)
	require.ErrorContains(t, err, "launch in account europe/a: ")
	var typed *cloud.Error
	require.ErrorAs(t, err, &typed)
	require.Equal(t, cloud.Error{Op: "launch", Account: "europe", Partition: "a", Err: d.err}, *typed)

	require.ErrorContains(t, a.Terminate(t.Context(), "i-1"), "terminate in account europe: ")
	_, err = a.List(t.Context(), "me")
	require.ErrorContains(t, err, "list in account europe: ")
}

func TestAccountGivesNothingWithAnError(t *testing.T) {
	d := &answers{instance: cloud.Instance{ID: "i-1"}, list: []cloud.Instance{{ID: "i-1"}}, err: errors.New("broken off")}
	a := &cloud.Account{Driver: d}
	i, err := a.Launch(t.Context(), cloud.Spec{})
	require.Error(t, err)
	require.Zero(t, i)
	all, err := a.List(t.Context(), "me")
	require.Error(t, err)
	require.Nil(t, all, "part of a list")
}

func TestAccountPassesAnswersOn(t *testing.T) {
	d := &answers{instance: cloud.Instance{ID: "i-1"}, list: []cloud.Instance{{ID: "i-1"}}}
	a := &cloud.Account{Driver: d}
	i, err := a.Launch(t.Context(), cloud.Spec{})
	require.NoError(t, err)
	require.Equal(t, d.instance, i)
	all, err := a.List(t.Context(), "me")
	require.NoError(t, err)
	require.Equal(t, d.list, all)
	require.NoError(t, a.Terminate(t.Context(), "i-1"))
}

func TestLaunchWithoutAnIDIsAnUnknownOutcome(t *testing.T) {
	_, err := (&cloud.Account{Driver: &answers{}}).Launch(t.Context(), cloud.Spec{})
	require.ErrorContains(t, err, "without an id")
	require.False(t, cloud.SurelyNot(err))
}

func TestTerminateOfNothingSucceeds(t *testing.T) {
	a := &cloud.Account{Driver: &answers{err: errors.Join(cloud.ErrNotFound, errors.New("InvalidInstanceID"))}}
	require.NoError(t, a.Terminate(t.Context(), "i-1"))
}

func TestCallsHaveADeadline(t *testing.T) {
	for _, test := range []struct {
		name    string
		timeout time.Duration
		want    time.Duration
	}{
		{"the default", 0, time.Minute},
		{"its own", 7 * time.Second, 7 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &cloud.Account{Driver: &answers{hang: true}, CallTimeout: test.timeout}
				start := time.Now()
				_, err := a.Launch(t.Context(), cloud.Spec{})
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.False(t, cloud.SurelyNot(err), "the outcome is unknown")
				require.Equal(t, test.want, time.Since(start))
			})
		})
	}
}

func TestCallsArePacedByVerb(t *testing.T) {
	for _, test := range []struct {
		name  string
		rate  float64
		calls int
		want  time.Duration // until the last one leaves
	}{
		{"the default", 0, 40, time.Second},
		{"two a second", 2, 6, 2 * time.Second},
		{"one in two seconds", 0.5, 3, 4 * time.Second},
		{"few", 10, 10, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &answers{}
				a := &cloud.Account{Driver: d, Rate: test.rate}
				start := time.Now()
				for range test.calls {
					require.NoError(t, a.Terminate(t.Context(), "i-1"))
				}
				require.InDelta(t, test.want, d.at[test.calls-1].Sub(start), float64(time.Millisecond))
				now := time.Now()
				_, err := a.List(t.Context(), "me")
				require.NoError(t, err)
				require.Equal(t, now, time.Now(), "another verb has a pace of its own")
			})
		})
	}
}

func TestCallWithoutATurnIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &answers{instance: cloud.Instance{ID: "i-1"}}
		a := &cloud.Account{Driver: d, Rate: 0.001, CallTimeout: time.Second}
		_, err := a.Launch(t.Context(), cloud.Spec{})
		require.NoError(t, err)
		_, err = a.Launch(t.Context(), cloud.Spec{})
		require.ErrorIs(t, err, cloud.ErrThrottled)
		require.True(t, cloud.SurelyNot(err))
		require.Equal(t, 1, d.calls, "nothing was sent")
	})
}

func TestCallUnderAnEndedContextIsNotSent(t *testing.T) {
	d := &answers{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&cloud.Account{Driver: d}).Launch(ctx, cloud.Spec{})
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, cloud.SurelyNot(err))
	require.Zero(t, d.calls)
}

// opener is a driver with files of its own.
type opener struct {
	answers
	dir string
}

func (o *opener) Open(_ context.Context, dir string) error {
	o.dir = dir
	return o.err
}

func (*opener) Capabilities() cloud.Capabilities {
	return cloud.Capabilities{Idempotency: cloud.ByName, ListLag: time.Second}
}

func TestOpen(t *testing.T) {
	o := &opener{}
	require.NoError(t, (&cloud.Account{Name: "here", Driver: o}).Open(t.Context(), "/data"))
	require.Equal(t, "/data", o.dir)
	require.NoError(t, (&cloud.Account{Driver: &answers{}}).Open(t.Context(), "/data"), "a driver that needs none")

	o.err = errors.New("no such disk")
	err := (&cloud.Account{Name: "here", Driver: o}).Open(t.Context(), "/data")
	require.EqualError(t, err, "open in account here: no such disk")
	require.ErrorContains(t, (&cloud.Account{}).Open(t.Context(), "/data"), "set Account.Driver")
}

func TestCapabilitiesAndSettle(t *testing.T) {
	cautious := &cloud.Account{Driver: &answers{}}
	require.Equal(t, cloud.Capabilities{Idempotency: cloud.ByTags, ListLag: time.Minute}, cautious.Capabilities())
	require.Equal(t, 150*time.Second, cautious.Settle())
	told := &cloud.Account{Driver: &opener{}, CallTimeout: 10 * time.Second}
	require.Equal(t, cloud.ByName, told.Capabilities().Idempotency)
	require.Equal(t, 41*time.Second, told.Settle())
}

func TestSurelyNot(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"capacity", cloud.ErrCapacity, true},
		{"quota", cloud.ErrQuota, true},
		{"throttled", cloud.ErrThrottled, true},
		{"rejected", &cloud.Error{Op: "launch", Err: cloud.ErrRejected}, true},
		{"unauthorized", errors.Join(errors.New("403"), cloud.ErrUnauthorized), true},
		{"not found", cloud.ErrNotFound, false},
		{"a broken connection", errors.New("EOF"), false},
		{"a deadline", context.DeadlineExceeded, false},
		{"no error", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, cloud.SurelyNot(test.err)) })
	}
}
