package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// show says what every member is doing, whenever that changes, until ctx ends,
// and what to try as soon as every sample serves or was refused. With load it
// returns then.
func show(ctx context.Context, p *stratos.Platform, o options, out io.Writer) error {
	s := &screen{out: out, members: map[topology.MemberID]string{}, refused: map[topology.ClusterID]string{}}
	began := time.Now()
	invited := false
	for rev := store.Revision(0); ; {
		v, err := p.Topology().Next(ctx, rev)
		if err != nil {
			return err
		}
		rev = v.Rev
		s.update(v)
		if !invited && settled(v) {
			invited = true
			invite(p, v, o, out, time.Since(began))
			if o.load {
				return nil
			}
		}
	}
}

// settled reports whether every sample serves its page, or was refused.
func settled(v *topology.View) bool {
	for _, s := range samples {
		c := v.Cluster(topology.SubscriptionCluster(topology.TenantID(tenant.Default), s.Alias))
		if c == nil || c.Count(topology.Active) == 0 && c.Cluster.Refused == nil {
			return false
		}
	}
	return true
}

// screen prints what changed since it printed last.
type screen struct {
	out     io.Writer
	members map[topology.MemberID]string
	refused map[topology.ClusterID]string
}

func (s *screen) update(v *topology.View) {
	for c := range v.Clusters() {
		if r := c.Cluster.Refused; r != nil && s.refused[c.Cluster.ID] != r.Release.Revision {
			s.refused[c.Cluster.ID] = r.Release.Revision
			s.print(c.Cluster.Alias, "", fmt.Sprintf("release %.8s was refused: %s", r.Release.Revision, r.Reason))
			if r.Log != "" {
				fmt.Fprintf(s.out, "%s\n", r.Log)
			}
		}
		for _, m := range c.Members() {
			text := doing(m.Member)
			if _, seen := s.members[m.ID]; !seen && m.State == topology.Terminated {
				continue // it ended before we looked
			}
			if s.members[m.ID] != text {
				s.members[m.ID] = text
				s.print(c.Cluster.Alias, m.ID, text)
			}
		}
	}
}

func (s *screen) print(alias string, m topology.MemberID, text string) {
	fmt.Fprintf(s.out, "%s  %-8s %-8.8s %s\n", time.Now().Format("15:04:05"), alias, m, text)
}

// doing says what a member does, in words.
func doing(m topology.Member) string {
	text := string(m.State)
	if m.State == topology.Active && m.Serving != nil {
		text += fmt.Sprintf(", serves %.8s", m.Serving.Release.Revision)
		if m.Assigned != nil && m.Serving.Release != *m.Assigned {
			text += fmt.Sprintf(", tries %.8s", m.Assigned.Revision)
		}
		for _, r := range m.Retiring {
			text += fmt.Sprintf(", retires %.8s", r.Release.Revision)
		}
		return text
	}
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	return text
}

// invite says where the apps are and what to try.
func invite(p *stratos.Platform, v *topology.View, o options, out io.Writer, took time.Duration) {
	_, port, _ := net.SplitHostPort(o.listen)
	fmt.Fprintf(out, "\nserving after %.1f s:\n", took.Seconds())
	for _, s := range samples {
		host := stratos.HostOf(tenant.Default, s.Alias, p.Config().Domain)
		fmt.Fprintf(out, "  http://%s:%s/    or: curl -H 'Host: %s' http://%s/\n", host, port, host, o.listen)
	}
	fmt.Fprintf(out, "\ntry next, in another terminal:\n")
	hello := filepath.Join(o.dir, "repositories", "hello")
	fmt.Fprintf(out, "  push a change   sed -i 's/Hello/Bonjour/' %[1]s/index.php && git -C %[1]s commit -qam Bonjour\n", hello)
	fmt.Fprintf(out, "  drive load      go run ./examples/apaas -load%s\n", flagsOf(o))
	fmt.Fprintf(out, "  kill a member   pkill -9 -n -f %s/    (the newest one's agent; the member is replaced)\n", filepath.Join(p.Config().Dir, "accounts", "here", "bin"))
	fmt.Fprintf(out, "\nthe administrator's token is in %s; Ctrl-C ends everything\n\n", filepath.Join(o.dir, "admin.token"))
}

// flagsOf repeats the flags that are not the default.
func flagsOf(o options) string {
	text := ""
	for _, f := range []struct{ name, value, def string }{
		{"listen", o.listen, "127.0.0.1:8000"}, {"api", o.api, "127.0.0.1:8080"}, {"dir", o.dir, "apaas.data"},
	} {
		if f.value != f.def {
			text += fmt.Sprintf(" -%s %s", f.name, f.value)
		}
	}
	return text
}
