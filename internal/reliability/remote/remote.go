// Package remote lets the clients of one process use a store that another
// process has open, so that the process with the store can be killed.
package remote

import (
	"context"
	"errors"
	"net"
	"net/rpc"

	"github.com/gostratos/stratos/store"
)

// Answer is a result and its error, of which gob carries no type. It is
// exported, as [Read] is, because net/rpc asks for that.
type Answer struct {
	KV   store.KV
	Page store.Page
	Rev  store.Revision

	Conflict *store.ConflictError
	NotFound bool
	Unknown  bool
	Err      string
}

// Read says what is asked for: a key, or a prefix.
type Read struct{ Key string }

// service is what is called.
type service struct{ store store.Store }

// Get reads a record.
func (s *service) Get(q Read, a *Answer) (err error) {
	a.KV, a.Rev, err = s.store.Get(context.Background(), q.Key, store.ReadOptions{})
	a.fail(err)
	return nil
}

// List reads records.
func (s *service) List(q Read, a *Answer) (err error) {
	a.Page, err = s.store.List(context.Background(), q.Key, store.ReadOptions{})
	a.fail(err)
	return nil
}

// Commit makes a transaction.
func (s *service) Commit(t store.Txn, a *Answer) (err error) {
	a.Rev, err = s.store.Commit(context.Background(), t)
	a.fail(err)
	return nil
}

// fail takes an error down.
func (a *Answer) fail(err error) {
	var unknown *store.UnknownError
	switch {
	case err == nil, errors.As(err, &a.Conflict):
	case errors.Is(err, store.ErrNotFound):
		a.NotFound = true
	case errors.As(err, &unknown):
		a.Unknown = true
	default:
		a.Err = err.Error()
	}
}

// err is the error that was taken down.
func (a *Answer) err() error {
	switch {
	case a.Conflict != nil:
		return a.Conflict
	case a.NotFound:
		return store.ErrNotFound
	case a.Unknown:
		return &store.UnknownError{Err: errors.New("so the process with the store says")}
	case a.Err != "":
		return errors.New(a.Err)
	}
	return nil
}

// Serve answers the callers that l accepts, until l fails.
func Serve(l net.Listener, s store.Store) error {
	server := rpc.NewServer()
	if err := server.RegisterName("Store", &service{store: s}); err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go server.ServeConn(c) // ends with the process, which is going to be killed
	}
}

// Store is a store in another process. Its methods ignore the options of
// reads, and their ctx: a call ends when the other process does.
type Store struct{ client *rpc.Client }

// Dial connects to the process that serves on a socket's path.
func Dial(path string) (*Store, error) {
	c, err := rpc.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	return &Store{client: c}, nil
}

// Close ends the connection.
func (s *Store) Close() error { return s.client.Close() }

// Get is that of [store.Store].
func (s *Store) Get(_ context.Context, key string, _ store.ReadOptions) (store.KV, store.Revision, error) {
	var a Answer
	if err := s.client.Call("Store.Get", Read{key}, &a); err != nil {
		return store.KV{}, 0, err
	}
	return a.KV, a.Rev, a.err()
}

// List is that of [store.Store].
func (s *Store) List(_ context.Context, prefix string, _ store.ReadOptions) (store.Page, error) {
	var a Answer
	if err := s.client.Call("Store.List", Read{prefix}, &a); err != nil {
		return store.Page{}, err
	}
	return a.Page, a.err()
}

// Commit is that of [store.Store]. If the connection breaks, the outcome is unknown.
func (s *Store) Commit(_ context.Context, t store.Txn) (store.Revision, error) {
	var a Answer
	err := s.client.Call("Store.Commit", t, &a)
	switch {
	case errors.Is(err, rpc.ErrShutdown): // it was not sent
		return 0, err
	case err != nil:
		return 0, &store.UnknownError{Err: err}
	}
	return a.Rev, a.err()
}
