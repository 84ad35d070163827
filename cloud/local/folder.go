package local

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gostratos/stratos/cloud"
)

// folder is an instance's folder, absolute.
type folder string

func (f folder) name() string            { return filepath.Base(string(f)) }
func (f folder) path(file string) string { return filepath.Join(string(f), file) }

// volumes is where the volumes of all instances of the driver are; they outlive
// the instances.
func (f folder) volumes() string {
	return filepath.Join(filepath.Dir(filepath.Dir(string(f))), "volumes")
}

// claim is spec.json: the request that the folder was made for, without the
// user-data, which has a file of its own.
type claim struct {
	Token     string            `json:"token"`
	Request   string            `json:"request"` // digest of all of the request
	Partition string            `json:"partition,omitempty"`
	Tags      map[string]string `json:"tags"`
	Launched  time.Time         `json:"launched"`

	// Where and how, as the driver that made the claim has it; whoever starts
	// the agent does it like this.
	Address string   `json:"address,omitempty"` // empty: 127.0.0.1
	Wrap    []string `json:"wrap,omitempty"`
}

// instanceFolder returns the folder of a name. ok is false if there can be
// none: a name is one plain path segment.
func instanceFolder(root, name string) (f folder, ok bool) {
	if !validName(name) {
		return "", false
	}
	return folder(filepath.Join(root, "instances", name)), true
}

// validName reports whether name is 1 to 128 letters, digits, dots, hyphens
// and underscores, beginning with a letter or digit.
func validName(name string) bool {
	if name == "" || len(name) > 128 || strings.ContainsAny(name[:1], ".-_") {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// digest identifies a request: all of it, so that a token stands for nothing else.
func digest(s cloud.Spec) (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// claim reads spec.json. The error is fs.ErrNotExist if there is no such
// instance, and only then.
func (f folder) claim() (claim, error) {
	b, err := os.ReadFile(f.path("spec.json"))
	if errors.Is(err, fs.ErrNotExist) {
		// A folder is renamed away and another one into its place, whole: one
		// that has none at the second look is no instance's.
		b, err = os.ReadFile(f.path("spec.json"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Lstat(string(f)); errors.Is(gone, fs.ErrNotExist) {
			return claim{}, fmt.Errorf("instance %s: %w", f.name(), fs.ErrNotExist)
		}
		return claim{}, fmt.Errorf("%s is no instance's folder (it has no spec.json): move it away", f)
	}
	if err != nil {
		return claim{}, err
	}
	var c claim
	if err := json.Unmarshal(b, &c); err != nil {
		return claim{}, fmt.Errorf("%s is damaged (%w): move the folder away", f.path("spec.json"), err)
	}
	return c, nil
}

// make writes the folder's first files: all that an agent needs.
func (f folder) make(c claim, userData []byte) error {
	spec, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	if err := writeFile(f.path("spec.json"), spec); err != nil {
		return err
	}
	if err := writeFile(f.path("user-data"), userData); err != nil {
		return err
	}
	if err := writeFile(f.path("lock"), nil); err != nil {
		return err
	}
	return syncDir(string(f))
}

// agent reads pid.json, which the agent writes once it holds the lock. ok is
// false if none ever did.
func (f folder) agent() (p process, ok bool, err error) {
	b, err := os.ReadFile(f.path("pid.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return process{}, false, nil
	}
	if err != nil {
		return process{}, false, err
	}
	if json.Unmarshal(b, &p) != nil {
		// It is renamed into place, so it can be torn by nothing but a crash of
		// the machine: a process of another boot, like the zero value.
		return process{}, true, nil
	}
	return p, true, nil
}

// ending returns since when the instance is asked to end; ok is false if it is not.
func (f folder) ending() (since time.Time, ok bool, err error) {
	i, err := os.Lstat(f.path("terminate"))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, err
	}
	return i.ModTime(), true, nil
}

// end writes down that the instance shall end, once, and returns since when.
func (f folder) end() (since time.Time, err error) {
	w, err := os.OpenFile(f.path("terminate"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = w.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return time.Time{}, err
	}
	i, err := os.Lstat(f.path("terminate"))
	if err != nil {
		return time.Time{}, err
	}
	return i.ModTime(), nil
}

// instance is what the folder says.
func (f folder) instance(c claim) (cloud.Instance, error) {
	state, err := f.state()
	if err != nil {
		return cloud.Instance{}, fmt.Errorf("instance %s: %w", f.name(), err)
	}
	return c.instance(f.name(), state), nil
}

// state is Pending until an agent took the lock: such a claim can still be
// launched, and must be seen to be terminated. Then the agent's life is the
// instance's.
func (f folder) state() (cloud.InstanceState, error) {
	p, started, err := f.agent()
	if err != nil {
		return "", err
	}
	if !started {
		// Not Pending if the folder went away before pid.json was looked for.
		_, err := os.Lstat(f.path("spec.json"))
		return cloud.Pending, err
	}
	held, err := locked(f.path("lock"))
	if err != nil {
		return "", err
	}
	alive, err := p.alive()
	if err != nil {
		return "", err
	}
	if held && alive {
		return cloud.Running, nil
	}
	return cloud.Gone, nil
}

// loopback is where instances are reached unless the driver says otherwise.
const loopback = "127.0.0.1"

func (c claim) instance(name string, s cloud.InstanceState) cloud.Instance {
	return cloud.Instance{
		ID:        cloud.InstanceID(name),
		Name:      name,
		State:     s,
		Partition: c.Partition,
		Addresses: []string{cmp.Or(c.Address, loopback)},
		Tags:      c.Tags,
		Launched:  c.Launched,
	}
}
