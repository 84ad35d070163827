// Package cloud is what the platform asks of any cloud: launch an instance,
// terminate it, list what is there.
//
// A cloud's author writes a [Driver], three methods; everything that is the
// same for all clouds (deadlines, pacing, typed errors) is in [Account], which
// wraps a driver for its users. More powers are optional interfaces, each
// asserted in one place.
//
// # Errors
//
// A driver wraps its service's error together with one sentinel, where one
// fits: fmt.Errorf("%w: %w", cloud.ErrCapacity, err). The sentinels are the
// cases in which the platform does something different.
package cloud

import (
	"context"
	"time"
)

// InstanceID is a cloud's own name for an instance.
type InstanceID string

// Tags that every instance carries.
const (
	TagOwner   = "stratos-owner"   // the platform's store
	TagGen     = "stratos-gen"     // the store's generation
	TagMember  = "stratos-member"  // the member it was launched for
	TagCluster = "stratos-cluster" // the member's cluster
	TagAttempt = "stratos-attempt" // the attempt
	TagSentAt  = "stratos-sent-at" // RFC 3339, when the call left
)

// Owner is the value of TagOwner: whose instances these are.
type Owner string

// Spec is a request for an instance: rendered once, recorded, and sent again
// byte for byte when an answer was lost.
type Spec struct {
	Token     string            `json:"token"` // the request's identity, at most 64 letters and digits
	Name      string            `json:"name"`  // unique: for clouds that have unique names
	Partition string            `json:"partition,omitempty"`
	Image     string            `json:"image,omitempty"`
	Size      string            `json:"size,omitempty"`
	Tags      map[string]string `json:"tags"`
	UserData  []byte            `json:"userData"` // secret: holds the join token
}

// InstanceState is what a cloud says of an instance.
type InstanceState string

// The states of an instance.
const (
	Pending InstanceState = "pending" // asked for, not running yet
	Running InstanceState = "running"
	// Gone: it runs no more and will not again. Its name, folder or record may
	// still be there, until Terminate.
	Gone InstanceState = "gone"
)

// Instance is a machine (or what stands for one) in a cloud.
type Instance struct {
	ID        InstanceID        `json:"id"`
	Name      string            `json:"name"`
	State     InstanceState     `json:"state"`
	Partition string            `json:"partition,omitempty"`
	Addresses []string          `json:"addresses,omitempty"` // reachable by balancers; the preferred first
	Tags      map[string]string `json:"tags"`
	Launched  time.Time         `json:"launched"`
}

// Driver talks to one cloud. Its methods may be called concurrently, return
// soon after ctx ends, and retry nothing, nor does the library below: only who
// calls knows what may be repeated. What is passed in stays the caller's, what
// is returned becomes the caller's: maps and slices are copied.
type Driver interface {
	// Launch asks for an instance and does not wait for it to boot. The same
	// Token returns the same instance, however often and however late it is
	// asked. An error without a sentinel leaves it open whether there is an
	// instance; ErrCapacity, ErrQuota, ErrThrottled, ErrRejected and
	// ErrUnauthorized say that this call made none. Another request under the
	// same token or unique name is ErrRejected.
	Launch(ctx context.Context, s Spec) (Instance, error)
	// Terminate ends an instance and everything that was made for it. It
	// succeeds if there is no such instance, and may return before it is gone;
	// one call is enough, more do no harm.
	Terminate(ctx context.Context, id InstanceID) error
	// List returns every instance tagged with owner, or an error: a partial
	// list kills healthy members.
	List(ctx context.Context, owner Owner) ([]Instance, error)
}

// Idempotency says what makes a repeated Launch safe.
type Idempotency string

// The kinds of idempotency.
const (
	ByToken Idempotency = "token" // the cloud honours Spec.Token
	ByName  Idempotency = "name"  // the cloud has unique names; the driver finds what has the name
	ByTags  Idempotency = "tags"  // neither: list and settle
)

// Capabilities say how far a cloud's word can be trusted.
type Capabilities struct {
	Idempotency Idempotency
	// ListLag is how long a new instance may be missing from List, and an
	// ended one may stay in it.
	ListLag time.Duration
}

// Capable is implemented by drivers whose capabilities are not the default:
// ByTags, a lag of a minute.
type Capable interface{ Capabilities() Capabilities }

// Located is implemented by drivers whose List shows only
// what is in one place, such as one machine. Two control planes that share a
// store must share it, too, or each would take the other's instances for gone.
type Located interface {
	// Location names the place. It is the same at every start, and is called
	// after Open.
	Location() (string, error)
}

// Opener is implemented by drivers that keep files of their own, or must look
// at their surroundings before the first launch. dir is theirs alone, made for
// them, and the same at every start of the platform. An error says what is
// wrong and the cure.
type Opener interface {
	Open(ctx context.Context, dir string) error
}
