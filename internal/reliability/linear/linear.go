// Package linear checks that a store is linearizable: that each operation of
// concurrent clients seems to happen at one moment between its call and its
// answer, also while the store's processes are killed, stopped or closed.
//
// The judge is porcupine; the model is a map of a few keys with revisions.
package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

// Defaults.
const (
	defaultClients    = 6
	defaultOperations = 5000
)

// Store is what is judged of a [store.Store].
type Store interface {
	Get(ctx context.Context, key string, o store.ReadOptions) (store.KV, store.Revision, error)
	List(ctx context.Context, prefix string, o store.ReadOptions) (store.Page, error)
	Commit(ctx context.Context, t store.Txn) (store.Revision, error)
}

// Options are optional but for Store.
type Options struct {
	// Store returns the handle that a client uses for its next operation. It
	// must answer also while the nemesis is at work, with a store that may fail.
	Store func(client int) Store
	// Nemesis, if set, disturbs the store until its ctx ends, which it does
	// when the clients are done; it leaves the store usable.
	Nemesis func(ctx context.Context) error
	// Clients is how many work at the same time. Default: 6.
	Clients int
	// Operations is how many there are in all, those that failed without a
	// trace not counted. Default: 5 000.
	Operations int
	Seed       uint64
	// Dir is where the history is saved if it is not linearizable. Default: that for temporary files.
	Dir string
}

// Result is the judgement.
type Result struct {
	Operations   int // with a known or an unknown outcome
	Unknown      int // of them
	Failed       int // surely without an effect; no part of the history
	Linearizable bool
}

// Run lets clients work, and judges what they saw. A history that is not
// linearizable is an error that names the file it was saved to.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Clients == 0 {
		o.Clients = defaultClients
	}
	if o.Operations == 0 {
		o.Operations = defaultOperations
	}
	r := &recorder{want: o.Operations}
	nctx, stop := context.WithCancel(ctx)
	defer stop()
	var nemesis errgroup.Group
	if o.Nemesis != nil {
		nemesis.Go(func() error { return o.Nemesis(nctx) })
	}
	clients, cctx := errgroup.WithContext(ctx)
	for i := range o.Clients {
		c := &client{id: i, store: o.Store, recorder: r, random: rand.New(rand.NewPCG(o.Seed, uint64(i)))}
		clients.Go(func() error { return c.work(cctx) })
	}
	err := clients.Wait()
	stop()
	if err = errors.Join(err, nemesis.Wait()); err != nil {
		return Result{}, fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	res := Judge(r.history)
	res.Failed = r.failed
	if res.Linearizable {
		return res, nil
	}
	file, err := Save(o.Dir, r.history)
	return res, errors.Join(fmt.Errorf("seed %d: the history is not linearizable: see %s", o.Seed, file), err)
}

// Save writes a history to a new file in dir, a line of JSON for each operation.
func Save(dir string, history []Operation) (string, error) {
	f, err := os.CreateTemp(dir, "history-*.json")
	if err != nil {
		return "", err
	}
	enc := json.NewEncoder(f)
	for _, op := range history {
		if err := enc.Encode(op); err != nil {
			return f.Name(), errors.Join(err, f.Close())
		}
	}
	return f.Name(), f.Close()
}

// recorder is the history of all clients. Its clock counts calls and answers.
type recorder struct {
	want int

	mu      sync.Mutex
	clock   int64
	failed  int
	history []Operation
}

func (r *recorder) call() (now int64, enough bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	return r.clock, len(r.history) >= r.want
}

// answer takes an operation down, unless it surely had no effect.
func (r *recorder) answer(op Operation, effect bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	op.Return = r.clock
	if !effect {
		r.failed++
		return
	}
	r.history = append(r.history, op)
}
