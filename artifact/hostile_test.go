package artifact_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
)

// TestHostileRepositories goes the whole way, over HTTP: each is refused with
// the reason, nothing is built, nothing of it is executed, and nothing is left.
func TestHostileRepositories(t *testing.T) {
	const file, link, dir, module = "100644", "120000", "40000", "160000"
	marker := filepath.Join(t.TempDir(), "executed")
	touch := "#!/bin/sh\ntouch " + marker + "\n"
	for _, c := range []struct {
		name, want string
		tree       func(t *testing.T, repo *artifacttest.Repo) []byte
	}{
		{"a link out of the tree", "leaves the tree", func(t *testing.T, repo *artifacttest.Repo) []byte {
			return treeEntry(t, link, "x", object(t, repo, "blob", []byte("../../etc/passwd")))
		}},
		{"a link to an absolute path", "absolute", func(t *testing.T, repo *artifacttest.Repo) []byte {
			return treeEntry(t, link, "x", object(t, repo, "blob", []byte("/etc/passwd")))
		}},
		{"a name that climbs", "not a file's name", func(t *testing.T, repo *artifacttest.Repo) []byte {
			return treeEntry(t, dir, "..", object(t, repo, "tree", treeEntry(t, file, "x", object(t, repo, "blob", []byte("x")))))
		}},
		{"a million files", "more than 200000 files", func(t *testing.T, repo *artifacttest.Repo) []byte {
			tree := treeEntry(t, file, "f", object(t, repo, "blob", []byte("x")))
			for range 6 { // ten times as many each time
				h := object(t, repo, "tree", tree)
				tree = nil
				for i := range 10 {
					tree = append(tree, treeEntry(t, dir, fmt.Sprint(i), h)...)
				}
			}
			return tree
		}},
		{"a bomb of many names for one file", "more than 2147483648 bytes", func(t *testing.T, repo *artifacttest.Repo) []byte {
			blob := object(t, repo, "blob", make([]byte, 100<<20))
			var tree []byte
			for i := range 50 { // 5 GB, of one blob
				tree = append(tree, treeEntry(t, file, fmt.Sprintf("f%02d", i), blob)...)
			}
			return tree
		}},
		{"a bomb of one file", "more than 256 MiB", func(t *testing.T, repo *artifacttest.Repo) []byte {
			return treeEntry(t, file, "zeros", object(t, repo, "blob", make([]byte, 300<<20)))
		}},
		{"submodules", "submodules are not fetched", func(t *testing.T, repo *artifacttest.Repo) []byte {
			modules := "[submodule \"a\"]\n\tpath = a\n\turl = ext::sh -c touch% " + marker + "\n[submodule \"b\"]\n\tpath = b\n\turl = file:///etc\n"
			return append(treeEntry(t, file, ".gitmodules", object(t, repo, "blob", []byte(modules))),
				treeEntry(t, module, "a", strings.Repeat("a", 40))...)
		}},
		{"hooks and configuration", `"x/.git"`, func(t *testing.T, repo *artifacttest.Repo) []byte {
			config := object(t, repo, "blob", []byte("[core]\n\tfsmonitor = touch "+marker+"\n\tsshCommand = touch "+marker+"\n"))
			hook := object(t, repo, "blob", []byte(touch))
			hooks := object(t, repo, "tree", treeEntry(t, "100755", "post-checkout", hook))
			inner := object(t, repo, "tree", append(treeEntry(t, file, "config", config), treeEntry(t, dir, "hooks", hooks)...))
			return treeEntry(t, dir, "x", object(t, repo, "tree", treeEntry(t, dir, ".git", inner)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := artifacttest.NewRepo(t)
			commit := commitOf(t, repo, object(t, repo, "tree", c.tree(t, repo)))
			repo.Git("update-ref", "refs/heads/main", commit)
			b := newBench(t)
			b.Build = func(context.Context, artifact.Key, string, io.Writer) ([]byte, error) {
				t.Error("it is built")
				return nil, nil
			}
			b.start("a")
			b.Set(map[artifact.Key]artifact.Wish{shop: {URL: serve(t, repo, backend(t, repo)), Ref: "main"}})
			require.Equal(t, commit, b.sync().Head)
			r := b.release(commit)
			require.Equal(t, artifact.Failed, r.State)
			require.Contains(t, r.Reason, c.want)
			require.Empty(t, b.blobs())
			require.Empty(t, entries(t, filepath.Join(b.Dir, "tmp")), "half-made files")
			require.NoFileExists(t, marker)

			b.Set(nil) // and it is gone
			require.Eventually(t, func() bool {
				left, err := filepath.Glob(filepath.Join(b.Dir, "mirrors", shop.Tenant, "*"))
				return err == nil && len(left) == 0
			}, 30*time.Second, time.Millisecond)
		})
	}
}

// TestSetuidIsDropped: git takes such a mode for that of a plain file, and a
// release has no such bit, wherever the commit comes from.
func TestSetuidIsDropped(t *testing.T) {
	for mode, want := range map[string]os.FileMode{"104755": 0o755, "102755": 0o755, "101755": 0o755, "104644": 0o644} {
		repo := artifacttest.NewRepo(t)
		commit := commitOf(t, repo, object(t, repo, "tree", treeEntry(t, mode, "x", object(t, repo, "blob", []byte("x")))))
		repo.Git("update-ref", "refs/heads/main", commit)
		for _, g := range []*artifact.Git{{URL: artifact.Dir(repo.Dir)}, overHTTP(t, repo)} {
			dir := t.TempDir()
			require.NoError(t, g.Fetch(t.Context(), commit, dir), g.URL)
			info, err := os.Stat(filepath.Join(dir, "x"))
			require.NoError(t, err)
			require.Equal(t, want, info.Mode(), "%s over %s", mode, g.URL)
		}
	}
}

// packOf makes a pack by hand, as no git program would.
func packOf(t *testing.T, objects ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("PACK")
	require.NoError(t, binary.Write(&b, binary.BigEndian, []uint32{2, uint32(len(objects))}))
	for _, o := range objects {
		b.Write(o)
	}
	sum := sha1.Sum(b.Bytes())
	return append(b.Bytes(), sum[:]...)
}

// packed is an object in a pack: a kind (3 is a blob, 7 a difference), the size
// that it claims, and what there really is.
func packed(t *testing.T, kind byte, claims int, base, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	first := kind<<4 | byte(claims&15)
	for claims >>= 4; ; claims >>= 7 {
		if claims == 0 {
			b.WriteByte(first)
			break
		}
		b.WriteByte(first | 0x80)
		first = byte(claims & 0x7f)
	}
	b.Write(base)
	z := zlib.NewWriter(&b)
	_, err := z.Write(content)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

// TestHostilePacks: a server that sends what it was not asked for, and lies
// about its size.
func TestHostilePacks(t *testing.T) {
	base := sha1.Sum([]byte("blob 1\x00x"))
	delta := append(binary.AppendUvarint(binary.AppendUvarint(nil, 1), 1<<40), 0x90, 1) // one byte makes a terabyte
	for name, c := range map[string]struct {
		pack []byte
		want string
	}{
		"claims too much":             {packOf(t, packed(t, 3, 5<<30, nil, []byte("x"))), "more than 256 MiB"},
		"a difference makes too much": {packOf(t, packed(t, 3, 1, nil, []byte("x")), packed(t, 7, len(delta), base[:], delta)), "more than 256 MiB"},
		"holds more than it claims":   {packOf(t, packed(t, 3, 1, nil, make([]byte, 1<<20))), ""},
		"a difference without a size": {packOf(t, packed(t, 7, 1, base[:], []byte{0x80})), "not well-formed"},
		"more objects than fit":       {append([]byte("PACK\x00\x00\x00\x02\x7f\xff\xff\xff"), packed(t, 3, 1, nil, []byte("x"))...), "more than 5000000 objects"},
		"no pack":                     {[]byte("hello"), ""},
		"one that is cut":             {packOf(t, packed(t, 3, 1, nil, []byte("x")))[:20], ""},
	} {
		t.Run(name, func(t *testing.T) {
			repo := artifacttest.NewRepo(t)
			repo.Write("f", "1", 0o644)
			head := repo.Commit("one")
			files := backend(t, repo)
			url := serve(t, repo, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
					files.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				send := func(data string) { fmt.Fprintf(w, "%04x%s", len(data)+4, data) }
				send("shallow " + head + "\n")
				fmt.Fprint(w, "0000")
				send("NAK\n")
				for rest := c.pack; len(rest) > 0; {
					n := min(len(rest), 60_000)
					send("\x01" + string(rest[:n]))
					rest = rest[n:]
				}
				fmt.Fprint(w, "0000")
			}))
			g := &artifact.Git{URL: url, Mirror: filepath.Join(t.TempDir(), "mirror.git")}
			err := g.Fetch(t.Context(), head, t.TempDir())
			require.ErrorContains(t, err, c.want)
			if strings.HasPrefix(c.want, "more") {
				require.ErrorIs(t, err, artifact.ErrRelease)
			}
			packs, err := os.ReadDir(filepath.Join(g.Mirror, "objects", "pack"))
			if !os.IsNotExist(err) {
				require.NoError(t, err)
			}
			for _, p := range packs {
				require.NotEqual(t, ".pack", filepath.Ext(p.Name()), "it is kept")
			}
		})
	}
}
