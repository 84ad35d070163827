package local

import (
	"os"
	"slices"

	"github.com/gostratos/stratos/internal/procfs"
)

// processes finds the instance's: the agent, its session, what carries the
// folder in its environment, and the children of all of these.
func (f folder) processes() ([]procfs.Stat, error) {
	leader, started, err := f.agent()
	if err != nil {
		return nil, err
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if !started || leader.Boot != boot {
		leader = process{}
	}
	all, err := procfs.All()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s procfs.Stat) bool { return s.PID == os.Getpid() || s.PID == 1 })
	if recycled(all, leader) {
		leader = process{}
	}
	mine := map[int]bool{}
	for _, s := range all {
		mine[s.PID] = f.owns(s, leader)
	}
	procfs.AddChildren(all, mine)
	return slices.DeleteFunc(all, func(s procfs.Stat) bool { return !mine[s.PID] }), nil
}

// owns reports whether a process is in the agent's session or carries the
// folder in its environment, which servers that write over it do not.
func (f folder) owns(s procfs.Stat, leader process) bool {
	if leader.PID > 0 && s.Start < leader.Start {
		return false
	}
	if leader.PID > 0 && s.Session == leader.PID {
		return true
	}
	environ, err := os.ReadFile(procfs.File(s.PID, "environ"))
	return err == nil && marked(environ, f) // unreadable: ended, or another user's
}

// recycled reports whether the agent's number is another process's now. While
// its session lived, the kernel would not have given it away.
func recycled(all []procfs.Stat, leader process) bool {
	for _, s := range all {
		if s.PID == leader.PID {
			return s.Start != leader.Start
		}
	}
	return false
}
