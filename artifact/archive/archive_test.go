package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact/archive"
)

func TestCheckLink(t *testing.T) {
	for _, c := range []struct {
		name, link, target, refused string
	}{
		{"beside", "a", "b", ""},
		{"below", "a", "b/c/d", ""},
		{"up to the top", "a/b/c", "../..", ""},
		{"up and down", "a/b", "../c/d", ""},
		{"dots and slashes", "a/b", ".././/c/", ""},
		{"over the top", "a", "..", "leaves the tree"},
		{"over the top from below", "a/b", "../../c", "leaves the tree"},
		{"absolute", "a", "/etc/passwd", "absolute"},
		{"empty", "a", "", "without a usable target"},
		{"NUL", "a", "b\x00c", "without a usable target"},
		{"climbs from wherever b leads", "a", "b/..", "in the middle"},
		{"climbs after a dot", "x/a", "./../b/../..", "in the middle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := archive.CheckLink(c.link, c.target)
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, archive.ErrRefused)
			require.ErrorContains(t, err, c.refused)
			require.ErrorContains(t, err, `"`+c.link+`"`)
		})
	}
}

// sample makes a folder with everything that a release may hold.
func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin/empty"), 0o700))
	write(t, dir, "README", "hello", 0o600)
	write(t, dir, "bin/run", "#!/bin/sh\n", 0o711)
	write(t, dir, "näme with spaces", "", 0o666)
	long := filepath.Join("long", string(bytes.Repeat([]byte("d"), 120)), string(bytes.Repeat([]byte("e"), 120)))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(long)), 0o755))
	write(t, dir, long, "deep", 0o644)
	require.NoError(t, os.Symlink("../README", filepath.Join(dir, "bin/readme")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	return dir
}

func write(t *testing.T, dir, name, content string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(content), mode))
	require.NoError(t, os.Chmod(path, mode))
}

func pack(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, archive.Pack(dir, &b))
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	packed := pack(t, sample(t))
	dir := t.TempDir()
	require.NoError(t, archive.Unpack(bytes.NewReader(packed), dir, archive.Limits{}))

	got := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		name, err := filepath.Rel(dir, p)
		require.NoError(t, err)
		switch {
		case d.IsDir():
			got[name] = info.Mode().String()
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			require.NoError(t, err)
			got[name] = "-> " + target
		default:
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			got[name] = info.Mode().String() + " " + string(b)
		}
		return nil
	}))
	d := string(bytes.Repeat([]byte("d"), 120))
	delete(got, ".")
	require.Equal(t, map[string]string{
		"README":           "-rw-r--r-- hello",
		"bin":              "drwxr-xr-x",
		"bin/empty":        "drwxr-xr-x",
		"bin/run":          "-rwxr-xr-x #!/bin/sh\n",
		"bin/readme":       "-> ../README",
		"dangling":         "-> nowhere",
		"näme with spaces": "-rw-r--r-- ",
		"long":             "drwxr-xr-x",
		"long/" + d:        "drwxr-xr-x",
		"long/" + d + "/" + string(bytes.Repeat([]byte("e"), 120)): "-rw-r--r-- deep",
	}, got)
	require.Equal(t, packed, pack(t, dir), "packing what was unpacked gives the same bytes")
}

func TestPackDependsOnFilesOnly(t *testing.T) {
	one, two := sample(t), sample(t)
	old := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	require.NoError(t, os.Chtimes(filepath.Join(two, "README"), old, old))
	require.NoError(t, os.Chmod(filepath.Join(two, "README"), 0o666))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Lchown(filepath.Join(two, "README"), 1234, 1234))
	}
	require.Equal(t, pack(t, one), pack(t, two))

	require.NoError(t, os.Chmod(filepath.Join(two, "README"), 0o755))
	require.NotEqual(t, pack(t, one), pack(t, two), "the executable bit counts")
}

func TestPackAndCheckRefuse(t *testing.T) {
	for _, c := range []struct {
		name, want string
		make       func(t *testing.T, path string)
	}{
		{"a link that leaves", "leaves the tree", func(t *testing.T, p string) { require.NoError(t, os.Symlink("../../x", p)) }},
		{"an absolute link", "absolute", func(t *testing.T, p string) { require.NoError(t, os.Symlink("/etc", p)) }},
		{"a pipe", "neither a file", func(t *testing.T, p string) { require.NoError(t, syscall.Mkfifo(p, 0o644)) }},
		{"a socket", "neither a file", func(t *testing.T, p string) {
			t.Chdir(filepath.Dir(p)) // a socket's path must be short
			l, err := net.Listen("unix", filepath.Base(p))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, l.Close()) })
		}},
		{"a setuid file", "setuid", func(t *testing.T, p string) {
			require.NoError(t, os.WriteFile(p, nil, 0o755))
			require.NoError(t, os.Chmod(p, 0o755|fs.ModeSetuid))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
			c.make(t, filepath.Join(dir, "d", "bad"))
			for _, err := range []error{archive.Pack(dir, io.Discard), archive.Check(dir, archive.Limits{})} {
				require.ErrorIs(t, err, archive.ErrRefused)
				require.ErrorContains(t, err, `"d/bad"`)
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}

func TestCheckLimits(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", "12345", 0o644)
	write(t, dir, "b", "67890", 0o644)
	require.NoError(t, archive.Check(dir, archive.Limits{Files: 2, Bytes: 10}))
	require.ErrorContains(t, archive.Check(dir, archive.Limits{Files: 1}), `"b" is refused: more than 1 files`)
	require.ErrorContains(t, archive.Check(dir, archive.Limits{Bytes: 9}), `"b" is refused: all files together have more than 9 bytes`)

	packed := pack(t, dir)
	for _, c := range []struct {
		name   string
		limits archive.Limits
		ok     bool
	}{
		{"enough", archive.Limits{Files: 2, Bytes: 10}, true},
		{"too many files", archive.Limits{Files: 1}, false},
		{"too many bytes", archive.Limits{Bytes: 9}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := archive.Unpack(bytes.NewReader(packed), t.TempDir(), c.limits)
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, archive.ErrRefused)
			require.ErrorContains(t, err, `"b"`)
		})
	}
}

func TestPackReturnsTheWritersError(t *testing.T) {
	r, w := io.Pipe()
	stop := errors.New("stop")
	require.NoError(t, r.CloseWithError(stop))
	require.ErrorIs(t, archive.Pack(sample(t), w), stop)
}

// made is a tar of headers; a file's content is its Linkname.
func made(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		var content string
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Linkname: content}
}

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}
}

func TestUnpackRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		headers    []tar.Header
	}{
		{"an absolute name", "leads out", []tar.Header{file("/tmp/x", "")}},
		{"a name that climbs", "leads out", []tar.Header{file("../x", "")}},
		{"a name that climbs in the middle", "leads out", []tar.Header{file("a/../../x", "")}},
		{"a name that climbs and comes back", "leads out", []tar.Header{file("a/../x", "")}},
		{"a file as the folder itself", "only a folder", []tar.Header{link("./", "x")}},
		{"a link that leaves", "leaves the tree", []tar.Header{link("x", "../y")}},
		{"an absolute link", "absolute", []tar.Header{link("x", "/etc/passwd")}},
		{"a file below a link", "stands twice", []tar.Header{link("d", "."), file("d/x", "")}},
		{"a file below a file", "stands twice", []tar.Header{file("d", ""), file("d/x", "")}},
		{"a name twice", "stands twice", []tar.Header{file("x", "1"), file("x", "2")}},
		{"a file over a link", "stands twice", []tar.Header{link("x", "y"), file("x", "")}},
		{"a hard link", "entries of type", []tar.Header{file("x", ""), {Name: "y", Typeflag: tar.TypeLink, Linkname: "x"}}},
		{"a device", "entries of type", []tar.Header{{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}},
		{"a pipe", "entries of type", []tar.Header{{Name: "pipe", Typeflag: tar.TypeFifo}}},
		{"a setuid file", "setuid", []tar.Header{{Name: "x", Typeflag: tar.TypeReg, Mode: 0o4755}}},
		{"a setgid folder", "setuid", []tar.Header{{Name: "x/", Typeflag: tar.TypeDir, Mode: 0o2755}}},
		{"a very long name", "4096 bytes", []tar.Header{file(string(append(bytes.Repeat([]byte("a/"), 3000), 'x')), "")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := archive.Unpack(bytes.NewReader(made(t, c.headers...)), t.TempDir(), archive.Limits{})
			require.ErrorIs(t, err, archive.ErrRefused)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestUnpackTakesForeignTars(t *testing.T) {
	dir := t.TempDir()
	err := archive.Unpack(bytes.NewReader(made(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "of git archive"}},
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700},
		file("./a/b/c", "no entries for the folders"),
		tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o700},
	)), dir, archive.Limits{})
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "a/b/c"))
	require.NoError(t, err)
	require.Equal(t, "no entries for the folders", string(b))
}

func TestUnpackReadsToTheEnd(t *testing.T) {
	packed := pack(t, sample(t))
	r := bytes.NewReader(append(packed, make([]byte, 10240)...))
	require.NoError(t, archive.Unpack(r, t.TempDir(), archive.Limits{}))
	require.Zero(t, r.Len())

	endless := io.MultiReader(bytes.NewReader(packed), zeros{})
	require.ErrorIs(t, archive.Unpack(endless, t.TempDir(), archive.Limits{}), archive.ErrRefused)

	cut := bytes.NewReader(packed[:len(packed)-1500])
	require.Error(t, archive.Unpack(cut, t.TempDir(), archive.Limits{}))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzUnpack(f *testing.F) {
	f.Add(made(f, file("a/b", "x"), link("a/c", "b")))
	f.Add(made(f, link("d", ".."), file("d/x", "y")))
	f.Add(made(f, link("d/e", ".."), link("f", "d/e/.."), file("f/x", "y")))
	f.Add(made(f, file("../x", "y")))
	f.Add(made(f, file("/tmp/x", "y")))
	f.Add([]byte("no tar at all"))
	f.Fuzz(func(t *testing.T, b []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "in", "side")
		require.NoError(t, os.MkdirAll(dir, 0o755))
		err := archive.Unpack(bytes.NewReader(b), dir, archive.Limits{Files: 100, Bytes: 1 << 20})

		for path, only := range map[string]string{outer: "in", filepath.Dir(dir): "side"} {
			entries, err := os.ReadDir(path)
			require.NoError(t, err)
			require.Len(t, entries, 1)
			require.Equal(t, only, entries[0].Name())
		}
		if err != nil {
			return
		}
		require.NoError(t, archive.Check(dir, archive.Limits{}), "what was unpacked can be packed")
		requireLinksInside(t, dir)
	})
}

// requireLinksInside follows every link that leads anywhere.
func requireLinksInside(t *testing.T, dir string) {
	t.Helper()
	top, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if end, err := filepath.EvalSymlinks(p); err == nil {
			rel, err := filepath.Rel(top, end)
			require.NoError(t, err)
			require.True(t, filepath.IsLocal(rel), "%s leads to %s", p, end)
		}
		return nil
	}))
}

func FuzzCheckLink(f *testing.F) {
	f.Add("a/b", "../c")
	f.Add("a", "b/../..")
	f.Add("a/b/c", "../../..")
	f.Fuzz(func(t *testing.T, name, target string) {
		if !fs.ValidPath(name) || name == "." || archive.CheckLink(name, target) != nil {
			return
		}
		end := filepath.Join(filepath.Dir(name), target)
		require.True(t, filepath.IsLocal(end), "%q -> %q leads to %q", name, target, end)
	})
}
