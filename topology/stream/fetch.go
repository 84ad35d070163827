package stream

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// maxFrame bounds one line of a stream.
const maxFrame = 256 << 20

// statusError is an answer that is no topology.
type statusError struct {
	code   int
	status string
}

func (e *statusError) Error() string {
	return "topology stream: the control plane answers " + e.status
}

// Is makes 410 an ErrGone.
func (e *statusError) Is(target error) bool {
	return target == ErrGone && e.code == http.StatusGone
}

// answer is what is left of an answer whose frames were taken.
type answer struct {
	status int
	etag   string
}

// get asks the control plane and hands each frame of the answer to take, until
// it ends, says nothing for too long, or take fails.
func (s *session) get(ctx context.Context, path string, header http.Header, take func(*frame) error) (a answer, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := cmp.Or(s.client.Silence, 45*time.Second)
	watchdog := time.AfterFunc(silence, func() { cancel(fmt.Errorf("silent for %v", silence)) })
	defer watchdog.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address(s.base, path), nil)
	if err != nil {
		return a, err
	}
	if header != nil {
		req.Header = header
	}
	client := s.client.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, errors.Join(err, context.Cause(ctx))
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	a = answer{status: resp.StatusCode, etag: resp.Header.Get("ETag")}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		return a, nil
	default:
		return a, &statusError{code: resp.StatusCode, status: resp.Status}
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4096), maxFrame)
	for lines.Scan() {
		watchdog.Reset(silence)
		f, err := parseFrame(lines.Bytes())
		if err == nil {
			err = take(&f)
		}
		if err != nil {
			return a, err
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return a, cause
	}
	return a, lines.Err()
}
