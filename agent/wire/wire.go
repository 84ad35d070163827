// Package wire holds the messages between agents and the control plane.
//
// Every message is a whole state, so that it may be lost, doubled or late: the
// next one says everything again. A join is authenticated by a one-time token
// and binds the member to the agent's key; every later request is signed with
// that key, see [Sign].
package wire

import (
	"time"

	"github.com/gostratos/stratos/cartridge"
)

// Version of the protocol; an agent of another one is refused.
const Version = 1

// Paths of the agent's calls, below the control plane's address.
const (
	JoinPath        = "/v1/agent/join"        // POST JoinRequest -> Assignment
	AssignmentPath  = "/v1/agent/assignment"  // GET -> Assignment
	StatusPath      = "/v1/agent/status"      // POST Status -> 204; 410: you are terminated
	LogsPath        = "/v1/agent/logs"        // POST Logs -> 204
	ArchivePath     = "/v1/agent/archives/"   // GET + digest -> tar
	CertificatePath = "/v1/agent/certificate" // POST CertificateRequest -> CertificateReply
	BindingsPath    = "/v1/agent/bindings"    // GET -> Bindings
	JobPath         = "/v1/agent/job"         // GET -> Job
	JobsPath        = "/v1/agent/jobs/"       // + id: GET -> what a restore reads; PUT what a backup printed; POST JobResult -> 204
)

// UserData is what an instance is started with.
type UserData struct {
	V       int      `json:"v"`
	Control []string `json:"control"` // URLs of the control plane's replicas
	Cluster string   `json:"cluster"`
	Member  string   `json:"member"`
	Token   string   `json:"token"` // one-time, for the join
	// CA is what certificates of the platform are verified with, PEM. With it
	// the instance's ports take mutual TLS only; without it they are plain.
	CA []byte `json:"ca,omitempty"`
}

// JoinRequest binds a member to the key of its agent. The same key may ask
// again and gets the same answer; another key is refused.
type JoinRequest struct {
	V         int    `json:"v"`
	Cluster   string `json:"cluster"`
	Member    string `json:"member"`
	Token     string `json:"token"`
	PublicKey []byte `json:"publicKey"` // Ed25519
	// Instance is the cloud's name for the instance, where the agent knows it.
	Instance string `json:"instance,omitempty"`
	// CSR asks for a certificate, DER (PKCS #10); set if the user-data has a CA.
	CSR []byte `json:"csr,omitempty"`
}

// Assignment is what a member should serve. Revision is empty while there is nothing.
type Assignment struct {
	Revision  string         `json:"revision"`
	Archive   string         `json:"archive"` // digest of the files
	PlanID    string         `json:"planID"`  // digest of the plan
	Plan      cartridge.Plan `json:"plan"`
	Heartbeat time.Duration  `json:"heartbeat"` // how often to send a Status
	// Certificate answers the join's CSR: a chain, PEM.
	Certificate []byte `json:"certificate,omitempty"`
	// Data names the volumes of the subscription; nothing of another's has it.
	Data string `json:"data,omitempty"`
	// Config names Env and Secrets. Both go no further than the runtime.
	Config  string            `json:"config,omitempty"`
	Env     map[string]string `json:"env,omitempty"`     // for every process, over what the plan says
	Secrets map[string]string `json:"secrets,omitempty"` // by their names in the plan
}

// CertificateRequest asks for a new certificate, before the present one ends.
type CertificateRequest struct {
	CSR []byte `json:"csr"` // DER, PKCS #10; who it is for is told by the signature of the call
}

// CertificateReply answers a CertificateRequest.
type CertificateReply struct {
	Certificate []byte `json:"certificate"` // a chain, PEM
}

// ReleaseRef names a release.
type ReleaseRef struct {
	Revision string `json:"revision"`
	Archive  string `json:"archive"`
	PlanID   string `json:"planID"`
	Config   string `json:"config,omitempty"`
}

// Release returns the name of what is assigned.
func (a Assignment) Release() ReleaseRef {
	return ReleaseRef{Revision: a.Revision, Archive: a.Archive, PlanID: a.PlanID, Config: a.Config}
}

// Bindings are all who may connect to the service of a runtime. Who is not
// among them may not.
type Bindings struct {
	ID  string    `json:"id"` // names this list
	All []Binding `json:"all"`
}

// Binding is one dependent's access.
type Binding struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Database string `json:"database"`
}

// JobKind says what to do.
type JobKind string

// The kinds of jobs.
const (
	JobBackup  JobKind = "backup"  // run the service's Backup, PUT what it prints
	JobRestore JobKind = "restore" // GET a backup, let the service's Restore read it
)

// Job is something to do once. An agent that was ended in the middle of it
// begins again. ID is empty if there is nothing to do.
type Job struct {
	ID   string  `json:"id"`
	Kind JobKind `json:"kind"`
}

// JobResult says what became of a job. A backup is done when it is stored; so
// this is for restores, and for what failed.
type JobResult struct {
	Error string `json:"error,omitempty"` // why it failed, with the end of what it printed; empty: it is done
}

// Phase is what an agent says of its runtime.
type Phase string

// The phases.
const (
	PhaseStarting Phase = "starting" // no runtime is healthy yet, or it restarts
	PhaseReady    Phase = "ready"    // Serving is up and healthy
)

// Status is the whole state of an agent: sent at every change and every
// heartbeat. The control plane ignores one whose Seq is not above the last.
type Status struct {
	Seq      uint64    `json:"seq"` // grows with every status, also over restarts of the agent
	Phase    Phase     `json:"phase"`
	Reason   string    `json:"reason,omitempty"`
	Serving  *Runtime  `json:"serving,omitempty"`
	Retiring []Runtime `json:"retiring,omitempty"` // still running, to be stopped when the control plane's record lists them no more
	Refused  *Refused  `json:"refused,omitempty"`  // the last release that did not come up
	Restarts int       `json:"restarts"`
	// Bound is the ID of the list of bindings that the service of Serving knows,
	// and BindError why the newest one could not be made known to it.
	Bound     string `json:"bound,omitempty"`
	BindError string `json:"bindError,omitempty"`

	Load   float64 `json:"load"`   // the machine's load average over a minute
	Memory uint64  `json:"memory"` // bytes, resident, of the runtime's processes
}

// Runtime is a release that runs, and where.
type Runtime struct {
	Release ReleaseRef     `json:"release"`
	Ports   map[string]int `json:"ports"`
	TLS     bool           `json:"tls,omitempty"` // the ports take mutual TLS only
}

// Refused says why a release was not taken.
type Refused struct {
	Release ReleaseRef `json:"release"`
	Reason  string     `json:"reason"`
	Log     string     `json:"log"` // the end of what it printed, at most 8 KiB
}

// Logs carries lines that the runtime printed. From is the number of the
// first line since the agent's first start; lines that the control plane has
// already are passed over.
type Logs struct {
	From  uint64    `json:"from"`
	Lines []LogLine `json:"lines"`
}

// LogLine is one line; longer ones are split.
type LogLine struct {
	At     time.Time `json:"at"`
	Source string    `json:"source"` // the process's name, "agent" for the agent itself
	Text   string    `json:"text"`
}
