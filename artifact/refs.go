package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// refs is what a repository has to offer: names and what they stand for.
type refs struct {
	head   plumbing.Hash            // zero: there is none
	names  map[string]plumbing.Hash // full names: refs/heads/main
	peeled map[string]plumbing.Hash // of annotated tags, the commit
}

// advertised reads what a remote said about itself.
func advertised(a *packp.AdvRefs) refs {
	r := refs{names: a.References, peeled: a.Peeled}
	if a.Head != nil {
		r.head = *a.Head
	}
	return r
}

// find returns the commit that ref names: nothing or HEAD for the default
// branch, a branch, a tag, or a full name that begins with refs/.
func (r refs) find(ref string) (plumbing.Hash, error) {
	if ref == "" || ref == "HEAD" {
		if r.head.IsZero() {
			return r.head, fmt.Errorf("%w: it has no default branch: name a branch, or push one", ErrNoRef)
		}
		return r.head, nil
	}
	names := []string{"refs/heads/" + ref, "refs/tags/" + ref}
	if strings.HasPrefix(ref, "refs/") {
		names = []string{ref}
	}
	for _, name := range names {
		if h, ok := r.peeled[name]; ok {
			return h, nil
		}
		if h, ok := r.names[name]; ok {
			return h, nil
		}
	}
	return plumbing.ZeroHash, fmt.Errorf("%w: %q: %s", ErrNoRef, ref, r.advice(ref))
}

// advice says what could be meant instead of ref.
func (r refs) advice(ref string) string {
	if n := len(ref); n >= 7 && n < 40 && strings.Trim(strings.ToLower(ref), "0123456789abcdef") == "" {
		return "a commit needs all 40 digits of its hash"
	}
	var branches []string
	for name := range r.names {
		if b, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			branches = append(branches, b)
		}
	}
	const few = 5
	slices.Sort(branches)
	if len(branches) > few {
		branches = append(branches[:few], "...")
	}
	return "push it, or use one that exists: " + strings.Join(branches, ", ")
}

// want returns the object to ask a remote for in order to get a commit: the
// commit, or the annotated tag that stands for it, because remotes hand out
// only what they advertise. ok is false if no name stands for the commit.
func (r refs) want(commit plumbing.Hash) (h plumbing.Hash, ok bool) {
	if r.head == commit {
		return commit, true
	}
	for _, h := range r.names {
		if h == commit {
			return commit, true
		}
	}
	for name, h := range r.peeled {
		if h == commit {
			return r.names[name], true
		}
	}
	return plumbing.ZeroHash, false
}

// all returns everything that branches and tags stand for, and a fingerprint of it.
func (r refs) all() (wants []plumbing.Hash, fingerprint string) {
	sum := sha256.New()
	seen := map[plumbing.Hash]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.names)) {
		if !strings.HasPrefix(name, "refs/heads/") && !strings.HasPrefix(name, "refs/tags/") {
			continue
		}
		h := r.names[name]
		io.WriteString(sum, h.String()) // a hash never fails
		if !seen[h] {
			seen[h] = true
			wants = append(wants, h)
		}
	}
	return wants, hex.EncodeToString(sum.Sum(nil))
}

// isHash reports whether ref is a full commit hash.
func isHash(ref string) bool { return plumbing.IsHash(strings.ToLower(ref)) && len(ref) == 40 }
