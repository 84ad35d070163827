package proc

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/gostratos/stratos/cartridge"
)

// static is the last resort: files that need no program of their own.
func (r *release) static() (*finding, error) {
	if r.commanded {
		return nil, nil
	}
	if r.root != "" && !r.hasDir(path.Clean(r.root)) {
		return nil, fmt.Errorf("setting root: there is no folder %q in the repository", r.root)
	}
	if r.root != "" || r.has("index.html") {
		return r.site(nil), nil
	}
	for _, dir := range []string{"public", "dist"} {
		if r.has(dir + "/index.html") {
			return &finding{static: &dir}, nil
		}
	}
	return nil, nil
}

// site is the static site in the set root, which a build may make.
func (r *release) site(build []cartridge.Command) *finding {
	root := path.Clean(r.root) // "" is "."
	return &finding{build: build, static: &root}
}

// static completes the plan of a static site.
func static(p *cartridge.Plan, root string) {
	web := cartridge.Nginx{Root: root, Server: staticServer}
	p.Programs = []cartridge.Program{web.Program()}
	p.Dirs = web.Dirs()
	p.Files = []cartridge.File{web.File()}
	p.Processes = []cartridge.Process{web.Process()}
	p.Stop = cartridge.Stop{Signal: "QUIT", Grace: 30 * time.Second}
}

// staticServer keeps the source of scripts private: nothing here runs them,
// and they hold passwords.
const staticServer = `		location ~* \.(?:php[0-9s]?|phtml|phar)$ {
			return 404;
		}
		location = /Procfile {
			return 404;
		}
`

// quote makes one word of sh.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
