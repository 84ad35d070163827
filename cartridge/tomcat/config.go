package tomcat

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/gostratos/stratos/cartridge"
)

// The heap, in MiB.
const (
	defaultHeap = 128
	leastHeap   = 32
	mostHeap    = 64 << 10
)

// config is what the settings and the size say.
type config struct {
	root    string // in the release
	context string // "" or the path of the only application
	health  string // "" or a path
	heap    int    // MiB
}

func configure(in cartridge.Input) (config, error) {
	c := config{root: ".", heap: defaultHeap}
	if memory, ok := mebibytes(in.Size); ok {
		c.heap = min(max(memory/2, leastHeap), mostHeap)
	}
	for _, k := range slices.Sorted(maps.Keys(in.Settings)) {
		if err := c.set(in.Release, k, in.Settings[k]); err != nil {
			return c, fmt.Errorf("setting %s: %w", k, err)
		}
	}
	if err := cartridge.CheckEnv(in.Env); err != nil {
		return c, err
	}
	if _, ok := in.Env["PORT"]; ok {
		return c, errors.New("env PORT: the platform chooses the port: remove the variable")
	}
	return c, nil
}

func (c *config) set(release fs.FS, name, value string) error {
	switch name {
	case "heap":
		n, ok := mebibytes(value)
		if !ok || n < leastHeap || n > mostHeap {
			return fmt.Errorf("%q is no size from 32m to 64g: write for example 256m", value)
		}
		c.heap = n
	case "root":
		if !fs.ValidPath(value) {
			return fmt.Errorf("%q is no folder in the repository: use a relative path without . and ..", value)
		}
		if info, err := fs.Stat(release, value); err != nil || !info.IsDir() {
			return fmt.Errorf("there is no folder %q in the repository", value)
		}
		c.root = value
	case "health":
		if !strings.HasPrefix(value, "/") || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return fmt.Errorf("%q is no path: it starts with / and holds no space", value)
		}
		c.health = value
	case "context":
		if value != path.Clean(value) || value[0] != '/' || strings.Contains(value, "#") || !baseName.MatchString(base(value)) {
			return fmt.Errorf("%q is no path of a context: write / or for example /shop, of letters, digits and . _ -", value)
		}
		c.context = value
	default:
		return errors.New("tomcat knows root, context, health and heap")
	}
	return nil
}

// mebibytes reads an amount of memory: 512m, 1g.
func mebibytes(s string) (int, bool) {
	if s == "" || len(s) > 6 || strings.Trim(s[:len(s)-1], "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s[:len(s)-1])
	switch s[len(s)-1] {
	case 'm', 'M':
		return n, err == nil
	case 'g', 'G':
		return n << 10, err == nil
	}
	return 0, false
}
