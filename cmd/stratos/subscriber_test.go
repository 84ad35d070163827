package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

// moody is a platform whose answers are written down: one an attempt, then success.
type moody struct {
	subscribe, scale []error
	calls            []string
}

func next(answers *[]error) (err error) {
	if len(*answers) > 0 {
		err, *answers = (*answers)[0], (*answers)[1:]
	}
	return err
}

func (m *moody) Subscribe(_ context.Context, s tenant.Subscription) error {
	m.calls = append(m.calls, "subscribe "+s.Alias)
	return next(&m.subscribe)
}

func (m *moody) Scale(_ context.Context, _ tenant.ID, alias string, minimum, maximum int) error {
	m.calls = append(m.calls, fmt.Sprint("scale ", alias, " ", minimum, " ", maximum))
	return next(&m.scale)
}

func TestSubscriber(t *testing.T) {
	away, taken := errors.New("repository is away"), fmt.Errorf("a: %w", tenant.ErrAliasTaken)
	for _, c := range []struct {
		name             string
		subscribe, scale []error
		calls            []string
		rounds           int // pauses between them
		errors           int // lines in the log
	}{
		{"new", nil, nil, []string{"subscribe a"}, 0, 0},
		{"there already", []error{taken}, nil, []string{"subscribe a", "scale a 1 4"}, 0, 0},
		{"repository away for a while", []error{away, away, away}, nil, []string{"subscribe a", "subscribe a", "subscribe a", "subscribe a"}, 3, 1},
		{"another error every time", []error{away, errors.New("now it refuses")}, nil, []string{"subscribe a", "subscribe a", "subscribe a"}, 2, 2},
		{"the former one still ends", []error{taken, nil}, []error{store.ErrNotFound}, []string{"subscribe a", "scale a 1 4", "subscribe a"}, 1, 1},
		{"bounds refused", []error{taken, taken}, []error{away}, []string{"subscribe a", "scale a 1 4", "subscribe a", "scale a 1 4"}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &moody{subscribe: c.subscribe, scale: c.scale}
				var log strings.Builder
				s := &subscriber{
					platform: m, every: time.Minute, log: slog.New(slog.NewTextHandler(&log, nil)),
					wishes: []tenant.Subscription{{Tenant: tenant.Default, Alias: "a", Min: 1, Max: 4}},
				}
				began := time.Now()
				require.NoError(t, s.Run(t.Context()))
				require.Equal(t, c.calls, m.calls)
				require.Equal(t, time.Duration(c.rounds)*time.Minute, time.Since(began))
				require.Equal(t, c.errors, strings.Count(log.String(), "level=ERROR"), &log)
			})
		})
	}
}

func TestSubscriberEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		m := &moody{subscribe: []error{errors.New("a"), errors.New("a"), errors.New("a")}}
		s := &subscriber{platform: m, every: time.Minute, log: slog.New(slog.DiscardHandler), wishes: make([]tenant.Subscription, 1)}
		require.NoError(t, s.Run(ctx), "to be cancelled is a success")
		require.Len(t, m.calls, 2)
	})
}
