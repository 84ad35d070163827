package cloud

import (
	"errors"
	"fmt"
)

// One sentinel per thing that the platform does differently.
var (
	ErrNotFound     = errors.New("no such instance")               // it is gone
	ErrCapacity     = errors.New("the partition is full")          // the next partition; back off this one
	ErrQuota        = errors.New("the account's quota is used up") // the next account; tell the operator
	ErrThrottled    = errors.New("too many calls")                 // slow down
	ErrRejected     = errors.New("the request is refused")         // a human must mend it
	ErrUnauthorized = errors.New("the credentials are refused")    // a human must mend them
)

// Error says where an operation went wrong. The driver's error, and the
// sentinel in it, are found with errors.Is and errors.As.
type Error struct {
	Op        string // "launch", "terminate", "list", "open"
	Account   string
	Partition string // empty if the operation has none
	Err       error
}

func (e *Error) Error() string {
	where := e.Account
	if e.Partition != "" {
		where += "/" + e.Partition
	}
	return fmt.Sprintf("%s in account %s: %v", e.Op, where, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// SurelyNot reports whether err proves that the launch made no instance. Former
// calls with the same request may have made one.
func SurelyNot(err error) bool {
	for _, e := range []error{ErrCapacity, ErrQuota, ErrRejected, ErrUnauthorized, ErrThrottled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
