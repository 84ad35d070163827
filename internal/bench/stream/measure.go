package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/topology/stream"
)

// options say what is measured.
type options struct {
	Subscribers, Clusters, Members, Rounds int
	Pause                                  time.Duration
}

// result is what was seen.
type result struct {
	Delivered          int
	P50, P99, Max      time.Duration
	ResidentKB, UsedKB float64 // of the server, for each subscriber
	NextKB             float64 // resident, for each of the second half: what one more costs
	CPUMicros          float64
	BaseMB             float64
	Ready              time.Duration
}

// server is the serving process.
type server struct {
	in      io.WriteCloser
	answers *json.Decoder
	hello   hello
}

// measure starts a serving process and the subscribers in this one.
func measure(ctx context.Context, o options) (r result, err error) {
	began := time.Now()
	s, wait, err := start(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.in.Close(), wait()) }()
	r.Ready = time.Since(began)
	before, err := s.usage()
	if err != nil {
		return r, err
	}
	r.BaseMB = float64(before.ResidentBytes) / 1e6

	reading, cancel := context.WithCancel(ctx)
	g, reading := errgroup.WithContext(reading)
	defer func() {
		cancel()
		if gerr := g.Wait(); err == nil {
			err = gerr
		}
	}()
	config, err := s.hello.Keys.client()
	if err != nil {
		return r, err
	}
	times := make(chan time.Duration, 4*o.Subscribers)
	ready := make(chan struct{}, o.Subscribers)
	connecting := make(chan struct{}, 16) // at the same time
	join := func(n int) (usage, error) {
		for range n {
			g.Go(func() error { return subscribe(reading, s.hello, config, connecting, ready, times) })
		}
		for range n {
			select {
			case <-ready:
			case <-reading.Done():
				return usage{}, context.Cause(reading)
			}
		}
		return s.usage()
	}
	half, err := join(o.Subscribers / 2)
	if err != nil {
		return r, err
	}
	rest := o.Subscribers - o.Subscribers/2
	loaded, err := join(rest)
	if err != nil {
		return r, err
	}
	r.NextKB = (float64(loaded.ResidentBytes) - float64(half.ResidentBytes)) / 1024 / float64(rest)
	return r, s.rounds(reading, o, before, loaded, times, &r)
}

// rounds makes the changes, and waits until everybody knows each.
func (s *server) rounds(ctx context.Context, o options, before, loaded usage, times <-chan time.Duration, r *result) error {
	var all []time.Duration
	for range o.Rounds {
		if _, err := io.WriteString(s.in, "change\n"); err != nil {
			return err
		}
		for range o.Subscribers {
			select {
			case t := <-times:
				all = append(all, t)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		time.Sleep(o.Pause)
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	if after.Streams != int64(o.Subscribers) {
		return fmt.Errorf("%d streams are left of %d", after.Streams, o.Subscribers)
	}
	slices.Sort(all)
	n := float64(o.Subscribers)
	r.Delivered = len(all)
	r.P50, r.P99, r.Max = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	r.ResidentKB = (float64(after.ResidentBytes) - float64(before.ResidentBytes)) / 1024 / n
	r.UsedKB = (float64(after.UsedBytes) - float64(before.UsedBytes)) / 1024 / n
	r.CPUMicros = float64((after.CPU - loaded.CPU).Microseconds()) / float64(len(all))
	return nil
}

func start(ctx context.Context, o options) (s *server, wait func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve", "-clusters", strconv.Itoa(o.Clusters), "-members", strconv.Itoa(o.Members))
	cmd.Stderr = os.Stderr
	s = &server{}
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	s.answers = json.NewDecoder(out)
	if err := s.answers.Decode(&s.hello); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the serving process: %w", err), s.in.Close(), cmd.Wait())
	}
	return s, cmd.Wait, nil
}

func (s *server) usage() (u usage, err error) {
	if _, err := io.WriteString(s.in, "usage\n"); err != nil {
		return u, err
	}
	return u, s.answers.Decode(&u)
}

// subscribe reads one stream on a connection of its own, and tells how old each
// change is when it comes. It folds nothing: the client process is not what is
// measured.
func subscribe(ctx context.Context, h hello, config *tls.Config, connecting chan struct{}, ready chan<- struct{}, times chan<- time.Duration) error {
	connecting <- struct{}{}
	transport := &http.Transport{TLSClientConfig: config.Clone(), DisableCompression: true}
	defer transport.CloseIdleConnections()
	u := fmt.Sprintf("https://%s%s?after=%d&store=bench.1", h.Address, stream.WatchPath, h.Rev)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	lines := bufio.NewReader(resp.Body)
	first := true
	for {
		line, err := lines.ReadSlice('\n')
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if first { // the sync frame: it has joined
			<-connecting
			ready <- struct{}{}
			first = false
		}
		_, rest, ok := bytes.Cut(line, []byte(`"reason":"`))
		if !ok {
			continue
		}
		digits, _, _ := bytes.Cut(rest, []byte{'"'})
		at, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil {
			return err
		}
		times <- time.Since(time.Unix(0, at))
	}
}
