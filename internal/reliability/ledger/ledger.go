// Package ledger tells whether a store kept what it acknowledged.
//
// A process that is going to be killed calls [Write]: it commits transactions
// of two keys and prints each acknowledgement. Its parent keeps a [Ledger] of
// what it read, and compares it with the store when that is open again.
package ledger

import (
	"bufio"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

// The two keys of a transaction.
const (
	left  = "left/"
	right = "right/"
)

// maxValue is the size of the largest value, in bytes: some fill a page of the disk.
const maxValue = 3000

// Write commits transactions with several writers, and prints a line on w for
// each that was acknowledged, until ctx ends or the store or w fails. Run
// distinguishes its keys from those of other calls.
func Write(ctx context.Context, s store.Store, w io.Writer, run string, writers int) error {
	var out sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for i := range writers {
		g.Go(func() error {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%s/%d/%d", run, i, n)
				rev, err := s.Commit(ctx, transaction(id))
				if err != nil {
					return fmt.Errorf("transaction %s: %w", id, err)
				}
				out.Lock()
				_, err = fmt.Fprintf(w, "%s %d .\n", id, rev)
				out.Unlock()
				if err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

func transaction(id string) store.Txn {
	return store.Txn{Then: []store.Op{
		{Key: left + id, Value: []byte(content(id))},
		{Key: right + id, Value: []byte(content(id))},
	}}
}

// content is what both keys of a transaction hold: its size depends on the id.
func content(id string) string {
	h := fnv.New32a()
	_, _ = io.WriteString(h, id) // never fails
	return strings.Repeat(id+" ", 1+int(h.Sum32())%(maxValue/(len(id)+1)))
}

// Ledger holds what was acknowledged. The zero Ledger is empty; it is for one
// goroutine at a time.
type Ledger struct {
	acked map[string]store.Revision
}

// Account is what a store kept of a ledger.
type Account struct {
	Acknowledged int // transactions in the ledger
	Lost         int // acknowledged, and not there as a whole, with its content, at its revision
	Torn         int // one key is there and the other is not, or they differ
}

// Read adds the lines of [Write], up to the end of r, and returns how many
// there were. A last line that is not whole was never said.
func (l *Ledger) Read(r io.Reader) (int, error) {
	if l.acked == nil {
		l.acked = make(map[string]store.Revision)
	}
	n := 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text, whole := strings.CutSuffix(lines.Text(), " .")
		if !whole {
			continue
		}
		var id string
		var rev store.Revision
		if _, err := fmt.Sscanf(text, "%s %d", &id, &rev); err != nil {
			return n, fmt.Errorf("line %q: %w", text, err)
		}
		if _, twice := l.acked[id]; twice {
			return n, fmt.Errorf("transaction %s was acknowledged twice: give each run another name", id)
		}
		l.acked[id] = rev
		n++
	}
	return n, lines.Err()
}

// Check compares the ledger with the store as it is at one revision: a
// transaction whose writer gave up may still arrive meanwhile. What is lost is
// reported once, and then struck from the ledger.
func (l *Ledger) Check(ctx context.Context, s store.Store) (Account, error) {
	a := Account{Acknowledged: len(l.acked)}
	lefts, rev, err := records(ctx, s, left, 0)
	if err != nil {
		return a, err
	}
	rights, _, err := records(ctx, s, right, rev)
	if err != nil {
		return a, err
	}
	for id, rev := range l.acked {
		kept := func(kv store.KV) bool { return kv.Mod == rev && string(kv.Value) == content(id) }
		if !kept(lefts[id]) || !kept(rights[id]) {
			a.Lost++
			delete(l.acked, id)
		}
	}
	for id, kv := range lefts {
		if other := rights[id]; kv.Mod != other.Mod || string(kv.Value) != string(other.Value) {
			a.Torn++
		}
		delete(rights, id)
	}
	a.Torn += len(rights)
	return a, nil
}

// Forget empties the ledger, and returns how many transactions were in it.
func (l *Ledger) Forget() int {
	n := len(l.acked)
	clear(l.acked)
	return n
}

// records returns what there is under a prefix at a revision (0: now), by what
// follows the prefix, and the revision.
func records(ctx context.Context, s store.Store, prefix string, at store.Revision) (map[string]store.KV, store.Revision, error) {
	page, err := s.List(ctx, prefix, store.ReadOptions{At: at})
	if err != nil {
		return nil, 0, err
	}
	all := make(map[string]store.KV, len(page.KVs))
	for _, kv := range page.KVs {
		all[strings.TrimPrefix(kv.Key, prefix)] = kv
	}
	return all, page.Rev, nil
}
