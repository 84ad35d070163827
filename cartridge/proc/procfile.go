package proc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gostratos/stratos/cartridge"
)

// line is one line of a Procfile.
type line struct{ name, command string }

// parseProcfile reads "name: command" lines; empty lines and those that
// start with # are passed over.
func parseProcfile(text string) ([]line, error) {
	var lines []line
	number := 0
	for s := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		s = strings.TrimSpace(s)
		if s == "" || s[0] == '#' {
			continue
		}
		l, err := parseLine(s)
		if err == nil && slices.ContainsFunc(lines, func(o line) bool { return o.name == l.name }) {
			err = fmt.Errorf("%q is there twice", l.name)
		}
		if err != nil {
			return nil, fmt.Errorf("Procfile, line %d: %w", number, err)
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 {
		return nil, errors.New("Procfile is empty: add a line like \"web: ./server\"")
	}
	return lines, nil
}

func parseLine(s string) (line, error) {
	name, command, ok := strings.Cut(s, ":")
	if !ok {
		return line{}, errors.New("has no colon: write \"name: command\"")
	}
	l := line{strings.TrimSpace(strings.ReplaceAll(name, "_", "-")), strings.TrimSpace(command)}
	if !cartridge.ValidName(l.name) {
		return line{}, fmt.Errorf("%q is no name: use a-z, 0-9, - and _, a letter first", name)
	}
	if l.name == "release" {
		// It would have to run once per roll-out and with the bindings; as a
		// process it would end at once, and take the others with it.
		return line{}, errors.New("a release command is not run here: put it before the server, as in \"web: ./migrate && exec ./server\"")
	}
	return l, checkCommand(l.command)
}

func checkCommand(c string) error {
	if strings.TrimSpace(c) == "" {
		return errors.New("the command is empty")
	}
	if !utf8.ValidString(c) || strings.ContainsRune(c, 0) {
		return errors.New("the command is not UTF-8 text")
	}
	return nil
}

// script makes the text for sh -c. Folders in path are relative to the
// release, where it starts.
func script(path []string, command string) string {
	var b strings.Builder
	for _, dir := range slices.Backward(path) {
		fmt.Fprintf(&b, "PATH=\"$PWD/%s:$PATH\"; ", dir)
	}
	return b.String() + replace(strings.TrimSpace(command))
}

// replace lets the program take the shell's place, so that it is the one
// which gets signals and whose end is seen. A list of commands is left as it
// is: exec would drop all but the first.
func replace(command string) string {
	if strings.ContainsAny(command, ";&|\n#") {
		return command
	}
	first := strings.Fields(command)[0]
	switch first {
	case "exec", "cd", "export", "set", "ulimit", "umask", "unset", ".", "eval", "if", "while", "until", "for", "case", "{", "!", ":", "trap", "readonly", "command", "wait":
		return command
	}
	if first[0] == '(' {
		return command
	}
	if name, _, ok := strings.Cut(first, "="); ok && variable(name) {
		return "exec env " + command
	}
	return "exec " + command
}

// variable reports whether name= starts an assignment.
func variable(name string) bool {
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}
