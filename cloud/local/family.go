package local

import (
	"os"
	"slices"
)

// processes finds the instance's: the agent, its session, what carries the
// folder in its environment, and the children of all of these.
func (f folder) processes() ([]stat, error) {
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
	all, err := processes()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s stat) bool { return s.PID == os.Getpid() || s.PID == 1 })
	if recycled(all, leader) {
		leader = process{}
	}
	mine := map[int]bool{}
	for _, s := range all {
		mine[s.PID] = f.owns(s, leader)
	}
	adoptChildren(all, mine)
	return slices.DeleteFunc(all, func(s stat) bool { return !mine[s.PID] }), nil
}

// owns reports whether a process is in the agent's session or carries the
// folder in its environment, which servers that write over it do not.
func (f folder) owns(s stat, leader process) bool {
	if leader.PID > 0 && s.Start < leader.Start {
		return false
	}
	if leader.PID > 0 && s.Session == leader.PID {
		return true
	}
	environ, err := os.ReadFile(procFile(s.PID, "environ"))
	return err == nil && marked(environ, f) // unreadable: ended, or another user's
}

// recycled reports whether the agent's number is another process's now. While
// its session lived, the kernel would not have given it away.
func recycled(all []stat, leader process) bool {
	for _, s := range all {
		if s.PID == leader.PID {
			return s.Start != leader.Start
		}
	}
	return false
}

// adoptChildren adds the descendants of those in mine.
func adoptChildren(all []stat, mine map[int]bool) {
	for grown := true; grown; {
		grown = false
		for _, s := range all {
			if !mine[s.PID] && mine[s.Parent] {
				mine[s.PID], grown = true, true
			}
		}
	}
}
