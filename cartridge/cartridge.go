// Package cartridge defines what a kind of runtime is: PHP, Tomcat, MySQL, any program.
//
// A [Type] is arithmetic, too: it looks at a release and answers with a
// [Plan], which is only data. The control plane asks once per release; the
// agent on every instance executes the plan and knows no Type, so a cartridge
// is Go code in the control plane or nothing but a file, a [Definition].
//
// # Placeholders
//
// Strings of a plan that are marked as templates hold placeholders in the
// syntax of text/template, which the agent fills on the instance, see [Expand]:
//
//	{{port "http"}}   the port that the agent chose, by its name in Ports
//	{{.Release}}      the release's folder, absolute, read-only
//	{{.Dir}}          the runtime's own folder, absolute, empty at first
//	{{.Data}}         a folder that outlives the runtime on its instance
//	{{volume "db"}}   a folder that outlives the member, by its name in Volumes
//	{{secret "root"}} random, made once a subscription, by its name in Secrets
//	{{binding "user"}} of the dependent that an [Action] is about: "user",
//	                  "password" or "database"
//	{{"{"}}           a brace: what [Literal] makes of text that is only data
//
// There is nothing else in a template: no condition, no loop, no function. So
// a plan can be checked before it leaves the control plane, and what it does
// is seen by reading it. A [Definition] has {{setting "NAME"}}, too, which its
// type fills.
//
// Several cartridges may share a repository: [Part] says what is for which.
//
// Secrets never stand in a plan, and their placeholders only where no other
// user of the instance can read what they become: in files, in environments and
// in what an action reads.
package cartridge

import (
	"io/fs"
	"time"
)

// Type is a kind of runtime. Its zero value works; it has no state and may be
// used concurrently.
type Type interface {
	// Name is what subscriptions call it: lower case, unique in a flavour.
	Name() string
	// Plan says how to run a release. It reads nothing but its input and gives
	// the same plan for the same input. An error is shown to the tenant: it
	// names what is wrong with the release, and the cure.
	Plan(in Input) (Plan, error)
}

// Input is what a [Type] plans from.
type Input struct {
	Release  fs.FS             // the files of the commit, before the build
	Size     string            // of the instances
	Settings map[string]string // of the subscription, for this type
	Env      map[string]string // of the subscription, for the program
}

// Plan is how to build, run, check and stop a release. Fields marked T are
// templates.
type Plan struct {
	V         int    `json:"v"`
	Cartridge string `json:"cartridge"`

	// Build runs in the release's folder, one command after the other, once a
	// release, before it becomes immutable.
	Build []Command `json:"build,omitempty"`

	// Programs must be there on the instance, else the release is refused with
	// what to install.
	Programs []Program `json:"programs,omitempty"`
	Ports    []Port    `json:"ports"`
	// Dirs are made in {{.Dir}} before the files.
	Dirs []string `json:"dirs,omitempty"`
	// DataDirs are made in {{.Data}} where they are not there yet; what is in
	// them stays from release to release.
	DataDirs []string `json:"dataDirs,omitempty"`
	// Logs are files below {{.Dir}} that processes write lines to, which become
	// part of the log. What is moved away, or copied to NAME.1 and cut short, is
	// read to its end.
	Logs []string `json:"logs,omitempty"`
	// Volumes outlive members and follow them.
	Volumes []Volume `json:"volumes,omitempty"`
	// Links lead from the release into volumes.
	Links []Link `json:"links,omitempty"`
	// Secrets are names of random values, 32 hex digits each.
	Secrets []string `json:"secrets,omitempty"`
	Files   []File   `json:"files,omitempty"`
	// Processes run together as one runtime: when one ends, the others are
	// stopped and the runtime starts again.
	Processes []Process `json:"processes"`

	// Hooks run at moments of the runtime's start, in this order. One that fails
	// keeps the member from serving: its release is refused.
	Hooks []Hook `json:"hooks,omitempty"`

	Health Health `json:"health"`
	Stop   Stop   `json:"stop"`

	// Service is what other subscriptions can connect to. Default: nothing.
	Service *Service `json:"service,omitempty"`
}

// PlanVersion is the V that this code writes.
const PlanVersion = 1

// Command is a program with its arguments; no shell is involved unless it is
// the program.
type Command struct {
	Args []string `json:"args"` // the first is looked up in PATH unless it has a slash
	// Env is added to the clean environment of builds.
	Env map[string]string `json:"env,omitempty"`
	// Package is Debian's of Args[0], for the advice when it is missing. Builds
	// run elsewhere, so that what they need is not among the plan's Programs.
	Package string `json:"package,omitempty"`
}

// Program is something that must be installed on the instance: the first of
// Names that is found. A process names it by its first name.
type Program struct {
	Names   []string `json:"names"`
	Package string   `json:"package,omitempty"` // Debian's, for the advice
}

// Port is a port that the runtime listens on.
type Port struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol,omitempty"` // "http" (default) or "tcp"
}

// Volume is a folder that stays when a member goes, and is there again for the
// next one.
type Volume struct {
	Name string `json:"name"`
	// Exclusive: one runtime at a time. A new release stops the former one
	// before it starts, and a new member waits for the end of the former one.
	Exclusive bool `json:"exclusive,omitempty"`
	// Dirs are made in it where they are not there yet.
	Dirs []string `json:"dirs,omitempty"`
}

// Link puts a folder of a volume in the place of a folder of the release, for
// what a program writes among its own files.
type Link struct {
	Path   string `json:"path"`   // in the release; what is there is hidden
	Volume string `json:"volume"` // by its name
	Dir    string `json:"dir"`    // in the volume; made where it is not there yet
}

// Service makes a runtime a provider: dependents connect to it, each with
// credentials of its own. The actions run on the instance, while the runtime is
// healthy. They may be repeated: each brings about a state.
type Service struct {
	Scheme string `json:"scheme"`         // of the URL that dependents get: "mysql"
	Port   string `json:"port,omitempty"` // by its name in Ports. Default: the first of protocol tcp
	// Connect makes {{binding "database"}} where it is not there yet, and lets
	// {{binding "user"}} in with {{binding "password"}}, which may be a new one.
	Connect Action `json:"connect"`
	// Disconnect lets the user in no more, at once. What is stored stays.
	Disconnect Action `json:"disconnect"`
	// Backup prints all that is stored; Restore reads it. Default: neither is possible.
	Backup  *Action `json:"backup,omitempty"`
	Restore *Action `json:"restore,omitempty"`
}

// Action is a program that runs on the instance beside the runtime, as it does.
type Action struct {
	Args  []string          `json:"args"`            // T; the first may be a Program's name
	Env   map[string]string `json:"env,omitempty"`   // T
	Input string            `json:"input,omitempty"` // T; what it reads. Not for Restore, which reads a backup
	// Timeout is how long it may take. Default 30 s; for Backup and Restore an hour.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Moment is when a hook runs.
type Moment string

// The moments of hooks.
const (
	// ArtifactsUpdated: the release, the files and the volumes are there, and no
	// process runs yet.
	ArtifactsUpdated Moment = "artifacts-updated"
	// InstanceActivated: the runtime is healthy, and no request comes yet.
	InstanceActivated Moment = "instance-activated"
)

// Hook is an action at a moment of every start of a runtime, also of the one
// after a crash: it may be repeated. It has the environment of a process, with
// STRATOS_HOOK (the moment) and STRATOS_REVISION (the commit). What it prints is
// in the log, under the name "hook".
type Hook struct {
	On  Moment `json:"on"`
	Run Action `json:"run"` // its default timeout is 2 min
}

// File is written below {{.Dir}} before the processes start.
type File struct {
	Path    string `json:"path"`           // relative to {{.Dir}}
	Content string `json:"content"`        // T
	Mode    uint32 `json:"mode,omitempty"` // default 0600
}

// Process is one program of a runtime. Its environment is clean: PATH, HOME
// ({{.Dir}}), TMPDIR, LANG, PORT (the port "http") and what Env adds.
type Process struct {
	Name string            `json:"name"`          // for the log: "web"
	Args []string          `json:"args"`          // T; the first may be a Program's name
	Dir  string            `json:"dir,omitempty"` // T; default {{.Release}}
	Env  map[string]string `json:"env,omitempty"` // T
}

// HealthKind says how to check.
type HealthKind string

// The kinds of check.
const (
	HealthHTTP HealthKind = "http" // a GET answered with a status below 500
	HealthTCP  HealthKind = "tcp"  // a connection is accepted
	// HealthGreeting: a connection is greeted, by a server that speaks first as
	// those of MySQL, SMTP and SSH do. One that only listens is not ready yet.
	HealthGreeting HealthKind = "greeting"
)

// Health says when a runtime is up, and whether it still is.
type Health struct {
	Kind HealthKind `json:"kind,omitempty"` // default http
	Port string     `json:"port,omitempty"` // default "http"
	Path string     `json:"path,omitempty"` // default "/"
	// Start is how long the runtime may take to its first good answer. Default 60 s.
	Start time.Duration `json:"start,omitempty"`
	// Timeout of one check. Default 5 s.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Every is the pause between checks of a running runtime. Default 10 s.
	Every time.Duration `json:"every,omitempty"`
}

// Stop says how to end a runtime gracefully.
type Stop struct {
	Signal string        `json:"signal,omitempty"` // "TERM" (default), "QUIT", "INT"
	Grace  time.Duration `json:"grace,omitempty"`  // then it is killed. Default 10 s
}

// Standalone is a [Type] that may run without a repository: a subscription that
// names none has an empty release.
type Standalone interface {
	Type
	Standalone() bool
}
