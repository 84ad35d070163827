package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/ledger"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

// printer takes a number of lines, and then fails.
type printer struct {
	bytes.Buffer
	left int
}

var errEnough = errors.New("enough")

func (p *printer) Write(b []byte) (int, error) {
	if p.left == 0 {
		return 0, errEnough
	}
	p.left--
	return p.Buffer.Write(b)
}

func write(t *testing.T, s store.Store, lines int) (string, *ledger.Ledger) {
	t.Helper()
	p := &printer{left: lines}
	require.ErrorIs(t, ledger.Write(t.Context(), s, p, "run", 1), errEnough)
	l := new(ledger.Ledger)
	n, err := l.Read(strings.NewReader(p.String()))
	require.NoError(t, err)
	require.Equal(t, lines, n)
	return p.String(), l
}

func alter(t *testing.T, s store.Store, op store.Op) {
	t.Helper()
	_, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{op}})
	require.NoError(t, err)
}

func TestLedgerSees(t *testing.T) {
	for _, test := range []struct {
		name   string
		breaks func(*testing.T, store.Store)
		want   ledger.Account
	}{
		{"nothing", func(*testing.T, store.Store) {}, ledger.Account{Acknowledged: 50}},
		{"half of one", func(t *testing.T, s store.Store) { alter(t, s, store.Op{Key: "left/run/0/0", Delete: true}) },
			ledger.Account{Acknowledged: 50, Lost: 1, Torn: 1}},
		{"the other half", func(t *testing.T, s store.Store) { alter(t, s, store.Op{Key: "right/run/0/0", Delete: true}) },
			ledger.Account{Acknowledged: 50, Lost: 1, Torn: 1}},
		{"another content", func(t *testing.T, s store.Store) { alter(t, s, store.Op{Key: "right/run/0/0", Value: []byte("x")}) },
			ledger.Account{Acknowledged: 50, Lost: 1, Torn: 1}},
		{"both gone", func(t *testing.T, s store.Store) {
			alter(t, s, store.Op{Key: "left/run/0/0", Delete: true})
			alter(t, s, store.Op{Key: "right/run/0/0", Delete: true})
		}, ledger.Account{Acknowledged: 50, Lost: 1}},
		{"half of one that nobody was told of", func(t *testing.T, s store.Store) { alter(t, s, store.Op{Key: "right/other/0/0"}) },
			ledger.Account{Acknowledged: 50, Torn: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := mem.New()
			defer s.Close()
			_, l := write(t, s, 50)
			test.breaks(t, s)
			a, err := l.Check(t.Context(), s)
			require.NoError(t, err)
			require.Equal(t, test.want, a)
			a, err = l.Check(t.Context(), s)
			require.NoError(t, err)
			require.Zero(t, a.Lost, "reported once")
		})
	}
}

// busy commits a transaction after each List: one of a writer that gave up,
// and that the store finished all the same.
type busy struct {
	store.Store
	n int
}

func (b *busy) List(ctx context.Context, prefix string, o store.ReadOptions) (store.Page, error) {
	page, err := b.Store.List(ctx, prefix, o)
	if err != nil {
		return page, err
	}
	b.n++
	_, err = b.Commit(ctx, store.Txn{Then: []store.Op{{Key: fmt.Sprint("left/late/", b.n)}, {Key: fmt.Sprint("right/late/", b.n)}}})
	return page, err
}

func TestCheckSeesOneMoment(t *testing.T) {
	s := mem.New()
	defer s.Close()
	_, l := write(t, s, 5)
	a, err := l.Check(t.Context(), &busy{Store: s})
	require.NoError(t, err)
	require.Equal(t, ledger.Account{Acknowledged: 5}, a)
}

func TestHalfALineWasNeverSaid(t *testing.T) {
	s := mem.New()
	defer s.Close()
	text, _ := write(t, s, 5)
	l := new(ledger.Ledger)
	n, err := l.Read(strings.NewReader(text[:len(text)-2]))
	require.NoError(t, err)
	require.Equal(t, 4, n)
	_, err = l.Read(strings.NewReader(text))
	require.ErrorContains(t, err, "twice")
	_, err = l.Read(strings.NewReader("nonsense ."))
	require.ErrorContains(t, err, "nonsense")
	require.Equal(t, 4, l.Forget())
}

func TestWriteEndsWithItsContext(t *testing.T) {
	s := mem.New()
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, ledger.Write(ctx, s, new(bytes.Buffer), "run", 2), context.Canceled)
}
