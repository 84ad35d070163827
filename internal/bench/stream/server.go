package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// hello is the first line that the serving process says.
type hello struct {
	Address string
	Rev     store.Revision
	Keys    keys
}

// usage is its answer to "usage".
type usage struct {
	ResidentBytes, UsedBytes uint64
	CPU                      time.Duration
	Streams                  int64
}

// runServer serves a topology and obeys: "change" changes one member, whose
// reason is then the time in nanoseconds; "usage" tells what the process uses.
func runServer(ctx context.Context, o options, in io.Reader, out io.Writer) error {
	records := mem.New()
	ids, rev, err := fill(ctx, records, o)
	if err != nil {
		return err
	}
	mirror := &topology.Mirror{Store: records}
	ended := make(chan error, 2)
	go func() { ended <- mirror.Run(ctx) }()
	if _, err := mirror.Next(ctx, rev-1); err != nil {
		return err
	}
	k, err := newKeys()
	if err != nil {
		return err
	}
	config, err := k.server()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &stream.Server{Source: mirror, Store: "bench.1"}
	var streams atomic.Int64
	web := &http.Server{ReadHeaderTimeout: time.Minute, TLSConfig: config,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			streams.Add(1)
			defer streams.Add(-1)
			s.Watch(ctx, w, r, stream.Scope{})
		})}
	go func() { ended <- web.Serve(tls.NewListener(l, config)) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(hello{Address: l.Addr().String(), Rev: rev, Keys: k}); err != nil {
		return err
	}
	commands := bufio.NewScanner(in)
	for n := 0; commands.Scan(); n++ {
		switch commands.Text() {
		case "change":
			err = change(ctx, records, ids[n*7919%len(ids)])
		case "usage":
			var u usage
			if u, err = used(); err == nil {
				u.Streams = streams.Load()
				err = answers.Encode(u)
			}
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(commands.Err(), web.Close())
}

// fill writes the clusters and their members.
func fill(ctx context.Context, s store.Store, o options) (ids []topology.ClusterID, rev store.Revision, err error) {
	var ops []store.Op
	add := func(key string, value any) error {
		op, err := store.NewRecord(key, value).Put()
		if ops = append(ops, op); err == nil && len(ops) == store.MaxTxnOps {
			rev, err = s.Commit(ctx, store.Txn{Then: ops})
			ops = nil
		}
		return err
	}
	for i := range o.Clusters {
		id := topology.ClusterID(fmt.Sprintf("tenant%d.app%d", i%1000, i))
		ids = append(ids, id)
		if err := add(topology.ClusterKey(id), topology.Cluster{V: topology.Schema, ID: id, Service: "php", Max: 20}); err != nil {
			return nil, 0, err
		}
	}
	for i := range o.Members {
		m := member(ids[i%len(ids)], topology.MemberID(fmt.Sprintf("member%d", i/len(ids))))
		if err := add(topology.MemberKey(m.Cluster, m.ID), m); err != nil {
			return nil, 0, err
		}
	}
	if len(ops) > 0 {
		rev, err = s.Commit(ctx, store.Txn{Then: ops})
	}
	return ids, rev, err
}

func member(c topology.ClusterID, id topology.MemberID) topology.Member {
	release := topology.Release{Revision: strings.Repeat("a", 40), Archive: strings.Repeat("b", 64), Plan: strings.Repeat("c", 64)}
	return topology.Member{V: topology.Schema, ID: id, Cluster: c, State: topology.Active, Since: time.Now(), Created: time.Now(),
		Instance: "i-0123456789abcdef0", Account: "cloud", Partition: "zone-a", Address: "10.1.2.3", Ready: true, Assigned: &release,
		Serving: &topology.Runtime{Release: release, Ports: map[string]int{"http": 20000}}}
}

func change(ctx context.Context, s store.Store, c topology.ClusterID) error {
	m := member(c, "member0")
	m.Reason = strconv.FormatInt(time.Now().UnixNano(), 10)
	op, err := store.NewRecord(topology.MemberKey(c, m.ID), m).Put()
	if err == nil {
		_, err = s.Commit(ctx, store.Txn{Then: []store.Op{op}})
	}
	return err
}

func used() (u usage, err error) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.UsedBytes = m.HeapAlloc + m.StackInuse
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return u, err
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
		return u, err
	}
	u.ResidentBytes = pages * uint64(os.Getpagesize())
	return u, nil
}
