// Package cartridgetest is the conformance kit for cartridge types: [Run]
// says whether a type keeps the promises that the platform relies on.
//
// Half of them are about the plan, which is only data. For the other half the
// kit does what an agent does: it builds the release, chooses ports, writes the
// files, starts real processes, waits until they are healthy, asks for pages
// and stops them. A program that is missing fails the test with its name.
package cartridgetest

import (
	"io/fs"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/gostratos/stratos/cartridge"
)

// Case is a release that the type should run, and what is seen of it.
type Case struct {
	// Files are the release: path to content. Those that start with #! are executable.
	Files map[string]string
	// Settings and Env are the subscription's.
	Settings map[string]string
	Env      map[string]string
	// Want is what the runtime answers with status 200: path to a part of the body.
	Want map[string]string
	// Slow is a path whose answer begins at once, goes on for about a second
	// and ends with the word "done". It is asked for just before the runtime
	// is stopped. Empty: not tried.
	Slow string
	// NoEnv says that no process is given the subscription's Env.
	NoEnv bool
	// User is the uid and gid that the processes run under; zero is the test's
	// own. It takes a test that runs as root.
	User int
}

// Unprivileged is a uid without an entry in passwd, as instances have it.
const Unprivileged = 31005

// Run checks that typ keeps its promises for the case.
func Run(t *testing.T, typ cartridge.Type, c Case) {
	t.Helper()
	for _, promise := range []struct {
		name string
		keep func(*testing.T, cartridge.Type, Case)
	}{
		{"NameIsValid", nameIsValid},
		{"PlanChecks", planChecks},
		{"PlanSurvivesJSON", planSurvivesJSON},
		{"PlanIsDeterministic", planIsDeterministic},
		{"ReadsOnlyInput", readsOnlyInput},
		{"LeavesInputAlone", leavesInputAlone},
		{"UserEnvIsLiteral", userEnvIsLiteral},
		{"BadReleaseIsNoPanic", badReleaseIsNoPanic},
		{"ComesUp", comesUp},
		{"ListensOnlyOnLoopback", listensOnlyOnLoopback},
		{"LeavesReleaseAlone", leavesReleaseAlone},
		{"RunsBesideItself", runsBesideItself},
		{"StartsAgainAfterCrash", startsAgainAfterCrash},
		{"StopsGracefully", stopsGracefully},
		{"RunsUnprivileged", runsUnprivileged},
	} {
		kept := t.Run(promise.name, func(t *testing.T) { promise.keep(t, typ, c) })
		if !kept && promise.name == "ComesUp" {
			return // each of the others would wait as long to say the same
		}
	}
}

// input returns a fresh Input.
func (c Case) input() cartridge.Input {
	return cartridge.Input{Release: c.release(), Settings: maps.Clone(c.Settings), Env: maps.Clone(c.Env)}
}

func (c Case) release() fs.FS {
	m := fstest.MapFS{}
	for name, text := range c.Files {
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: mode(text)}
	}
	return m
}

func mode(text string) fs.FileMode {
	if len(text) > 1 && text[:2] == "#!" {
		return 0o755
	}
	return 0o644
}
