package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gostratos/stratos/cartridge"
)

// programs finds programs on the instance.
type programs struct {
	path []string // folders, absolute
}

// newPrograms searches PATH, and the folders of servers, which a PATH of an
// ordinary user lacks.
func newPrograms(path string) programs {
	var p programs
	all := append(filepath.SplitList(path), "/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
	for _, dir := range all {
		if filepath.IsAbs(dir) && !slices.Contains(p.path, dir) {
			p.path = append(p.path, dir)
		}
	}
	return p
}

// String is the value of PATH for processes.
func (p programs) String() string { return strings.Join(p.path, string(filepath.ListSeparator)) }

// find returns where a program is.
func (p programs) find(name string) (string, bool) {
	for _, dir := range p.path {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, true
		}
	}
	return "", false
}

// resolve finds the plan's programs, by their first names. What is missing is
// refused, all of it at once, with what to install.
func (p programs) resolve(wanted []cartridge.Program) (map[string]string, error) {
	found := map[string]string{}
	var missing []string
	for _, w := range wanted {
		for _, name := range w.Names {
			if file, ok := p.find(name); ok {
				found[w.Names[0]] = file
				break
			}
		}
		if _, ok := found[w.Names[0]]; !ok {
			missing = append(missing, advice(w))
		}
	}
	if len(missing) > 0 {
		return nil, refuse("not installed on the instance: %s", strings.Join(missing, "; "))
	}
	return found, nil
}

func advice(w cartridge.Program) string {
	s := strings.Join(w.Names, " or ")
	if w.Package != "" {
		s += fmt.Sprintf(" (apt-get install %s)", w.Package)
	}
	return s
}
