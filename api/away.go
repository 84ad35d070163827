package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gostratos/stratos/store"
)

// storePatience is how long a request waits for the store, once to know its
// sender and once to be answered. It is longer than one server of a cluster is
// waited for (2 s), so that one that stands still costs time and no answer, and
// shorter than what a balancer (3 s) and an agent (8 s) give to a replica: one
// that is cut off from the store says so, and the next one is asked.
const storePatience = 2500 * time.Millisecond

// errStoreAway says that this replica cannot reach the store.
var errStoreAway = errors.New("the store does not answer this replica just now: try again in a moment, or another replica")

// storeAway returns err as what a caller is told of it: every error of the
// store that says no more than that there was no answer is an errStoreAway,
// and anything else stays what it is.
func storeAway(err error) error {
	var unknown *store.UnknownError
	switch {
	case errors.Is(err, store.ErrFull): // somebody must act, unknown or not
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; what was asked for may have been recorded: look before you ask again", errStoreAway)
	case errors.Is(err, context.DeadlineExceeded):
		return errStoreAway
	}
	return err
}

// prompt bounds how long h waits for the store. The request's body is read
// before: a sender on a slow line takes nothing from the store's time.
func (s *Server) prompt(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return fmt.Errorf("%w: %w", errBadRequest, err)
		}
		ctx, cancel := context.WithTimeout(r.Context(), storePatience)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = io.NopCloser(bytes.NewReader(body))
		return h(w, r)
	}
}
