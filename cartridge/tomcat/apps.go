package tomcat

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// app is one application of a release.
type app struct {
	file    string // in the release: a .war, or a folder
	war     bool
	name    string // as Tomcat calls it, without version: ROOT, shop, shop#admin
	version string // always set: the plain name is taken by what answers in its place
	old     bool   // its WEB-INF/web.xml is Java EE's
}

// unversioned sorts before every version that a name may hold.
const unversioned = "0"

// maxApps bounds how many applications a release may hold, and maxEntries how
// many files are looked at to find them.
const (
	maxApps    = 32
	maxEntries = 100_000
)

// baseName is what Tomcat makes a context's path and version of.
var baseName = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*(?:#[A-Za-z0-9_][A-Za-z0-9._-]*)*)(?:##([A-Za-z0-9][A-Za-z0-9._-]*))?$`)

// context is the path under which the application answers.
func (a app) context() string {
	if a.name == "ROOT" {
		return "/"
	}
	return "/" + strings.ReplaceAll(a.name, "#", "/")
}

// deployed is its name in webapps.
func (a app) deployed() string { return a.name + "##" + a.version }

// base is the name of the application at a path.
func base(context string) string {
	if context == "/" {
		return "ROOT"
	}
	return strings.ReplaceAll(strings.TrimPrefix(context, "/"), "/", "#")
}

// find returns the applications of a release, checked, and sorted by file.
func find(release fs.FS, c config) ([]app, error) {
	found, err := look(release, c.root)
	if err != nil {
		return nil, err
	}
	switch {
	case len(found) == 1:
		found[0].name, found[0].version = "ROOT", unversioned
		if c.context != "" {
			found[0].name = base(c.context)
		}
	case c.context != "":
		return nil, fmt.Errorf("setting context: there are %d applications, and each is named by its file: remove the setting", len(found))
	default:
		if err := byName(found); err != nil {
			return nil, err
		}
	}
	for i := range found {
		if err := found[i].check(release); err != nil {
			return nil, fmt.Errorf("%s: %w", found[i].file, err)
		}
	}
	return found, nil
}

// look finds an exploded application in root, else the WARs and the exploded
// applications in root, else the only WAR below it.
func look(release fs.FS, root string) ([]app, error) {
	entries, err := fs.ReadDir(release, root)
	if err != nil {
		return nil, fmt.Errorf("reading the repository: %w", err)
	}
	var found []app
	builds := ""
	for _, e := range entries {
		file := path.Join(root, e.Name())
		switch {
		case e.Name() == "WEB-INF" && e.Type()&fs.ModeSymlink != 0:
			return nil, fmt.Errorf("%s is a link, which Tomcat does not follow: commit the folder itself", file)
		case e.Name() == "WEB-INF" && e.IsDir():
			return []app{{file: root}}, nil
		case isWAR(e.Name()) && !e.IsDir():
			found = append(found, app{file: file, war: true})
		case e.IsDir() && exploded(release, file):
			found = append(found, app{file: file})
		case e.Name() == "pom.xml" || strings.HasPrefix(e.Name(), "build.gradle"):
			builds = " (there is " + file + ": build the project, and commit what it makes)"
		}
	}
	if len(found) == 0 {
		if found, err = below(release, root); err != nil {
			return nil, err
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("there is no application here: add a .war file, or a folder WEB-INF with what belongs to it%s", builds)
	case len(found) > maxApps:
		return nil, fmt.Errorf("there are %d applications, more than %d: use several subscriptions", len(found), maxApps)
	}
	return found, nil
}

// exploded reports whether a folder is an application.
func exploded(release fs.FS, dir string) bool {
	info, err := fs.Lstat(release, path.Join(dir, "WEB-INF"))
	return err == nil && info.IsDir()
}

// below finds the only WAR somewhere below root.
func below(release fs.FS, root string) ([]app, error) {
	var found []app
	seen := 0
	err := fs.WalkDir(release, root, func(name string, d fs.DirEntry, err error) error {
		if seen++; err != nil || seen > maxEntries {
			return errors.Join(err, tooMany(seen))
		}
		if d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		if isWAR(name) && !d.IsDir() {
			found = append(found, app{file: name, war: true})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the repository: %w", err)
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("there are several .war files, among them %s and %s: name the folder of those to run in the setting root", found[0].file, found[1].file)
	}
	return found, nil
}

func tooMany(seen int) error {
	if seen > maxEntries {
		return fmt.Errorf("no .war file among the first %d files: name its folder in the setting root", maxEntries)
	}
	return nil
}

func isWAR(name string) bool { return path.Ext(name) == ".war" }

// byName names each application after its file.
func byName(apps []app) error {
	seen := map[string]string{}
	for i := range apps {
		a := &apps[i]
		parts := baseName.FindStringSubmatch(strings.TrimSuffix(path.Base(a.file), ".war"))
		if parts == nil {
			return fmt.Errorf("%s: its name becomes the path of the application: use letters, digits and . _ -, # for a slash, and ## before a version", a.file)
		}
		a.name, a.version = parts[1], parts[2]
		if a.version == "" {
			a.version = unversioned
		}
		if other, twice := seen[a.deployed()]; twice {
			return fmt.Errorf("%s and %s are the same version of %s: rename one", other, a.file, a.context())
		}
		seen[a.deployed()] = a.file
	}
	return nil
}
