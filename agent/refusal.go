package agent

import "fmt"

// refusal says that a release cannot run as it is: trying again does not help,
// a human mends the release or the instance. Every other error of bringing a
// release up is the surroundings', and is tried again.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func refuse(format string, args ...any) error {
	return &refusal{reason: fmt.Sprintf(format, args...)}
}
