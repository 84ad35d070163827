package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/topology"
)

const logsOf = topology.ClusterID("default.a")

func said(from int, texts ...string) wire.Logs {
	l := wire.Logs{From: uint64(from)}
	for i, text := range texts {
		source, rest, ok := strings.Cut(text, ": ")
		if !ok {
			source, rest = "web", text
		}
		l.Lines = append(l.Lines, wire.LogLine{At: time.Unix(int64(from+i), 0).UTC(), Source: source, Text: rest})
	}
	return l
}

func texts(lines []api.LogLine) (all []string) {
	for _, l := range lines {
		all = append(all, l.Text)
	}
	return all
}

func TestLogQueries(t *testing.T) {
	logs := &api.Logs{Dir: t.TempDir()}
	require.NoError(t, logs.Append(logsOf, "m1", said(0, "listening", "level=warn slow", "ERROR no", "  at x.go", "\tat y.go", "done")))
	require.NoError(t, logs.Append(logsOf, "m2", said(10, "  indented, and nothing before", "worker: [error] 1#1: lost", "web:   its own", "Payment taken")))
	for _, c := range []struct {
		name  string
		query api.LogQuery
		want  []string
	}{
		{"all", api.LogQuery{}, []string{"listening", "level=warn slow", "ERROR no", "  at x.go", "\tat y.go", "done", "  indented, and nothing before", "[error] 1#1: lost", "  its own", "Payment taken"}},
		{"the last", api.LogQuery{Lines: 2}, []string{"  its own", "Payment taken"}},
		{"since", api.LogQuery{Since: time.Unix(11, 0)}, []string{"[error] 1#1: lost", "  its own", "Payment taken"}},
		{"until", api.LogQuery{Until: time.Unix(2, 0)}, []string{"listening", "level=warn slow"}},
		{"warnings", api.LogQuery{Level: api.LevelWarn}, []string{"level=warn slow", "ERROR no", "  at x.go", "\tat y.go", "[error] 1#1: lost"}},
		{"errors, the last three", api.LogQuery{Level: api.LevelError, Lines: 3}, []string{"  at x.go", "\tat y.go", "[error] 1#1: lost"}},
		{"text", api.LogQuery{Text: "payMENT"}, []string{"Payment taken"}},
		{"a member", api.LogQuery{Member: "m2", Level: api.LevelError}, []string{"[error] 1#1: lost"}},
		{"a continued line whose beginning is too old", api.LogQuery{Level: api.LevelError, Since: time.Unix(3, 0), Member: "m1"}, []string{"  at x.go", "\tat y.go"}},
		{"none", api.LogQuery{Text: "nothing of it"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, err := logs.Tail(logsOf, c.query)
			require.NoError(t, err)
			require.Equal(t, c.want, texts(lines))
		})
	}
}

// TestFollowHasNoGap: whoever begins in the middle of many lines has each once,
// and in order for each member.
func TestFollowHasNoGap(t *testing.T) {
	logs := &api.Logs{Dir: t.TempDir()}
	const lines, members = 300, 3
	g, ctx := errgroup.WithContext(t.Context())
	for m := range members {
		g.Go(func() error {
			for n := range lines {
				if err := logs.Append(logsOf, topology.MemberID(fmt.Sprint("m", m)), said(n, "x")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	enough := errors.New("enough")
	for range 5 {
		g.Go(func() error {
			next, seen := map[topology.MemberID]uint64{}, 0
			err := logs.Follow(ctx, logsOf, api.LogQuery{Lines: 10_000}, func(all []api.LogLine) error {
				for _, l := range all {
					if l.N != next[l.Member] {
						return fmt.Errorf("line %d of %s, want %d", l.N, l.Member, next[l.Member])
					}
					next[l.Member]++
					seen++
				}
				if seen == lines*members {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) {
				return fmt.Errorf("%d lines: %w", seen, err)
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

func TestFollowFiltersAndEnds(t *testing.T) {
	logs := &api.Logs{Dir: t.TempDir()}
	require.NoError(t, logs.Append(logsOf, "m", said(0, "ERROR old", "fine")))
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	err := logs.Follow(ctx, logsOf, api.LogQuery{Level: api.LevelError}, func(lines []api.LogLine) error {
		if got = append(got, texts(lines)...); len(got) == 1 {
			return logs.Append(logsOf, "m", said(2, "fine", "ERROR new", "  of it"))
		}
		cancel()
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"ERROR old", "ERROR new", "  of it"}, got)
}

// TestSlowFollowerIsEnded: it costs nobody memory, and is told.
func TestSlowFollowerIsEnded(t *testing.T) {
	logs := &api.Logs{Dir: t.TempDir()}
	many := make([]string, 1000)
	err := logs.Follow(t.Context(), logsOf, api.LogQuery{}, func([]api.LogLine) error {
		for i := range 21 {
			if err := logs.Append(logsOf, "m", said(i*1000, many...)); err != nil {
				return err
			}
		}
		return nil
	})
	require.ErrorContains(t, err, "faster than they are read")
}

func TestFollowBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &api.Logs{Dir: t.TempDir()}
		ctx, cancel := context.WithTimeout(t.Context(), 59*time.Second)
		defer cancel()
		calls := 0
		require.NoError(t, logs.Follow(ctx, logsOf, api.LogQuery{}, func([]api.LogLine) error {
			calls++
			return nil
		}))
		require.Equal(t, 4, calls, "at once, and every 15 s")
	})
}

func TestLogsOfAClusterAreBounded(t *testing.T) {
	dir := t.TempDir()
	logs := &api.Logs{Dir: dir, MaxBytes: 1000, MaxCluster: 10_000}
	for i := range 20 {
		m := topology.MemberID(fmt.Sprintf("m%02d", i))
		for n := range 20 {
			require.NoError(t, logs.Append(logsOf, m, said(n, strings.Repeat("x", 100))))
		}
		for _, suffix := range []string{".log", ".log.1"} { // as old as they would be
			path := filepath.Join(dir, string(logsOf), string(m)+suffix)
			require.NoError(t, os.Chtimes(path, time.Time{}, time.Unix(int64(i), 0)))
		}
	}
	lines, err := logs.Tail(logsOf, api.LogQuery{Lines: 10_000})
	require.NoError(t, err)
	require.Equal(t, topology.MemberID("m19"), lines[len(lines)-1].Member)
	for _, l := range lines {
		require.NotEqual(t, topology.MemberID("m00"), l.Member, "the oldest went")
	}
	files, err := filepath.Glob(filepath.Join(dir, string(logsOf), "*"))
	require.NoError(t, err)
	var size int64
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(t, err)
		size += info.Size()
	}
	require.LessOrEqual(t, size, int64(10_000+2*2000), "the limit, and what came after the last look")
}

func TestLogsOverHTTP(t *testing.T) {
	b := newBed(t)
	for _, c := range []struct{ query, want string }{
		{"lines=0", "lines is \"0\", want 1 to 10000"}, {"lines=x", "lines is"}, {"level=loud", "want debug, info, warn or error"},
		{"since=yesterday", "since is \"yesterday\""}, {"until=1", "until is"},
	} {
		code, body := b.do("GET", "/v1/tenants/default/subscriptions/a/logs?"+c.query, "", admin)
		require.Equal(t, http.StatusBadRequest, code)
		require.Contains(t, strings.ReplaceAll(body, `\"`, `"`), c.want)
	}
	code, _ := b.do("GET", "/v1/tenants/default/subscriptions/A/logs", "", admin)
	require.Equal(t, http.StatusBadRequest, code)
	code, _ = b.do("GET", "/v1/tenants/default/subscriptions/a/logs?follow=1", "", agentOf("member-of-a"))
	require.Equal(t, http.StatusUnauthorized, code)
}
