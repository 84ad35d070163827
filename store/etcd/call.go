package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gostratos/stratos/store"
)

const (
	callTimeout    = 10 * time.Second // for a caller that would wait for ever
	attemptTimeout = 2 * time.Second  // then another server is asked
	attemptPause   = 50 * time.Millisecond
	// commitTimeout is longer than an election. A proposal that was lost with
	// etcd's leader is given up: a server would wait for it for 7 s.
	commitTimeout = 5 * time.Second
)

// begin returns the context of a call to etcd.
func (s *Store) begin(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc, error) {
	if s.ctx.Err() != nil {
		return nil, nil, store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	call, cancel := context.WithTimeout(ctx, timeout)
	stop := context.AfterFunc(s.ctx, cancel)
	return call, func() { stop(); cancel() }, nil
}

// again makes a call that may be made twice, until it succeeds, fails for
// good, or time is up. The calls go to one server after the other.
func (s *Store) again(ctx context.Context, doing string, f func(ctx context.Context) error) error {
	call, cancel, err := s.begin(ctx, callTimeout)
	if err != nil {
		return err
	}
	defer cancel()
	for {
		attempt, cancel := context.WithTimeout(call, attemptTimeout)
		err := f(attempt)
		late := attempt.Err() != nil
		cancel()
		if err == nil {
			return nil
		}
		if call.Err() != nil || !late && !s.passes(err) {
			return s.explain(ctx, doing, err)
		}
		select {
		case <-time.After(attemptPause):
		case <-call.Done():
			return s.explain(ctx, doing, err)
		}
	}
}

// read makes one read.
func (s *Store) read(ctx context.Context, doing string, op clientv3.Op) (*clientv3.GetResponse, error) {
	var resp clientv3.OpResponse
	err := s.again(ctx, "read "+doing, func(ctx context.Context) (err error) {
		resp, err = s.client.Do(ctx, op)
		return err
	})
	return resp.Get(), err
}

// passes reports whether err is of a kind that goes away by itself.
func (s *Store) passes(err error) bool {
	switch code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return s.oldToken(err) || isAny(err, rpctypes.ErrTooManyRequests)
}

// oldToken reports whether a call was refused for a token that the client has
// renewed by now.
func (s *Store) oldToken(err error) bool {
	return s.signed && isAny(err, rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrUserEmpty)
}

// code returns the code of an error of etcd, or of gRPC.
func code(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(rpctypes.Error(err), &e) {
		return e.Code()
	}
	return status.Code(err)
}

func isAny(err error, some ...error) bool {
	known := rpctypes.Error(err)
	for _, one := range some {
		if errors.Is(err, one) || errors.Is(known, one) {
			return true
		}
	}
	return false
}

// refused reports whether err says that a transaction was not applied. That
// there is no space does not: a server that finds its quota used up only when
// it applies a transaction applies it, and gives this error (quotaApplierV3 in
// etcd's etcdserver/apply, v3.5 to v3.7).
func refused(err error) bool {
	return isAny(err,
		rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrLeaseNotFound,
		rpctypes.ErrDuplicateKey, rpctypes.ErrEmptyKey, rpctypes.ErrTooManyRequests,
		rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision)
}

// explain returns what a caller with ctx is told about err.
func (s *Store) explain(ctx context.Context, doing string, err error) error {
	switch {
	case s.ctx.Err() != nil:
		return store.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case isAny(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: etcd's space quota is used up: compact, defragment, disarm the alarm", store.ErrFull)
	case isAny(err, rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: etcd: %s: %w", store.ErrTooLarge, doing, err)
	case isAny(err, rpctypes.ErrLeaseNotFound):
		return store.ErrLeaseGone
	case isAny(err, rpctypes.ErrDuplicateKey, rpctypes.ErrEmptyKey, rpctypes.ErrFutureRev, rpctypes.ErrLeaseTTLTooLarge):
		return fmt.Errorf("%w: etcd: %s: %w", store.ErrInvalid, doing, err)
	case code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("etcd: %s: no answer from %s: %w", doing, strings.Join(s.client.Endpoints(), ", "), context.DeadlineExceeded)
	}
	return fmt.Errorf("etcd: %s: %w", doing, err)
}
