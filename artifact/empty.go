package artifact

import (
	"context"
	"fmt"
)

// Empty is the URL of a repository without files, for what runs without any.
// Only Go programs may pass it: [CheckURL] refuses it.
const Empty = "empty:"

// emptyRevision is the hash of Git's tree without files.
const emptyRevision = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// none is the source of Empty.
type none struct{}

var _ Source = none{}

// Resolve implements [Source]: there is one revision.
func (none) Resolve(_ context.Context, ref string) (string, error) {
	if ref != "" && ref != emptyRevision {
		return "", fmt.Errorf("%w: there is no repository", ErrNoRef)
	}
	return emptyRevision, nil
}

// Fetch implements [Source].
func (none) Fetch(_ context.Context, revision, _ string) error {
	if revision != emptyRevision {
		return fmt.Errorf("%w: there is no repository", ErrNoRef)
	}
	return nil
}
