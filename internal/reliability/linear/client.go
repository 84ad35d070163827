package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/gostratos/stratos/store"
)

// keyCount is how many keys the clients fight for.
const keyCount = 4

// prefix is where they are.
const prefix = "linear/"

func keyName(i int) string { return fmt.Sprintf("%s%d", prefix, i) }

// client makes one operation after the other.
type client struct {
	id       int
	store    func(client int) Store
	recorder *recorder
	random   *rand.Rand
	known    [keyCount]Record // what it last saw of each key, or thinks of it
	made     int
}

func (c *client) work(ctx context.Context) error {
	for {
		call, enough := c.recorder.call()
		if enough {
			return nil
		}
		op := Operation{Client: c.id, Call: call}
		runtime.Gosched() // without it, clients of a store in memory take turns of thousands
		var effect bool
		var err error
		switch c.random.IntN(4) {
		case 0:
			effect, err = c.get(ctx, &op)
		case 1:
			effect, err = c.list(ctx, &op)
		default:
			effect, err = c.commit(ctx, &op)
		}
		if err != nil {
			return err
		}
		c.recorder.answer(op, effect)
	}
}

// passing reports whether an error is what a disturbed store may answer.
func passing(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !errors.Is(err, store.ErrInvalid) && !errors.Is(err, store.ErrTooLarge)
}

func (c *client) get(ctx context.Context, op *Operation) (effect bool, err error) {
	i := c.random.IntN(keyCount)
	op.Get = &i
	kv, rev, err := c.store(c.id).Get(ctx, keyName(i), store.ReadOptions{})
	switch {
	case errors.Is(err, store.ErrNotFound): // says nothing about the revision
		c.known[i] = Record{}
		return true, nil
	case err != nil && passing(ctx, err):
		return false, nil
	case err != nil:
		return false, err
	}
	c.known[i] = record(kv)
	op.Rev, op.Saw[i] = rev, c.known[i]
	return true, nil
}

func (c *client) list(ctx context.Context, op *Operation) (effect bool, err error) {
	page, err := c.store(c.id).List(ctx, prefix, store.ReadOptions{})
	switch {
	case err != nil && passing(ctx, err):
		return false, nil
	case err != nil:
		return false, err
	}
	op.List, op.Rev = true, page.Rev
	for _, kv := range page.KVs {
		var i int
		if _, err := fmt.Sscanf(kv.Key, prefix+"%d", &i); err != nil || i < 0 || i >= keyCount {
			return false, fmt.Errorf("a key that nobody wrote: %s", kv.Key)
		}
		op.Saw[i] = record(kv)
	}
	c.known = op.Saw
	return true, nil
}

func record(kv store.KV) Record {
	return Record{Value: string(kv.Value), Mod: kv.Mod, Create: kv.Create}
}

// commit makes a transaction: a compare-and-swap, a deletion, or several of them at once.
func (c *client) commit(ctx context.Context, op *Operation) (effect bool, err error) {
	rev, err := c.store(c.id).Commit(ctx, c.transaction(op))
	var conflict *store.ConflictError
	var unknown *store.UnknownError
	switch {
	case err == nil:
		op.Rev = rev
		c.applied(op)
	case errors.As(err, &unknown):
		op.Unknown = true
	case errors.As(err, &conflict):
		op.Conflict, op.Rev = true, conflict.Rev
		c.refused(op, conflict)
	case passing(ctx, err):
		return false, nil
	default:
		return false, err
	}
	return true, nil
}

// transaction draws one, and takes it down.
func (c *client) transaction(op *Operation) (x store.Txn) {
	c.made++
	for _, i := range c.random.Perm(keyCount)[:1+c.random.IntN(3)] {
		if c.random.IntN(4) > 0 {
			cond := Condition{Key: i, Rev: c.known[i].Mod}
			if c.random.IntN(3) == 0 {
				cond.Kind, cond.Rev = store.CondCreate, c.known[i].Create
			}
			op.If = append(op.If, cond)
			x.If = append(x.If, store.Cond{Key: keyName(i), Kind: cond.Kind, Rev: cond.Rev})
		}
		change := Change{Key: i, Value: fmt.Sprintf("%d.%d", c.id, c.made), Delete: c.random.IntN(4) == 0}
		if change.Delete {
			change.Value = ""
		}
		op.Then = append(op.Then, change)
		x.Then = append(x.Then, store.Op{Key: keyName(i), Value: []byte(change.Value), Delete: change.Delete})
	}
	return x
}

// applied remembers what a client may think after its transaction: others may
// have created a key meanwhile, and then a condition on it fails.
func (c *client) applied(op *Operation) {
	for _, ch := range op.Then {
		known := &c.known[ch.Key]
		switch {
		case ch.Delete:
			*known = Record{}
		case known.Create == 0:
			known.Create, known.Mod = op.Rev, op.Rev
		default:
			known.Mod = op.Rev
		}
	}
}

// refused remembers what the conflict told.
func (c *client) refused(op *Operation, conflict *store.ConflictError) {
	for i := range keyCount {
		if keyName(i) != conflict.Failed.Key {
			continue
		}
		op.Failed = Condition{Key: i, Kind: conflict.Failed.Kind, Rev: conflict.Failed.Rev}
		op.Now = conflict.Now
		switch {
		case conflict.Now == 0:
			c.known[i] = Record{}
		case conflict.Failed.Kind == store.CondCreate:
			c.known[i].Create = conflict.Now
		default:
			c.known[i].Mod = conflict.Now
		}
	}
}
