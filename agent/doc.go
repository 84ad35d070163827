// Package agent runs one member: it is the process inside every instance.
//
// An [Agent] makes a key, joins the control plane with its one-time token,
// fetches the release that is assigned to its member and executes the
// release's plan. It reads plans, which are only data, and knows no cartridge.
//
// # What it holds on to
//
// The control plane may be away for as long as it likes: a runtime that
// serves goes on serving, and is started again when it ends. What has to be
// said (a status, lines of a log) is a whole state or numbered, so it is said
// again until it is heard.
//
// A new release comes up beside the old one, on ports of its own. Only when it
// is healthy does the agent report it as serving and the old one as retiring,
// and only when the member's record in the topology lists the old one no more
// is that one stopped. A release that does not come up is refused, with its
// reason and the end of its log, and the old one never noticed.
//
// # Who may reach it
//
// Where the user-data names the platform's authority, the agent calls nobody
// whose certificate is not of that authority, and is given one of its own,
// which it renews. In front of each of a runtime's ports, which listen on
// loopback alone, it terminates mutual TLS: only the platform's balancers and
// replicas get in. On loopback, and without an authority, all is plain.
//
// Clocks may differ, and jump: a request that the control plane refuses for
// nothing but its time is signed again by the control plane's clock.
//
// # What it leaves behind
//
// Nothing: the processes that a plan names die with their agent, also when that
// is killed. What they started themselves, and what escaped from its process
// group, carries a mark in its environment, STRATOS_RUNTIME: it is ended when the
// runtime stops, and after a kill when the next agent starts in the same folder
// or the instance is terminated.
//
// In its folder are key (the private key, 0600), tls.key and tls.crt (the
// certificate, with a key of its own, 0600), log and log.1 (what the
// runtimes printed), log.next (the number of the next line), runtimes/ and
// releases/ (made anew at every start) and data/ (what outlives a runtime).
package agent
