package artifact

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// dirScheme begins what Dir returns. No tenant's URL passes CheckURL with it.
const dirScheme = "dir:"

// maxURL is the longest URL of a repository, bytes.
const maxURL = 2048

// scpLike is the short form of an ssh URL: user@host:path.
var scpLike = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:/?[^-:/][^:]*$`)

// Dir is the URL of a repository in a local folder, a work tree or a bare one.
// Only Go programs may pass it: [CheckURL] refuses it, because whoever names a
// folder reads whatever the platform may read.
func Dir(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil { // there is no current folder: Git refuses the relative path
		abs = filepath.Clean(path)
	}
	return dirScheme + abs
}

// localPath returns the folder of a URL that Dir made.
func localPath(url string) (string, bool) { return strings.CutPrefix(url, dirScheme) }

// CheckURL refuses what a tenant may not pass as the URL of a repository. What
// is left is https, ssh (also as user@host:path), git and http, without
// credentials. git and http are plain: whoever is on the way can read and
// change the code. The error wraps ErrURL, names the cure, and holds no
// credentials. Where the host may be is not checked: a platform whose network
// holds secrets keeps tenants away from it with Git.HTTP or a firewall.
func CheckURL(raw string) error {
	switch {
	case raw == "":
		return badURL("it is empty: use https://host/path")
	case len(raw) > maxURL:
		return badURL("it has more than %d bytes", maxURL)
	case strings.ContainsFunc(raw, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar
	}):
		return badURL("it has spaces or control characters: percent-encode them")
	case strings.HasPrefix(raw, "-"):
		return badURL("it begins with a dash: use https://host/path")
	case scpLike.MatchString(raw):
		return nil
	}
	scheme, _, ok := strings.Cut(raw, "://")
	if !ok {
		return badURL("it is not of the form https://host/path; local folders are not allowed")
	}
	u, err := url.Parse(raw)
	if err != nil { // the error would repeat the URL, and with it a password
		return badURL("it cannot be parsed: use https://host/path")
	}
	switch u.Scheme {
	case "https", "http", "ssh", "git":
		return checkParts(u, raw)
	}
	return badURL("the scheme %q is not allowed: use https, ssh, git or http", scheme)
}

// checkParts checks a URL whose scheme is allowed.
func checkParts(u *url.URL, raw string) error {
	if _, secret := u.User.Password(); secret || u.User != nil && u.Scheme != "ssh" {
		return badURL("it carries credentials, which would end up in logs: take user and password out, and give them apart, as credentials")
	}
	if u.User != nil && (u.User.Username() == "" || strings.HasPrefix(u.User.Username(), "-")) {
		return badURL("the user name is not usable: use ssh://git@host/path")
	}
	switch {
	case u.Hostname() == "" || strings.HasPrefix(u.Host, "-"):
		return badURL("it has no usable host: use %s://host/path", u.Scheme)
	case strings.Trim(u.Path, "/") == "":
		return badURL("it has no path: use %s://host/path", u.Scheme)
	case strings.ContainsAny(raw, "?#"):
		return badURL(`it has a query or a fragment: take out what follows "?" or "#"; a branch goes into the ref`)
	}
	for _, r := range u.Path + u.Host {
		if unicode.IsControl(r) {
			return badURL("it hides control characters in percent-encoding")
		}
	}
	return nil
}

func badURL(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrURL, fmt.Sprintf(format, args...))
}
