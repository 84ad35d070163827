package doctor

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/internal/confine"
)

// enoughFiles is the least number of files that a process may have open: a
// request in the balancer takes two, and nobody wants to find that out at noon.
const enoughFiles = 4096

// openFiles checks how many files a process may have open.
func openFiles() Finding {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return Finding{Check: "open files", Status: Warn, Detail: "the limit is not known: " + err.Error(), Cure: "see ulimit -n"}
	}
	return filesOf(limit.Max) // Go programs raise themselves to the hard limit
}

func filesOf(limit uint64) Finding {
	if limit < enoughFiles {
		return Finding{Check: "open files", Status: Warn, Detail: fmt.Sprintf("a process may open %d: a request takes two in the balancer", limit),
			Cure: "raise the hard limit: ulimit -Hn 65536, or LimitNOFILE=65536 in the systemd unit"}
	}
	return Finding{Check: "open files", Status: OK, Detail: fmt.Sprintf("a process may open %d", limit)}
}

// isolation says plainly what tenants' code may do.
func isolation(uid int) Finding {
	f := Finding{Check: "isolation", Status: Warn}
	if uid == 0 {
		f.Detail = "you are root, and instances run as the same user as the control plane: tenants' code may do everything on this machine"
		f.Cure = "run the platform as an ordinary user, and serve only code that you trust"
		return f
	}
	f.Detail = fmt.Sprintf("instances run as the same user (%d) as the control plane: tenants' code can read its files and end its processes", uid)
	f.Cure = "serve only code that you trust, and give the platform a user of its own"
	return f
}

// builds says what keeps the builds of tenants apart from the rest.
func builds(a confine.Abilities) Finding {
	behind := "in a control group of little weight"
	if a.Group == "" {
		behind = "at the lowest priority (" + a.WhyGroup + ")"
	}
	if a.Bubblewrap == "" {
		return Finding{Check: "builds", Status: Warn, Cure: "install bubblewrap, or build only code that you trust",
			Detail: "they can read and change what the control plane can: " + a.Why + "; they run " + behind}
	}
	return Finding{Check: "builds", Status: OK, Detail: "kept apart by bubblewrap, " + behind}
}

// address checks that an address can be listened on. If a platform runs on the
// data folder, it is likely that one that has it. With records elsewhere, the
// folder does not tell.
func (d *Doctor) address(check, field, addr string, running bool) Finding {
	lis, err := net.Listen("tcp", addr)
	if err == nil {
		err = lis.Close()
	}
	switch {
	case err == nil:
		return Finding{Check: check, Status: OK, Detail: addr + " is free"}
	case running && isInUse(err):
		return Finding{Check: check, Status: OK, Detail: addr + " is in use, as is the data folder: a platform runs"}
	case isInUse(err) && d.Etcd != nil:
		return Finding{Check: check, Status: Warn, Detail: addr + " is in use: all is well if this control plane runs already", Cure: "if it does not, stop the program that has it, or set " + field + " to another address"}
	case isInUse(err):
		return Finding{Check: check, Status: Fail, Detail: addr + " is in use by another program", Cure: "stop that one, or set " + field + " to another address"}
	}
	return Finding{Check: check, Status: Fail, Detail: err.Error(), Cure: "set " + field + " to an address of this machine, and a port that you may use"}
}

// clock checks that time is about right: certificates of Git servers are
// refused otherwise.
func clock(now time.Time) Finding {
	const first = 2026 // no program of ours is older
	if now.Year() < first || now.Year() > first+50 {
		return Finding{Check: "clock", Status: Fail, Detail: "it is said to be " + now.UTC().Format(time.RFC3339), Cure: "set the clock: timedatectl set-ntp true"}
	}
	return Finding{Check: "clock", Status: OK, Detail: now.UTC().Format(time.RFC3339)}
}

// space checks what is left on the data folder's disk, bytes.
func space(free uint64) Finding {
	const mib = 1 << 20
	f := Finding{Check: "disk", Status: OK, Detail: fmt.Sprintf("%d MiB are free", free/mib)}
	switch {
	case free < 100*mib:
		f.Status, f.Cure = Fail, "free some space, or choose a data folder on another disk: a platform does not start on a full one"
	case free < 1024*mib:
		f.Status, f.Cure = Warn, "free some space: every release and every log takes some"
	}
	return f
}

func freeSpace(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}
