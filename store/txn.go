package store

import "fmt"

// Validate says whether t keeps the portable limits and is well formed:
// [ErrTooLarge] or [ErrInvalid]. Every engine calls it first.
func (t Txn) Validate() error {
	if n := len(t.Then); n > MaxTxnOps {
		return fmt.Errorf("%w: a transaction of %d operations, limit %d", ErrTooLarge, n, MaxTxnOps)
	}
	if n := len(t.If); n > MaxTxnOps {
		return fmt.Errorf("%w: a transaction of %d conditions, limit %d", ErrTooLarge, n, MaxTxnOps)
	}
	for _, c := range t.If {
		if err := c.validate(); err != nil {
			return err
		}
	}
	size := 0
	seen := make(map[string]struct{}, len(t.Then))
	for _, op := range t.Then {
		if err := op.validate(); err != nil {
			return err
		}
		if _, twice := seen[op.Key]; twice {
			return fmt.Errorf("%w: %s stands twice in one transaction", ErrInvalid, op.Key)
		}
		seen[op.Key] = struct{}{}
		size += len(op.Key) + len(op.Value)
	}
	if size > MaxTxnBytes {
		return fmt.Errorf("%w: a transaction of %d bytes, limit %d", ErrTooLarge, size, MaxTxnBytes)
	}
	return nil
}

func (c Cond) validate() error {
	if c.Kind != CondMod && c.Kind != CondCreate {
		return fmt.Errorf("%w: condition on %s has the unknown kind %d", ErrInvalid, c.Key, c.Kind)
	}
	if c.Rev < 0 {
		return fmt.Errorf("%w: condition on %s has revision %d", ErrInvalid, c.Key, c.Rev)
	}
	return validateKey(c.Key)
}

func (o Op) validate() error {
	if len(o.Value) > MaxValueBytes {
		return fmt.Errorf("%w: a value of %d bytes at %s, limit %d", ErrTooLarge, len(o.Value), o.Key, MaxValueBytes)
	}
	return validateKey(o.Key)
}

func validateKey(key string) error {
	switch n := len(key); {
	case n == 0:
		return fmt.Errorf("%w: the key is empty", ErrInvalid)
	case n > MaxKeyBytes:
		return fmt.Errorf("%w: a key of %d bytes, limit %d", ErrTooLarge, n, MaxKeyBytes)
	}
	return nil
}

// Holds reports whether c holds for now, and the revision it was compared with.
// The zero KV stands for an absent key.
func (c Cond) Holds(now KV) (Revision, bool) {
	found := now.Mod
	if c.Kind == CondCreate {
		found = now.Create
	}
	return found, found == c.Rev
}

// guards reports whether c is a leader's guard.
func (c Cond) guards() bool {
	return c.Kind == CondCreate && len(c.Key) > len(LeaderPrefix) && c.Key[:len(LeaderPrefix)] == LeaderPrefix
}

// Check compares the conditions of t with the records at rev, that look finds;
// an absent key is the zero KV. It returns nil, a *FencedError if a leader's
// guard does not hold, even when other conditions do not either, or a
// *ConflictError for the first condition that does not hold. A condition is a
// leader's guard if it is a [CondCreate] on a key below [LeaderPrefix].
func (t Txn) Check(rev Revision, look func(key string) (KV, error)) error {
	var conflict *ConflictError
	for _, c := range t.If {
		kv, err := look(c.Key)
		if err != nil {
			return err
		}
		found, ok := c.Holds(kv)
		switch {
		case ok:
		case c.guards():
			return &FencedError{Key: c.Key}
		case conflict == nil:
			conflict = &ConflictError{Failed: c, Now: found, Rev: rev}
		}
	}
	if conflict != nil {
		return conflict
	}
	return nil
}

// Validate says whether o is well formed for a store at current: [ErrInvalid] if not.
func (o ReadOptions) Validate(current Revision) error {
	switch {
	case o.Limit < 0:
		return fmt.Errorf("%w: limit %d", ErrInvalid, o.Limit)
	case o.After != "" && o.At == 0:
		return fmt.Errorf("%w: After needs At, the revision of the first page", ErrInvalid)
	case o.At < 0 || o.At > current:
		return fmt.Errorf("%w: read at revision %d, the store is at %d", ErrInvalid, o.At, current)
	}
	return nil
}
