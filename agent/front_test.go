package agent

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/ca"
)

// bed is a front with a runtime that a test plays.
type bed struct {
	front   *front
	runtime net.Listener
	client  *tls.Config
}

func newBed(t *testing.T) *bed {
	a, err := ca.New("p", time.Now())
	require.NoError(t, err)
	key, err := ca.NewKey()
	require.NoError(t, err)
	csr, err := ca.Request(key)
	require.NoError(t, err)
	chain, err := a.Sign(csr, ca.Identity{Kind: ca.Member, Name: "m1"}, time.Now())
	require.NoError(t, err)
	id := &identity{roots: a.Pool(), keeper: &ca.Keeper{Key: key}, clock: &clock{}}
	require.NoError(t, id.keeper.Set(chain))
	f, err := (&fronts{address: "127.0.0.1", config: id.serverConfig(), log: slog.New(slog.DiscardHandler)}).open([]string{"http"})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		require.NoError(t, f.close())
	})
	f.point(map[string]int{"http": l.Addr().(*net.TCPAddr).Port})
	mine, err := a.Server(nil, ca.Identity{Kind: ca.Balancer, Name: "b1"}, time.Now())
	require.NoError(t, err)
	return &bed{front: f, runtime: l, client: &tls.Config{RootCAs: a.Pool(), ServerName: ca.MemberName("m1"), Certificates: []tls.Certificate{mine}}}
}

func (b *bed) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.front.numbers()["http"]))
}

// connect returns both ends of a connection through the front.
func (b *bed) connect(t *testing.T) (client *tls.Conn, runtime *net.TCPConn) {
	client, err := tls.Dial("tcp", b.address(), b.client)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	c, err := b.runtime.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	deadline := time.Now().Add(20 * time.Second)
	require.NoError(t, c.SetDeadline(deadline))
	require.NoError(t, client.SetDeadline(deadline))
	return client, c.(*net.TCPConn)
}

func TestFrontHalvesEndForThemselves(t *testing.T) {
	b := newBed(t)
	client, runtime := b.connect(t)
	_, err := io.WriteString(client, "question")
	require.NoError(t, err)
	require.NoError(t, client.CloseWrite())
	text, err := io.ReadAll(runtime)
	require.NoError(t, err)
	require.Equal(t, "question", string(text))
	_, err = io.WriteString(runtime, "answer")
	require.NoError(t, err)
	require.NoError(t, runtime.Close())
	text, err = io.ReadAll(client)
	require.NoError(t, err, "the end is told by TLS")
	require.Equal(t, "answer", string(text))
	require.Eventually(t, func() bool { return len(b.front.ports[0].room) == 1 }, 20*time.Second, time.Millisecond, "only the accepting one has room taken")
}

// An answer that breaks off must not look like one that ended.
func TestFrontTellsABreakFromAnEnd(t *testing.T) {
	b := newBed(t)
	client, runtime := b.connect(t)
	_, err := io.WriteString(runtime, "half an ans")
	require.NoError(t, err)
	_, err = io.ReadFull(client, make([]byte, 11))
	require.NoError(t, err)
	require.NoError(t, runtime.SetLinger(0)) // closed with a reset
	require.NoError(t, runtime.Close())
	_, err = io.ReadAll(client)
	require.Error(t, err)
}

// Much in both directions at once, to a side that does not read for a while.
func TestFrontCarriesMuch(t *testing.T) {
	b := newBed(t)
	client, runtime := b.connect(t)
	data := make([]byte, 8<<20)
	_, err := rand.Read(data)
	require.NoError(t, err)
	want := sha256.Sum256(data)
	written := make(chan error, 2)
	go func() { _, err := io.Copy(client, bytes.NewReader(data)); written <- err }()
	go func() { _, err := io.Copy(runtime, bytes.NewReader(data)); written <- err }()
	for _, from := range []io.Reader{runtime, client} {
		sum := sha256.New()
		_, err := io.CopyN(sum, from, int64(len(data)))
		require.NoError(t, err)
		require.Equal(t, want[:], sum.Sum(nil))
	}
	require.NoError(t, <-written)
	require.NoError(t, <-written)
}

func TestFrontOfNothing(t *testing.T) {
	b := newBed(t)
	b.front.point(nil)
	_, err := tls.Dial("tcp", b.address(), b.client)
	require.Error(t, err, "who connects must learn before it sends anything")
}

func TestFrontStopsAndCloses(t *testing.T) {
	b := newBed(t)
	client, runtime := b.connect(t)
	silent, err := net.Dial("tcp", b.address()) // never begins its handshake
	require.NoError(t, err)
	defer silent.Close()
	require.NoError(t, b.front.stop())
	_, err = net.Dial("tcp", b.address())
	require.Error(t, err)
	_, err = io.WriteString(client, "still")
	require.NoError(t, err)
	_, err = io.ReadFull(runtime, make([]byte, 5))
	require.NoError(t, err, "what was there goes on")
	require.NoError(t, b.front.close()) // returns although nobody has hung up
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err)
	_, err = runtime.Read(make([]byte, 1))
	require.Error(t, err)
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1": true, "127.1.2.3": true, "::1": true, "localhost": true, "": false, "10.0.0.1": false, "0.0.0.0": false} {
		require.Equal(t, want, loopback(address), address)
	}
}
