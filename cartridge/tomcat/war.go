package tomcat

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// What is looked at of an application, in bytes, and the most that a WAR may
// hold when it is unpacked.
const (
	maxWebXML   = 1 << 20
	maxClass    = 1 << 20
	maxClasses  = 64
	maxUnpacked = 4 << 30
)

// migrate is what to do with an application of Java EE.
const migrate = `Tomcat 10 runs Jakarta EE, whose packages are jakarta.*: convert it with "javax2jakarta old.war new.war" (apt-get install tomcat-jakartaee-migration)`

// check refuses what is certain not to run, before anything is started.
func (a *app) check(release fs.FS) error {
	files := release
	if a.war {
		z, closer, err := open(release, a.file)
		if err != nil {
			return err
		}
		defer closer.Close()
		files = z
	} else if a.file != "." {
		sub, err := fs.Sub(release, a.file)
		if err != nil {
			return err
		}
		files = sub
	}
	text, err := read(files, "WEB-INF/web.xml", maxWebXML)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the annotations say it all
	}
	if err != nil {
		return fmt.Errorf("reading WEB-INF/web.xml: %w", err)
	}
	web, err := parseWebXML(text)
	if err != nil {
		return fmt.Errorf("WEB-INF/web.xml: %w", err)
	}
	a.old = web.old
	return web.checkClasses(files)
}

// open reads the contents of a WAR.
func open(release fs.FS, name string) (*zip.Reader, io.Closer, error) {
	// Tomcat reads the file by its path in the release, and so would follow a
	// link further than we do.
	if info, err := fs.Lstat(release, name); err == nil && !info.Mode().IsRegular() {
		return nil, nil, errors.New("is a link or no file: commit the WAR itself")
	}
	f, err := release.Open(name)
	if err != nil {
		return nil, nil, err
	}
	z, err := zipOf(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return z, f, nil
}

func zipOf(f fs.File) (*zip.Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errors.New("cannot be read here and there, as a WAR has to be")
	}
	z, err := zip.NewReader(r, info.Size())
	if err != nil {
		return nil, fmt.Errorf("is no WAR: %w: build it again, and commit it as a binary file", err)
	}
	var size uint64
	for _, e := range z.File {
		if size += min(e.UncompressedSize64, maxUnpacked); size > maxUnpacked {
			return nil, fmt.Errorf("is more than %d GiB when unpacked", maxUnpacked>>30)
		}
	}
	return z, nil
}

// read returns a file's content, refused above limit.
func read(files fs.FS, name string, limit int64) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("is larger than %d bytes", limit)
	}
	return b, err
}

// webXML is what is of interest in a deployment descriptor.
type webXML struct {
	old     bool     // of Java EE, not of Jakarta EE
	classes []string // that Tomcat loads
}

// parseWebXML reads a descriptor. An error says in which line it is broken.
// What this reader does not know (other encodings, entities of its own) is
// left to Tomcat.
func parseWebXML(text []byte) (webXML, error) {
	var w webXML
	d := xml.NewDecoder(bytes.NewReader(text))
	unknown := false
	d.CharsetReader = func(name string, _ io.Reader) (io.Reader, error) {
		unknown = true
		return nil, fmt.Errorf("unknown encoding %s", name)
	}
	d.Entity = xml.HTMLEntity
	element := ""
	for {
		t, err := d.Token()
		switch {
		case errors.Is(err, io.EOF), unknown:
			return w, nil
		case err != nil:
			if s := (*xml.SyntaxError)(nil); errors.As(err, &s) && strings.Contains(s.Msg, "entity") {
				return w, nil
			}
			return w, err
		}
		switch t := t.(type) {
		case xml.Directive:
			w.old = w.old || bytes.Contains(t, []byte("java.sun.com"))
		case xml.StartElement:
			if element = t.Name.Local; element == "web-app" {
				w.old = w.old || strings.Contains(t.Name.Space, "/javaee") || strings.Contains(t.Name.Space, "/j2ee")
			}
		case xml.EndElement:
			element = ""
		case xml.CharData:
			switch element {
			case "servlet-class", "filter-class", "listener-class":
				w.classes = append(w.classes, strings.TrimSpace(string(t)))
			}
		}
	}
}

// checkClasses looks into the classes that the descriptor names: one that
// refers to javax.servlet cannot be loaded.
func (w webXML) checkClasses(files fs.FS) error {
	for _, c := range w.classes[:min(len(w.classes), maxClasses)] {
		name := "WEB-INF/classes/" + strings.ReplaceAll(c, ".", "/") + ".class"
		if !fs.ValidPath(name) {
			continue
		}
		code, err := read(files, name, maxClass)
		if err == nil && bytes.Contains(code, []byte("javax/servlet/")) {
			return fmt.Errorf("class %s is made for javax.servlet: %s", c, migrate)
		}
	}
	return nil
}
