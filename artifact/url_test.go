package artifact_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
)

func TestCheckURL(t *testing.T) {
	for _, c := range []struct {
		name, url, refused string // refused: words of the error; empty: allowed
	}{
		{"https", "https://github.com/org/repo.git", ""},
		{"https with a port", "https://git.example.org:8443/repo", ""},
		{"http is plain, and allowed", "http://git.example.org/repo", ""},
		{"ssh", "ssh://git@github.com/org/repo.git", ""},
		{"ssh without a user", "ssh://git.example.org:2222/org/repo", ""},
		{"ssh, the short form", "git@github.com:org/repo.git", ""},
		{"git", "git://git.example.org/repo", ""},
		{"upper-case scheme", "HTTPS://git.example.org/repo", ""},
		{"an address", "https://[2001:db8::1]/repo", ""},
		{"a tilde", "https://git.example.org/~me/repo", ""},

		{"ssh, the short form, from the top", "git@github.com:/org/repo.git", ""},

		{"the short form, or a scheme", "git@host://path", "cannot be parsed"},
		{"the short form and a ref", "git@host:path:x", "local folders"},
		{"nothing", "", "empty"},
		{"a path", "/srv/repo", "local folders"},
		{"a relative path", "../repo", "local folders"},
		{"a name", "repo", "local folders"},
		{"file", "file:///srv/repo", `"file" is not allowed`},
		{"file, upper case", "FILE:///srv/repo", "is not allowed"},
		{"what Dir returns", artifact.Dir("/srv/repo"), "local folders"},
		{"dir as a scheme", "dir:///srv/repo", "is not allowed"},
		{"a remote helper", "ext::sh -c id", "spaces"},
		{"a remote helper without spaces", "ext::sh", "local folders"},
		{"a remote helper that looks short", "ext::x@host:path", "local folders"},
		{"a remote helper with a URL", "ext::https://host/path", "is not allowed"},
		{"another scheme", "ftp://host/path", "is not allowed"},
		{"a scheme of git's", "git+ssh://host/path", "is not allowed"},
		{"user and password", "https://user:hunter2@host/path", "credentials"},
		{"a token as the user", "https://hunter2@host/path", "credentials"},
		{"an empty user", "https://@host/path", "credentials"},
		{"a password for ssh", "ssh://git:hunter2@host/path", "credentials"},
		{"a password that does not parse", "https://user:hunter2%zz@host/path", "cannot be parsed"},
		{"a user for git", "git://hunter2@host/path", "credentials"},
		{"an option as the user", "ssh://-oProxyCommand=x@host/path", "user name"},
		{"an option", "--upload-pack=id", "dash"},
		{"an option as the host", "ssh://-oProxyCommand=id/path", "host"},
		{"an option as the short host", "git@-oProxyCommand=id:path", "local folders"},
		{"an option as the short path", "git@host:-x", "local folders"},
		{"an option as the short user", "-x@host:path", "dash"},
		{"no host", "https:///path", "host"},
		{"only a port", "https://:443/path", "host"},
		{"no path", "https://host", "no path"},
		{"an empty path", "https://host//", "no path"},
		{"a query", "https://host/path?token=hunter2", "query"},
		{"an empty query", "https://host/path?", "query"},
		{"a fragment", "https://host/path#main", "query"},
		{"an empty fragment", "https://host/path#", "query"},
		{"a line break", "https://host/path\nx", "control"},
		{"a NUL", "https://host/\x00", "control"},
		{"a hidden line break", "https://host/%0apath", "control"},
		{"an escape", "https://host/\x1b[31m", "control"},
		{"no UTF-8", "https://host/\xff", "control"},
		{"very long", "https://host/" + strings.Repeat("x", 3000), "2048 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := artifact.CheckURL(c.url)
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, artifact.ErrURL)
			require.ErrorContains(t, err, c.refused)
			require.NotContains(t, err.Error(), "hunter2", "no secrets in errors")
		})
	}
}

func TestDirIsAbsolute(t *testing.T) {
	abs, err := filepath.Abs("x")
	require.NoError(t, err)
	require.Equal(t, "dir:"+abs, artifact.Dir("x"))
	require.Equal(t, "dir:/a/c", artifact.Dir("/a/b/../c"))
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{
		"https://host/path", "git@host:path", "ssh://git@host:22/path", "ext::sh -c id", "dir:/x", "file:///x", "0@0://",
		"https://u:p@host/path", "-x", "ssh://-x/y", "git://host/\n", "https://host/%0a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if artifact.CheckURL(raw) != nil {
			return
		}
		require.NotRegexp(t, `^[-/.]|^(file|dir|ext):|[\x00-\x20\x7f]`, raw)
		if !strings.Contains(raw, "://") { // the short form of ssh
			require.Regexp(t, `^\w[\w.-]*@\w[\w.-]*:[^-]`, raw)
			return
		}
		u, err := url.Parse(raw)
		require.NoError(t, err)
		require.Contains(t, []string{"https", "http", "ssh", "git"}, u.Scheme)
		require.NotEmpty(t, u.Hostname())
		_, password := u.User.Password()
		require.False(t, password)
		require.True(t, u.User == nil || u.Scheme == "ssh")
	})
}
