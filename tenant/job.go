package tenant

import "time"

// JobPrefix is where the records of jobs are.
const JobPrefix = "jobs/"

// JobKind says what a job is.
type JobKind string

// The kinds of jobs.
const (
	JobBackup  JobKind = "backup"
	JobRestore JobKind = "restore"
)

// JobState says how far a job is.
type JobState string

// The states of a job. It leaves JobWaiting once.
const (
	JobWaiting JobState = "waiting" // for its turn, or at work
	JobDone    JobState = "done"
	JobFailed  JobState = "failed"
)

// Job is something to do once with what a subscription stores.
type Job struct {
	V      int      `json:"v"`
	ID     string   `json:"id"` // sorts by time
	Tenant ID       `json:"tenant"`
	Alias  string   `json:"alias"`
	Kind   JobKind  `json:"kind"`
	State  JobState `json:"state"`
	Error  string   `json:"error,omitempty"` // why it failed
	// Backup is which one a restore brings back.
	Backup string    `json:"backup,omitempty"`
	Digest string    `json:"digest,omitempty"` // of what a backup stored
	Size   int64     `json:"size,omitempty"`   // bytes
	Asked  time.Time `json:"asked"`
	Ended  time.Time `json:"ended,omitzero"`
}

// JobKey is where a job's record is.
func JobKey(id ID, alias, job string) string { return JobPrefix + string(id) + "/" + alias + "/" + job }
