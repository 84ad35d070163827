package proxy

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBodyAgain(t *testing.T) {
	small, edge, large := strings.Repeat("s", 1000), strings.Repeat("e", maxReplay), strings.Repeat("l", maxReplay+1)
	broken := errors.New("broken")
	tests := []struct {
		name string
		from io.Reader
		keep bool
		read int64 // before it is sent again
		want string
		ok   bool
	}{
		{"nothing read", strings.NewReader(large), false, 0, large, true},
		{"a part kept", strings.NewReader(small), true, 500, small, true},
		{"all kept", strings.NewReader(small), true, 2000, small, true},
		{"as much as is kept", strings.NewReader(edge), true, maxReplay, edge, true},
		{"more than is kept", strings.NewReader(large), true, maxReplay + 1, "", false},
		{"not kept", strings.NewReader(small), false, 1, "", false},
		{"found empty, not kept", strings.NewReader(""), false, 1, "", false},
		{"broken by the client", io.MultiReader(strings.NewReader(small), iotest.ErrReader(broken)), true, 2000, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := &body{from: test.from, keep: test.keep}
			first := &sent{body: b}
			_, err := io.CopyN(io.Discard, first, test.read)
			if err != nil && !errors.Is(err, broken) {
				require.ErrorIs(t, err, io.EOF)
			}
			require.NoError(t, first.Close())
			_, err = first.Read(make([]byte, 1))
			require.ErrorIs(t, err, errBodyOver)
			require.Equal(t, test.ok, b.again())
			if test.ok {
				got, err := io.ReadAll(iotest.OneByteReader(&sent{body: b}))
				require.NoError(t, err)
				require.Equal(t, test.want, string(got))
			}
		})
	}
}

func TestABodyThatIsBeingReadIsNotSentAgain(t *testing.T) {
	out, in := io.Pipe()
	b := &body{from: out, keep: true}
	done := make(chan error)
	go func() {
		_, err := io.ReadAll(&sent{body: b})
		done <- err
	}()
	_, err := io.WriteString(in, "x") // the reader comes back for more
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !b.again() }, 30*time.Second, time.Millisecond)
	require.NoError(t, in.Close())
	require.NoError(t, <-done)
	require.True(t, b.again())
}

func TestClosedByPeer(t *testing.T) {
	tests := []struct {
		name string
		do   func(peer *net.TCPConn) error
		want bool
	}{
		{"idle", func(*net.TCPConn) error { return nil }, false},
		{"closed", func(peer *net.TCPConn) error { return peer.Close() }, true},
		{"half closed", func(peer *net.TCPConn) error { return peer.CloseWrite() }, true},
		{"reset", func(peer *net.TCPConn) error { return errors.Join(peer.SetLinger(0), peer.Close()) }, true},
		{"sent what nobody asked for", func(peer *net.TCPConn) error { _, err := io.WriteString(peer, "408"); return err }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			inner, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			defer inner.Close()
			peer, err := l.Accept()
			require.NoError(t, err)
			defer peer.Close()

			require.False(t, closedByPeer(inner))
			require.NoError(t, test.do(peer.(*net.TCPConn)))
			if test.want {
				require.Eventually(t, func() bool { return closedByPeer(inner) }, 30*time.Second, time.Millisecond)
			}
			c := &conn{Conn: inner, below: inner}
			c.look.Store(true)
			_, err = c.Write([]byte("hello"))
			if test.want {
				require.ErrorIs(t, err, errStale)
				require.Zero(t, c.wrote.Load(), "nothing of the request left")
			} else {
				require.NoError(t, err)
				require.EqualValues(t, 5, c.wrote.Load())
			}
		})
	}
}
