package doctor

import (
	"os"
	"path/filepath"
)

// program is what instances or people run.
type program struct {
	check   string
	names   []string // the first that is found
	without string   // what does not work without it
	install string   // Debian's package
}

// wanted are the programs that a platform has a use for. None of them stops it:
// a cartridge whose programs are missing refuses its releases, with the reason.
func wanted() []program {
	return []program{
		{"git", []string{"git"}, "the platform reads repositories by itself; you need it to make some, and the tests do", "git"},
		{"php-fpm", []string{"php-fpm", "php-fpm8.5", "php-fpm8.4", "php-fpm8.3", "php-fpm8.2", "php-fpm8.1", "php-fpm8.0"}, "the cartridge php does not run", "php-fpm"},
		{"nginx", []string{"nginx"}, "the cartridge php and static sites of proc do not run", "nginx-light"},
		{"python3", []string{"python3"}, "Python programs of the cartridge proc do not run", "python3"},
		{"node", []string{"node"}, "Node.js programs of the cartridge proc do not run", "nodejs"},
	}
}

func (d *Doctor) programs() []Finding {
	var found []Finding
	for _, p := range wanted() {
		f := Finding{Check: p.check, Status: Warn, Detail: "not found: " + p.without, Cure: "apt-get install --no-install-recommends " + p.install}
		for _, name := range p.names {
			if file := d.find(name); file != "" {
				f = Finding{Check: p.check, Status: OK, Detail: file}
				break
			}
		}
		found = append(found, f)
	}
	goes := Finding{Check: "go", Status: OK, Detail: "not found, and not needed: only programs in Go that the cartridge proc builds need it"}
	if file := d.find("go"); file != "" {
		goes.Detail = file + " (not needed to run the platform)"
	}
	return append(found, goes)
}

// find returns where a program is, or "".
func (d *Doctor) find(name string) string {
	for _, dir := range filepath.SplitList(d.Path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}
