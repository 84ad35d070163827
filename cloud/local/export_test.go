package local

import (
	"context"
	"io"
	"os"
	"time"
)

// For tests of what agents do at their worst.
var MainOf = mainOf

const (
	InstanceEnv = instanceEnv
	AgentArg    = agentArg
)

// Marked is [marked].
func Marked(environ, dir string) bool { return marked([]byte(environ), folder(dir)) }

// StartedFor is [startedFor].
func StartedFor(args []string, env string) (string, bool) {
	f, ok := startedFor(args, env)
	return string(f), ok
}

// TryLock and Locked are the folder's lock.
var (
	TryLock   = tryLock
	Locked    = locked
	ErrLocked = errLocked
)

// ValidName is [validName].
func ValidName(name string) bool { return validName(name) }

// Hear and Say are the two sides of the handshake.
func Hear(ctx context.Context, r *os.File, timeout time.Duration) (string, error) {
	h, err := hear(ctx, r, timeout)
	return string(h), err
}

func Say(w io.Writer, line string) { handshake(line).say(w) }
