package cloud

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Account is one use of one cloud: the portable type around a [Driver]. It
// paces calls, gives each a deadline and names itself in every error. Its
// fields are set before the first call; its methods may be called concurrently.
type Account struct {
	Name   string // unique in a flavour
	Driver Driver

	// Partitions are parts of the cloud that fill up and fail by themselves,
	// in the order in which they are tried. Default: one, without a name.
	Partitions []Partition

	// CallTimeout is the deadline of one call. Default 60 s.
	CallTimeout time.Duration
	// Rate is the most calls per second, a verb. Default 20.
	Rate float64

	once   sync.Once
	limits map[string]*rate.Limiter
}

// Partition is a part of an account: a region, a zone, a host.
type Partition struct {
	Name string
	// Max is the most members in it. Default 0: no limit.
	Max int
}

// Open prepares the account: a driver that is an [Opener] is given dir.
func (a *Account) Open(ctx context.Context, dir string) error {
	if a.Driver == nil {
		return a.fail("open", "", errors.New("there is no driver: set Account.Driver"))
	}
	o, ok := a.Driver.(Opener)
	if !ok {
		return nil
	}
	return a.fail("open", "", o.Open(ctx, dir))
}

// Capabilities returns the driver's, or the cautious default.
func (a *Account) Capabilities() Capabilities {
	if c, ok := a.Driver.(Capable); ok {
		return c.Capabilities()
	}
	return Capabilities{Idempotency: ByTags, ListLag: time.Minute}
}

// Location is the driver's one place; empty if it has none. See [Located].
func (a *Account) Location() (string, error) {
	l, ok := a.Driver.(Located)
	if !ok {
		return "", nil
	}
	at, err := l.Location()
	return at, a.fail("locate", "", err)
}

// Settle is how long an unknown outcome may take to show itself: the list lag,
// one call's deadline and half a minute.
func (a *Account) Settle() time.Duration {
	return a.Capabilities().ListLag + a.callTimeout() + 30*time.Second
}

// Launch is [Driver.Launch], paced, with a deadline and a typed error.
func (a *Account) Launch(ctx context.Context, s Spec) (Instance, error) {
	var got Instance
	err := a.call(ctx, "launch", s.Partition, func(ctx context.Context) (err error) {
		got, err = a.Driver.Launch(ctx, s)
		if err == nil && got.ID == "" {
			err = errors.New("the driver returned an instance without an id")
		}
		return err
	})
	if err != nil {
		return Instance{}, err
	}
	return got, nil
}

// Terminate is [Driver.Terminate], paced, with a deadline and a typed error.
func (a *Account) Terminate(ctx context.Context, id InstanceID) error {
	return a.call(ctx, "terminate", "", func(ctx context.Context) error {
		err := a.Driver.Terminate(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
}

// List is [Driver.List], paced, with a deadline and a typed error.
func (a *Account) List(ctx context.Context, owner Owner) ([]Instance, error) {
	var all []Instance
	err := a.call(ctx, "list", "", func(ctx context.Context) (err error) {
		all, err = a.Driver.List(ctx, owner)
		return err
	})
	if err != nil {
		return nil, err // also what the driver may have found so far: part of a list is none
	}
	return all, nil
}

// call does one call when it is its turn. A call that does not get one is
// throttled: nothing was sent.
func (a *Account) call(ctx context.Context, op, partition string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.callTimeout())
	defer cancel()
	if err := a.limiter(op).Wait(ctx); err != nil {
		return a.fail(op, partition, fmt.Errorf("%w: waiting for its turn: %w", ErrThrottled, err))
	}
	return a.fail(op, partition, do(ctx))
}

func (a *Account) callTimeout() time.Duration {
	if a.CallTimeout > 0 {
		return a.CallTimeout
	}
	return time.Minute
}

func (a *Account) limiter(op string) *rate.Limiter {
	a.once.Do(func() {
		r := a.Rate
		if r <= 0 {
			r = 20
		}
		burst := max(1, int(r))
		a.limits = map[string]*rate.Limiter{}
		for _, op := range []string{"launch", "terminate", "list"} {
			a.limits[op] = rate.NewLimiter(rate.Limit(r), burst)
		}
	})
	return a.limits[op]
}

func (a *Account) fail(op, partition string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Account: a.Name, Partition: partition, Err: err}
}
