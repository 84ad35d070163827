package cartridge

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Foldered is a [Type] that has a folder of its own in repositories that are
// for several cartridges: tomcat has "webapps".
type Foldered interface {
	Type
	// Folder is its name, or a path with slashes; "" is none. It is the same
	// at every call.
	Folder() string
}

// PartsFile is the file at the top of a repository that says which folder is
// for whom:
//
//	parts:
//	- {folder: webapps, cartridge: tomcat}
//	- {folder: sql, subscription: db}
const PartsFile = "stratos.yaml"

// parts is the content of a [PartsFile].
type parts struct {
	Parts []part `json:"parts"`
}

// part is for one subscription, or for all of a cartridge's.
type part struct {
	Folder       string `json:"folder"`
	Cartridge    string `json:"cartridge"`
	Subscription string `json:"subscription"`
}

// Part returns the folder of a release that is for the subscription alias of
// type t, "." if all of it is. In this order it is
//
//   - what [PartsFile] says of the subscription, then of the cartridge; where
//     the file names parts, but none for this one, that is an error;
//   - the type's own folder, see [Foldered], if it is there;
//   - the whole release.
//
// A folder that is not there, or is reached over a link, is an error; those in
// the file are of type [*FieldError] and name their line.
func Part(release fs.FS, alias string, t Type) (dir string, err error) {
	text, err := readParts(release)
	if err != nil {
		return "", fmt.Errorf("%s: %w", PartsFile, err)
	}
	dir, named, err := decodeParts(release, text, alias, t.Name())
	if err != nil {
		return "", fmt.Errorf("%s: %w", PartsFile, err)
	}
	if named {
		return dir, nil
	}
	own, ok := t.(Foldered)
	if !ok || own.Folder() == "" {
		return ".", nil
	}
	if err := checkFolder(own.Folder()); err != nil {
		return "", fmt.Errorf("cartridge %s: folder: %w", t.Name(), err)
	}
	err = plainFolder(release, own.Folder())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoFolder) {
		return ".", nil
	}
	return own.Folder(), err
}

// readParts returns the file's content, nothing if there is none.
func readParts(release fs.FS) ([]byte, error) {
	info, err := fs.Lstat(release, PartsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is a link or no file: commit the file itself")
	}
	f, err := release.Open(PartsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxText+1)) // one more is refused as too much
}

// decodeParts finds the part for a subscription. The whole file is checked,
// so that every subscription is told the same of it.
func decodeParts(release fs.FS, text []byte, alias, cartridge string) (dir string, named bool, err error) {
	var all parts
	var s strict
	s.decodeText(text, &all)
	if len(s.errs) > 0 {
		return "", false, s.err()
	}
	var errs []*FieldError
	taken := map[string]int{}
	of := map[string]string{}
	for i, p := range all.Parts {
		field := fmt.Sprintf("parts[%d]", i)
		key, err := p.check()
		if err == nil {
			err = checkFolder(p.Folder)
		}
		if err == nil {
			err = plainFolder(release, p.Folder)
		}
		if first, twice := taken[key]; twice && err == nil {
			err = fmt.Errorf("%s has parts[%d] already: remove one", key, first)
		}
		if err != nil {
			errs = append(errs, &FieldError{Field: field, Err: err})
			continue
		}
		taken[key], of[key] = i, p.Folder
	}
	if len(errs) > 0 {
		return "", false, s.err(errs...)
	}
	for _, key := range []string{"subscription " + alias, "cartridge " + cartridge} {
		if dir, ok := of[key]; ok {
			return dir, true, nil
		}
	}
	if len(all.Parts) > 0 {
		return "", false, fmt.Errorf("no part is for subscription %s or cartridge %s: add one; the folder of all is .", alias, cartridge)
	}
	return "", false, nil
}

// check returns whom the part is for.
func (p part) check() (string, error) {
	switch {
	case (p.Cartridge == "") == (p.Subscription == ""):
		return "", errors.New("name either a cartridge or a subscription")
	case p.Cartridge != "" && !ValidName(p.Cartridge):
		return "", fmt.Errorf("cartridge %q is no name: use a-z, 0-9 and -, a letter first", clip(p.Cartridge))
	case p.Cartridge != "":
		return "cartridge " + p.Cartridge, nil
	case !ValidName(p.Subscription):
		return "", fmt.Errorf("subscription %q is no name: use a-z, 0-9 and -, a letter first", clip(p.Subscription))
	}
	return "subscription " + p.Subscription, nil
}

// checkFolder says whether a folder can be one of a repository.
func checkFolder(dir string) error {
	switch {
	case dir == "":
		return errors.New("folder is missing: write its path in the repository")
	case !fs.ValidPath(dir) || strings.ContainsAny(dir, "\\\x00") || len(dir) > 1024:
		return fmt.Errorf("folder %q is no path in the repository: write it like web/app, without .. and without a slash at the ends", clip(dir))
	}
	for name := range strings.SplitSeq(dir, "/") {
		if strings.EqualFold(name, ".git") {
			return fmt.Errorf("folder %q is the repository's own: choose another", clip(dir))
		}
	}
	return nil
}

var errNoFolder = errors.New("is no folder")

// plainFolder says whether dir is a folder, reached without a link.
func plainFolder(release fs.FS, dir string) error {
	for at := dir; at != "."; at = path.Dir(at) {
		info, err := fs.Lstat(release, at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("folder %q is not in the repository: %w", clip(dir), fs.ErrNotExist)
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("folder %q: %q is a link: commit the folder itself", clip(dir), clip(at))
		case !info.IsDir():
			return fmt.Errorf("folder %q: %q %w", clip(dir), clip(at), errNoFolder)
		}
	}
	return nil
}
