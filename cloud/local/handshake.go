package local

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// handshake is the one line that an agent says on file descriptor 3 once it
// knows whether it will run.
type handshake string

const (
	ready  handshake = "ready" // it holds the lock and wrote pid.json
	held   handshake = "held"  // another agent does
	failed           = "failed: "
)

// maxHandshake bounds the line, in bytes.
const maxHandshake = 4096

// say writes the line. Nobody may listen any more: the agent goes on all the same.
func (h handshake) say(w io.Writer) {
	line := strings.ReplaceAll(string(h), "\n", " ")
	_, _ = io.WriteString(w, line[:min(len(line), maxHandshake-1)]+"\n")
}

func (h handshake) err() error {
	if h == ready || h == held {
		return nil
	}
	if reason, ok := strings.CutPrefix(string(h), failed); ok {
		return fmt.Errorf("the agent refuses: %s", reason)
	}
	return fmt.Errorf("the agent said %q: does the program print before local.Main()?", h)
}

// hear reads the line, until the timeout or the end of ctx.
func hear(ctx context.Context, r *os.File, timeout time.Duration) (handshake, error) {
	if err := r.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// Up to the end of the line, not of the file: what the program may have
	// started before local.Main() keeps that open.
	b, err := bufio.NewReaderSize(r, maxHandshake).ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return handshake(b[:len(b)-1]), nil
}
