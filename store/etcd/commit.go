package etcd

import (
	"context"
	"errors"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/store"
)

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, t store.Txn) (store.Revision, error) {
	if err := t.Validate(); err != nil {
		return 0, err
	}
	ops := s.ops(t.Then)
	if len(ops) == 0 {
		// etcd takes a transaction without any operation for a read that need not be linearizable.
		ops = []clientv3.Op{clientv3.OpGet(s.idKey, clientv3.WithCountOnly())}
	}
	resp, err := s.submit(ctx, s.compare(t.If), ops, s.look(t.If))
	if err != nil {
		return 0, err
	}
	rev := s.see(resp.Header.Revision)
	if resp.Succeeded {
		return rev, nil
	}
	found := make(map[string]store.KV, len(t.If))
	for i, c := range t.If {
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			found[c.Key] = s.kv(kvs[0])
		}
	}
	err = t.Check(rev, func(key string) (store.KV, error) { return found[key], nil })
	if err == nil {
		err = errors.New("etcd refused a transaction whose conditions hold")
	}
	return 0, err
}

// compare translates conditions. An absent key has the revision 0 in etcd too.
func (s *Store) compare(conds []store.Cond) []clientv3.Cmp {
	cmps := make([]clientv3.Cmp, len(conds))
	for i, c := range conds {
		what := clientv3.ModRevision(s.key(c.Key))
		if c.Kind == store.CondCreate {
			what = clientv3.CreateRevision(s.key(c.Key))
		}
		cmps[i] = clientv3.Compare(what, "=", int64(c.Rev))
	}
	return cmps
}

// look reads what the conditions were compared with, in the same transaction.
func (s *Store) look(conds []store.Cond) []clientv3.Op {
	ops := make([]clientv3.Op, len(conds))
	for i, c := range conds {
		ops[i] = clientv3.OpGet(s.key(c.Key), clientv3.WithKeysOnly())
	}
	return ops
}

func (s *Store) ops(then []store.Op) []clientv3.Op {
	ops := make([]clientv3.Op, len(then))
	for i, op := range then {
		switch {
		case op.Delete:
			ops[i] = clientv3.OpDelete(s.key(op.Key))
		default:
			ops[i] = clientv3.OpPut(s.key(op.Key), string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease)))
		}
	}
	return ops
}

// submit makes a transaction at most once, and says so if its outcome is
// unknown: it is sent again only if it was refused for an old token.
func (s *Store) submit(ctx context.Context, cmps []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	call, cancel, err := s.begin(ctx, commitTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	var sent atomic.Bool
	submit := func() (*clientv3.TxnResponse, error) {
		return s.client.Txn(noting(call, &sent)).If(cmps...).Then(then...).Else(otherwise...).Commit()
	}
	resp, err := submit()
	if err != nil && s.oldToken(err) {
		sent.Store(false)
		resp, err = submit()
	}
	if err == nil {
		return resp, nil
	}
	told := s.explain(ctx, "commit", err)
	if sent.Load() && !refused(err) {
		return nil, &store.UnknownError{Err: told}
	}
	return nil, told
}

// see notes the revision of an answer, and returns it.
func (s *Store) see(rev int64) store.Revision {
	for {
		seen := s.seen.Load()
		if rev <= seen || s.seen.CompareAndSwap(seen, rev) {
			return store.Revision(rev)
		}
	}
}

// kv translates a record.
func (s *Store) kv(kv *mvccpb.KeyValue) store.KV {
	return store.KV{
		Key: string(kv.Key[len(s.records):]), Value: kv.Value, Lease: store.LeaseID(kv.Lease),
		Create: store.Revision(kv.CreateRevision), Mod: store.Revision(kv.ModRevision),
	}
}
