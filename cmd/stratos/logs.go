package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// logsFlags say which lines are shown.
type logsFlags struct {
	control              controlFlags
	tenant, since, until string
	level, text, member  string
	lines                int
	follow               bool
}

func newLogs() *cobra.Command {
	var f logsFlags
	c := &cobra.Command{
		Use:   "logs ALIAS --control URL --token-file FILE",
		Short: "Show what the instances of a subscription printed",
		Long: `Show what the instances of a subscription printed, the oldest line first: what
runs, what a former release printed, and what instances did that are gone.

--since and --until take a time (2026-11-24T03:57:07Z) or how long ago (10m, 2h).
--level shows lines that are at least so bad: debug, info, warn, error. A line
that names no level counts as info, or, if it is indented, as the line before it.`,
		Example: `  stratos logs shop --control http://127.0.0.1:8080 --token-file stratos.data/admin.token --follow
  stratos logs shop --control http://127.0.0.1:8080 --token-file stratos.data/admin.token --since 2h --level warn --text payment`,
		Args: oneArgument("the alias of a subscription"),
		RunE: func(c *cobra.Command, args []string) error {
			q, err := f.query(time.Now())
			if err != nil {
				return err
			}
			api, err := f.control.client()
			if err != nil {
				return err
			}
			show := func(line client.LogLine) error { return writeLine(c.OutOrStdout(), line) }
			if f.follow {
				err = api.FollowLogs(c.Context(), tenant.ID(f.tenant), args[0], q, show)
				if c.Context().Err() != nil {
					return nil // Ctrl-C is how this ends
				}
				return f.control.explain(err)
			}
			lines, err := api.Logs(c.Context(), tenant.ID(f.tenant), args[0], q)
			if err != nil {
				return f.control.explain(err)
			}
			for _, line := range lines {
				if err := show(line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.control.register(c, adminToken)
	c.Flags().StringVar(&f.tenant, "tenant", string(tenant.Default), "whose subscription it is")
	c.Flags().IntVarP(&f.lines, "lines", "n", 100, "at most so many `lines`, the last ones")
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	c.Flags().StringVar(&f.since, "since", "", "from this `time` on, or so long ago")
	c.Flags().StringVar(&f.until, "until", "", "before this `time`, or so long ago")
	c.Flags().StringVar(&f.level, "level", "", "at least so bad: debug, info, warn, error")
	c.Flags().StringVar(&f.text, "text", "", "only lines with this `text`, in any case of letters")
	c.Flags().StringVar(&f.member, "member", "", "only of this `member`")
	return c
}

func (f *logsFlags) query(now time.Time) (client.LogQuery, error) {
	since, err := moment("since", f.since, now)
	until, err2 := moment("until", f.until, now)
	if f.lines < 1 {
		err = errors.Join(err, fmt.Errorf("--lines %d: want 1 or more", f.lines))
	}
	q := client.LogQuery{
		Lines: f.lines, Since: since, Until: until, Level: f.level, Text: f.text, Member: topology.MemberID(f.member),
	}
	return q, errors.Join(err, err2)
}

// moment reads a time, or how long ago it was.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("--%s %q is no time: write one like 2026-11-24T03:57:07Z, or how long ago, like 10m", flag, text)
	}
	return at, nil
}

// writeLine shows a line with its time, member and process.
func writeLine(w io.Writer, l client.LogLine) error {
	member := l.Member
	if len(member) > 6 {
		member = member[:6]
	}
	_, err := fmt.Fprintf(w, "%s %s %s %-5s %s\n", l.At.UTC().Format("2006-01-02T15:04:05.000Z"), member, l.Source, l.Level, l.Text)
	return err
}
