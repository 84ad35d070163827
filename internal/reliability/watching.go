package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gostratos/stratos/internal/reliability/watch"
	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/store/etcd"
	"github.com/gostratos/stratos/store/mem"
)

// watching is row 4.
func watching(ctx context.Context, b *bench, f *figures) error {
	dir, err := b.folder("watch")
	if err != nil {
		return err
	}
	for _, engine := range []struct {
		name string
		open func() (store.Store, func() error, error)
	}{
		{"mem", func() (store.Store, func() error, error) { return mem.New(), nothing, nil }},
		{"bolt", func() (store.Store, func() error, error) {
			s, err := bolt.Open(storeFile(dir), nil)
			return s, nothing, err
		}},
		{"etcd", func() (store.Store, func() error, error) { return openEtcd(ctx) }},
	} {
		if err := b.watchOne(ctx, engine.name, engine.open, f); err != nil {
			return fmt.Errorf("%s: %w", engine.name, err)
		}
	}
	return nil
}

func nothing() error { return nil }

// openEtcd runs one server, and returns what ends it.
func openEtcd(ctx context.Context) (store.Store, func() error, error) {
	c, err := etcdserver.Start(ctx, etcdserver.Options{})
	if err != nil {
		return nil, nil, err
	}
	s, err := etcd.Open(ctx, etcd.Config{Endpoints: c.Endpoints()})
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return s, c.Close, nil
}

func (b *bench) watchOne(ctx context.Context, name string, open func() (store.Store, func() error, error), f *figures) error {
	s, end, err := open()
	if err != nil {
		return err
	}
	r, err := watch.Run(ctx, watch.Options{Store: s, Events: b.of(100_000, 1_000_000), Seed: b.seed})
	if err = errors.Join(err, s.Close(), end()); err != nil {
		return err
	}
	breaches := r.Gaps + r.Duplicates + r.Reorders + r.Splits + r.Wrong + r.Lost
	f.add(breaches == 0 && r.Reconnects > 0 && r.Relists > 0,
		"%s: %d events in %d transactions, seen %d times, %d reconnects, %d after compaction: %d gaps, %d duplicates, %d reorders, %d splits, %d wrong",
		name, r.Events, r.Transactions, r.Seen, r.Reconnects, r.Relists, r.Gaps, r.Duplicates, r.Reorders, r.Splits, r.Wrong+r.Lost)
	b.logf("%s: %+v", name, r)
	return nil
}
