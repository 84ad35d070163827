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
// # What outlives it
//
// The volumes of a plan are folders of the machine that the next member finds
// again. One that is exclusive is locked from before the runtime starts until
// nothing of it runs any more, and who gets the lock first ends what still
// carries the volume's mark: two servers never run on one folder. So the next
// release of such a plan is fetched and checked, then the former runtime stops,
// then the new one starts; if it is refused, the former one starts again.
//
// # Services
//
// Beside a healthy runtime that provides a service, the agent runs the plan's
// actions, one at a time: it lets in who is in the list of bindings, after it
// sent away who is not in it any more, and does what the control plane wants
// done once, a backup or a restore. What it does not know to have happened, it
// does again. A backup streams to the control plane, signed at both ends: one
// that is not whole is none.
//
// # What it leaves behind
//
// Nothing else: the processes that a plan names die with their agent, also when
// that is killed. What they started themselves, and what escaped from its
// process group, carries marks in its environment, STRATOS_RUNTIME and for an
// action STRATOS_ACTION: it is ended when the runtime or the action stops, and
// after a kill when the next agent starts in the same folder or the instance is
// terminated. STRATOS_VOLUME_ and a name mark who uses a volume.
//
// In its folder are key (the private key, 0600), tls.key and tls.crt (the
// certificate, with a key of its own, 0600), log and log.1 (what the
// runtimes printed), log.next (the number of the next line), runtimes/ and
// releases/ (made anew at every start), data/ (what outlives a runtime) and
// bound.json (who was let in; for a service with an exclusive volume, it is
// beside that).
package agent
