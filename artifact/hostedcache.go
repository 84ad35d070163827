package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gostratos/stratos/store"
)

// ErrNoGit: a repository is to be kept here, and there is no git program.
var ErrNoGit = errors.New("hosted repositories need git on the machine of the control plane (apt-get install git)")

// syncedFile says which record the cache was last made equal to.
const syncedFile = "synced"

// bareConfig is all the configuration of a cached repository.
const bareConfig = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"

// fingerprint says what a repository holds.
func (h HostedRepository) fingerprint() []byte {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // strings and numbers can always be marshalled
	}
	sum := sha256.Sum256(b)
	return []byte(hex.EncodeToString(sum[:]))
}

// withCache calls use with the record of a hosted repository and the folder of
// a bare repository that holds what is recorded, while nobody else changes what
// is in it. A push begins in such a call.
func (c *Coordinator) withCache(ctx context.Context, k Key, use func(path string, rec store.Record[HostedRepository]) error) (err error) {
	path := c.mirror(k)
	lock, err := lockMirror(ctx, path)
	if err != nil {
		return &internalError{err}
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	pushing := c.pushing(k) != nil // asked before the record is read: it holds every push that has ended
	rec, err := c.hosted(ctx, k)
	if err != nil {
		return err
	}
	if err := c.syncCache(ctx, path, rec.Value, pushing); err != nil {
		return &internalError{err}
	}
	return use(path, rec)
}

func (c *Coordinator) dropCache(ctx context.Context, k Key) (err error) {
	lock, err := lockMirror(ctx, c.mirror(k))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	return removeMirror(c.mirror(k))
}

// syncCache makes the bare repository at path hold what is recorded. Packs that
// are not, are left by who was killed, unless somebody pushes just now.
func (c *Coordinator) syncCache(ctx context.Context, path string, want HostedRepository, pushing bool) error {
	have, err := os.ReadFile(filepath.Join(path, syncedFile))
	if err == nil && bytes.Equal(have, want.fingerprint()) {
		return nil
	}
	packs := packFolder(path)
	for _, dir := range []string{packs, filepath.Join(path, "refs")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if !pushing {
		if err := removeStrangers(packs, want); err != nil {
			return err
		}
	}
	for file, text := range map[string]string{"config": bareConfig, "HEAD": "ref: " + want.Head + "\n"} { // else git sees no repository
		if err := replaceFile(filepath.Join(path, file), text); err != nil {
			return err
		}
	}
	for _, p := range want.Packs {
		if err := c.bring(ctx, path, p); err != nil {
			return err
		}
	}
	var names strings.Builder
	for _, name := range slices.Sorted(maps.Keys(want.Refs)) {
		fmt.Fprintf(&names, "%s %s\n", want.Refs[name], name)
	}
	if err := replaceFile(filepath.Join(path, "packed-refs"), names.String()); err != nil {
		return err
	}
	return replaceFile(filepath.Join(path, syncedFile), string(want.fingerprint()))
}

// unsynced has the next use of the cache look at everything.
func unsynced(path string) error { return remove(filepath.Join(path, syncedFile)) }

// removeStrangers removes what is not of a recorded pack.
func removeStrangers(packs string, want HostedRepository) error {
	entries, err := os.ReadDir(packs)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name, _, _ := strings.Cut(e.Name(), "."); !want.has(name) {
			err = errors.Join(err, remove(filepath.Join(packs, e.Name())))
		}
	}
	return err
}

// bring fetches a pack that is not in the cache.
func (c *Coordinator) bring(ctx context.Context, path string, p HostedPack) error {
	file := filepath.Join(packFolder(path), p.Name)
	_, packErr := os.Stat(file + ".pack")
	_, indexErr := os.Stat(file + ".idx")
	if packErr == nil && indexErr == nil {
		return nil
	}
	blob, err := c.Blobs.Get(ctx, p.Blob)
	if err != nil {
		return fmt.Errorf("%s of a hosted repository: %w", p.Name, err)
	}
	name, err := indexPack(ctx, path, blob, 0)
	if err = errors.Join(err, blob.Close()); err != nil {
		return fmt.Errorf("%s of a hosted repository: %w", p.Name, err)
	}
	if name != p.Name {
		return fmt.Errorf("%s of a hosted repository is damaged: it is %s", p.Name, name)
	}
	return nil
}

// putPack stores a pack of the cache.
func (c *Coordinator) putPack(ctx context.Context, k Key, name string) (p HostedPack, err error) {
	f, err := os.Open(filepath.Join(packFolder(c.mirror(k)), name+".pack"))
	if err != nil {
		return p, err
	}
	defer f.Close() // only read
	in := &counter{r: f}
	p.Name = name
	p.Blob, err = c.Blobs.Put(ctx, in)
	p.Size = in.n
	return p, err
}

// packFolder is where a bare repository has its packs.
func packFolder(path string) string { return filepath.Join(path, "objects", "pack") }

// packsOf names the packs in a bare repository.
func packsOf(path string) (names []string, err error) {
	entries, err := os.ReadDir(packFolder(path))
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".pack"); ok {
			names = append(names, name)
		}
	}
	return names, err
}

// replaceFile writes a file that is whole whenever somebody reads it.
func replaceFile(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// indexPack adds a pack to the bare repository at path, and returns its name.
// Objects that git would not accept are an error, and so is a pack of more than
// most bytes, if that is not 0.
func indexPack(ctx context.Context, path string, pack io.Reader, most int64) (name string, err error) {
	out, err := runGit(ctx, path, pack, "index-pack", "--stdin", "--fix-thin", "--strict", fmt.Sprintf("--max-input-size=%d", most))
	if err != nil {
		return "", err
	}
	_, hash, ok := strings.Cut(strings.TrimSpace(out), "\t")
	if !ok {
		return "", fmt.Errorf("git index-pack says %q", out)
	}
	return "pack-" + hash, nil
}

// gitError is what git said of something it would not do.
type gitError struct {
	command string
	said    string
	err     error
}

func (e *gitError) Error() string {
	if e.said == "" {
		return "git " + e.command + ": " + e.err.Error()
	}
	return "git " + e.command + ": " + e.said
}

func (e *gitError) Unwrap() error { return e.err }

// runGit runs one of git's plumbing commands in the bare repository at path,
// and returns what it printed. What git refuses is a *gitError.
func runGit(ctx context.Context, path string, in io.Reader, args ...string) (string, error) {
	cmd, err := gitCommand(ctx, path, args...)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	var said tail
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", &gitError{command: args[0], said: clip(strings.TrimSpace(said.text())), err: err}
	}
	return out.String(), nil
}

// gitCommand prepares a git that sees nothing of the surroundings: no
// configuration but the repository's, which is ours, and no hooks.
func gitCommand(ctx context.Context, path string, args ...string) (*exec.Cmd, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoGit, err)
	}
	cmd := exec.CommandContext(ctx, program, append([]string{
		"-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "pack.threads=1",
	}, args...)...)
	cmd.Dir = path
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "LC_ALL=C", "GIT_DIR=.",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}
