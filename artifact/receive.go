package artifact

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"

	"github.com/gostratos/stratos/artifact/archive"
	"github.com/gostratos/stratos/store"
)

// The services of git's smart protocol (git's gitprotocol-http and
// gitprotocol-pack describe what is spoken here).
const (
	ReceivePack = "git-receive-pack" // git push
	UploadPack  = "git-upload-pack"  // git clone, git fetch
)

// Bounds of a push.
const (
	maxCommands   = 1000
	maxCommandLen = 1 << 20 // bytes of all commands
	maxRefName    = 200     // bytes
)

// keepAlive is how often who pushes hears something, so that nothing between
// takes the connection for dead.
const keepAlive = 5 * time.Second

// ErrNotLeading: pushes are received where the coordinator runs, and it does not here.
var ErrNotLeading = errors.New("this control plane does not lead just now")

// Advertise says what a hosted repository has to offer to a service, in the
// form of git's smart HTTP. version is what the client asks for with
// Git-Protocol, or empty.
func (c *Coordinator) Advertise(ctx context.Context, k Key, service, version string, out io.Writer) error {
	if service == UploadPack {
		return c.uploadPack(ctx, k, version, nil, out, "--http-backend-info-refs")
	}
	rec, err := c.hosted(ctx, k)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoGit, err)
	}
	adv := packp.NewAdvRefs()
	adv.Prefix = [][]byte{[]byte("# service=" + service), pktline.Flush}
	adv.References = rec.Value.refs().names
	for _, able := range []capability.Capability{capability.ReportStatus, capability.DeleteRefs, capability.OFSDelta, capability.Sideband64k, capability.Atomic, capability.Quiet} {
		if err := adv.Capabilities.Set(able); err != nil {
			return err
		}
	}
	if err := adv.Capabilities.Set(capability.Agent, "stratos"); err != nil {
		return err
	}
	return adv.Encode(out)
}

// Upload answers a fetch from a hosted repository; in is the body of the request.
func (c *Coordinator) Upload(ctx context.Context, k Key, version string, in io.Reader, out io.Writer) error {
	return c.uploadPack(ctx, k, version, in, out)
}

// uploadPack runs git upload-pack. It reads only what is there when it starts
// and what nobody removes but tidy, which git is made for.
func (c *Coordinator) uploadPack(ctx context.Context, k Key, version string, in io.Reader, out io.Writer, args ...string) error {
	err := c.withCache(ctx, k, func(string, store.Record[HostedRepository]) error { return nil })
	if err != nil {
		return err
	}
	cmd, err := gitCommand(ctx, c.mirror(k), slices.Concat([]string{"upload-pack", "--stateless-rpc", "--strict"}, args, []string{"."})...)
	if err != nil {
		return err
	}
	if strings.HasPrefix(version, "version=") && len(version) < 20 {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+version)
	} else if in == nil { // which version 2 does without
		if _, err := io.WriteString(out, "001e# service="+UploadPack+"\n0000"); err != nil {
			return err
		}
	}
	var said tail
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &said
	if err := cmd.Run(); err != nil {
		return &gitError{command: "upload-pack", said: clip(strings.TrimSpace(said.text())), err: err}
	}
	return nil
}

// Receive takes a push to a hosted repository: in is the body of the request
// of git's smart HTTP, out gets the answer, of which there is some from the
// first byte of in on. Pushes to one repository are received one after another.
//
// A push that moves what the subscription follows is a release: it is built
// and put to work first, and refused if it does not come up. Then nothing has
// changed. What a pusher is told was accepted is in the store and in Blobs.
// That is said in the answer; an error returned says that there is none.
func (c *Coordinator) Receive(ctx context.Context, k Key, in io.Reader, out io.Writer) error {
	c.mu.Lock()
	r, wish := c.run, c.wishes[k]
	c.mu.Unlock()
	switch {
	case r == nil:
		return ErrNotLeading
	case wish.URL != Hosted:
		return fmt.Errorf("%w: no repository is kept here for %s", ErrNoRepository, k)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)() // another one leads then
	body := bufio.NewReader(in)
	req := packp.NewReferenceUpdateRequest()
	if first, err := body.Peek(4); err == nil && string(first) == "0000" {
		return nil // git asks like this whether it may push
	}
	if err := req.Decode(io.LimitReader(body, maxCommandLen)); err != nil {
		return fmt.Errorf("%w: %w", ErrPush, err)
	}
	x := &receiving{run: r, key: k, body: body, req: req}
	x.answer = answerTo(req, out)
	stop := x.answer.keepAlive()
	err := x.receive(ctx)
	stop()
	if err := x.answer.report(req, x.explain(ctx, err)); err != nil {
		c.log().Warn("a pusher does not know what became of the push", "key", k, "error", err)
	}
	return nil
}

// ErrPush: what was sent is not a push.
var ErrPush = errors.New("that is not a push of git")

// receiving is one push on its way.
type receiving struct {
	*run
	key    Key
	body   *bufio.Reader
	req    *packp.ReferenceUpdateRequest
	answer *pushAnswer
	rec    store.Record[HostedRepository]
	next   HostedRepository
	pack   string // what was received; empty: nothing
}

// explain keeps from the pusher what is none of his business.
func (x *receiving) explain(ctx context.Context, err error) error {
	var refused *gitError
	var unknown *store.UnknownError
	switch {
	case errors.As(err, &unknown):
		x.log().Error("whether a push was recorded is not known", "key", x.key, "error", err)
		return errors.New("it is not known whether it was taken: git fetch tells")
	case err == nil, errors.Is(err, ErrRelease), errors.Is(err, archive.ErrRefused), errors.As(err, &refused):
		return err
	case ctx.Err() == nil:
		x.log().Error("a push could not be taken", "key", x.key, "error", err)
	}
	return errors.New("the platform could not take it, and nothing has changed: push again")
}

func (x *receiving) receive(ctx context.Context) (err error) {
	leave, err := x.turn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	path := x.mirror(x.key)
	if err := unsynced(path); err != nil { // what somebody left who was killed goes now
		return err
	}
	err = x.withCache(ctx, x.key, func(_ string, rec store.Record[HostedRepository]) error {
		x.rec = rec
		x.setPush(x.key, &push{})
		return nil
	})
	if err != nil {
		return err
	}
	defer x.setPush(x.key, nil)
	kept := false
	defer func() {
		if kept {
			return
		}
		if rerr := removeStrangers(packFolder(path), x.rec.Value); rerr != nil {
			x.log().Warn("what was refused stays until the next push", "key", x.key, "error", rerr)
		}
	}()
	if err := x.index(ctx, path); err != nil {
		return err
	}
	if err := x.apply(ctx, path); err != nil {
		return err
	}
	if err := x.release(ctx, path); err != nil {
		return err
	}
	var packs []string
	if x.pack != "" && !x.rec.Value.has(x.pack) {
		packs = []string{x.pack}
	}
	rec := x.rec
	rec.Value = x.next
	if err := x.keep(ctx, x.key, rec, packs); err != nil {
		return fmt.Errorf("record the push: %w", err)
	}
	kept = true
	x.log().Info("push accepted", "key", x.key, "refs", len(x.req.Commands))
	return nil
}

// turn waits until nobody else pushes.
func (x *receiving) turn(ctx context.Context) (leave func(), err error) {
	h := x.hosting(x.key)
	select {
	case h.turn <- struct{}{}:
		return func() { <-h.turn }, nil
	default:
		fmt.Fprintln(x.answer, "another push to this repository is under way: waiting for its end")
		return enter(ctx, h.turn)
	}
}

// index takes the pack in, if there is one.
func (x *receiving) index(ctx context.Context, path string) error {
	if _, err := x.body.Peek(1); err == io.EOF {
		return nil // nothing new: a branch is deleted, or set to what is there
	} else if err != nil {
		return err
	}
	checked := checkPack(x.body)
	name, err := indexPack(ctx, path, checked, DefaultMaxPack)
	if looked := checked.close(); errors.Is(looked, ErrRelease) {
		return looked
	}
	if err != nil {
		return err
	}
	x.pack = name
	file, err := os.Stat(filepath.Join(packFolder(path), name+".pack"))
	if err != nil {
		return err
	}
	if most := cmp.Or(x.HostedQuota, DefaultHostedQuota); x.rec.Value.size()+file.Size() > most {
		return fmt.Errorf("%w: the repository would take more than %d bytes: keep large files elsewhere, and begin with a new one", ErrRelease, most)
	}
	return nil
}

// apply does what the commands say to a copy of the record, and checks that
// all that it then names is there.
func (x *receiving) apply(ctx context.Context, path string) error {
	if len(x.req.Commands) > maxCommands {
		return fmt.Errorf("%w: more than %d branches and tags in one push", ErrRelease, maxCommands)
	}
	x.next = x.rec.Value.clone()
	var tips bytes.Buffer
	for _, cmd := range x.req.Commands {
		if err := x.command(ctx, path, cmd); err != nil {
			return err
		}
		if !cmd.New.IsZero() {
			fmt.Fprintln(&tips, cmd.New)
		}
	}
	if x.pack != "" || tips.Len() > 0 {
		// Whether a history is whole is for git to say.
		if _, err := runGit(ctx, path, &tips, "rev-list", "--objects", "--quiet", "--stdin", "--not", "--all"); err != nil {
			return fmt.Errorf("%w: what was pushed is not whole (from a shallow clone: git fetch --unshallow first): %w", ErrRelease, err)
		}
	}
	x.next.setHead(x.req.Commands)
	if op, err := store.NewRecord(x.rec.Key, x.next).Put(); err != nil || len(op.Value) > store.MaxValueBytes/2 {
		return errors.Join(err, fmt.Errorf("%w: too many branches and tags: delete some", ErrRelease))
	}
	return nil
}

// command does one command to the copy.
func (x *receiving) command(ctx context.Context, path string, cmd *packp.Command) error {
	name := cmd.Name.String()
	known := strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")
	if err := cmd.Name.Validate(); err != nil || !known || len(name) > maxRefName {
		return fmt.Errorf("%w: %q is not a branch or tag that can be kept here", ErrRelease, name)
	}
	now := x.next.Refs[name]
	if cmd.New.IsZero() {
		if now == "" {
			return fmt.Errorf("%w: %s cannot be deleted: there is none", ErrRelease, name)
		}
		delete(x.next.Refs, name)
		return nil
	}
	if was := cmd.Old.String(); now != "" && was != now {
		// Somebody else pushed meanwhile. What goes on from there loses nothing.
		if _, err := runGit(ctx, path, nil, "merge-base", "--is-ancestor", now, cmd.New.String()); err != nil {
			return fmt.Errorf("%w: %s has changed meanwhile: fetch first", ErrRelease, name)
		}
	}
	if strings.HasPrefix(name, "refs/heads/") {
		l, err := openBare(path)
		if err != nil {
			return err
		}
		if _, err := l.repo.CommitObject(cmd.New); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrRelease, name, l.explain(cmd.New, err))
		}
	}
	x.next.Refs[name] = cmd.New.String()
	return nil
}

// setHead chooses the default branch of a repository that has none yet: main,
// or master, or what was pushed first.
func (h *HostedRepository) setHead(commands []*packp.Command) {
	if h.Refs[h.Head] != "" {
		return
	}
	for _, name := range []string{"refs/heads/main", "refs/heads/master"} {
		if h.Refs[name] != "" {
			h.Head = name
			return
		}
	}
	for _, cmd := range commands {
		if name := cmd.Name.String(); strings.HasPrefix(name, "refs/heads/") && h.Refs[name] != "" {
			h.Head = name
			return
		}
	}
}

// release has the pushed revision served, if what the subscription follows
// moves with this push.
func (x *receiving) release(ctx context.Context, path string) error {
	x.mu.Lock()
	ref := x.wishes[x.key].Ref
	x.mu.Unlock()
	if isHash(ref) {
		return nil // it stays at a commit
	}
	before, _ := x.rec.Value.refs().find(ref)
	after, err := x.next.refs().find(ref)
	switch {
	case err != nil && !before.IsZero():
		return fmt.Errorf("%w: %s is what the subscription runs: it cannot be deleted; let it follow another branch first", ErrRelease, strings.TrimPrefix(x.rec.Value.followed(ref), "refs/heads/"))
	case err != nil:
		fmt.Fprintf(x.answer, "kept; what runs is not touched: it follows %s\n", x.next.followed(ref))
		return nil
	case before == after:
		return nil
	}
	l, err := openBare(path)
	if err != nil {
		return err
	}
	commit, err := l.peel(after)
	if err != nil {
		return err
	}
	x.setPush(x.key, &push{ref: ref, revision: commit.String(), log: x.answer})
	fmt.Fprintf(x.answer, "making a release of %s\n", commit)
	repo, err := x.Synchronise(ctx, x.key)
	if err != nil {
		return err
	}
	if repo.Error != "" {
		return &refusedError{errors.New(repo.Error)}
	}
	rel, err := store.Read[Release](ctx, x.Store, ReleaseKey(x.key, commit.String()))
	switch {
	case err != nil:
		return err
	case repo.Head != commit.String():
		return fmt.Errorf("%w: the subscription follows something else by now: push again", ErrRelease)
	case rel.Value.State != Built:
		return &refusedError{errors.New(rel.Value.Reason)}
	case x.Admit == nil:
		return nil
	}
	err = x.Admit(ctx, x.key, commit.String(), x.answer)
	if err == nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return &refusedError{err}
}

// followed is the full name of what a wish follows.
func (h HostedRepository) followed(ref string) string {
	switch {
	case ref == "":
		return h.Head
	case strings.HasPrefix(ref, "refs/"):
		return ref
	}
	return "refs/heads/" + ref
}

// pushAnswer is what a pusher hears: progress, and at the end what became of
// it. It may be written to concurrently; what nobody hears any more is dropped.
type pushAnswer struct {
	mu    sync.Mutex
	out   io.Writer
	muxer *sideband.Muxer // nil: the client wants no progress
	ended bool
	err   error // of the connection
}

func answerTo(req *packp.ReferenceUpdateRequest, out io.Writer) *pushAnswer {
	a := &pushAnswer{out: out}
	if req.Capabilities.Supports(capability.Sideband64k) {
		a.muxer = sideband.NewMuxer(sideband.Sideband64k, out)
	}
	return a
}

// Write shows text to the pusher. It never fails: whether the connection is
// there is for the end to say.
func (a *pushAnswer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.muxer != nil && !a.ended && a.err == nil {
		_, a.err = a.muxer.WriteChannel(sideband.ProgressMessage, p)
	}
	return len(p), nil
}

// keepAlive says nothing, again and again, until stop is called.
func (a *pushAnswer) keepAlive() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(keepAlive)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				a.beat()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (a *pushAnswer) beat() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.muxer != nil && a.err == nil {
		a.err = pktline.NewEncoder(a.out).Encode([]byte{byte(sideband.ProgressMessage)})
	}
}

// report says what became of the push, to all of it alike, and ends the answer.
func (a *pushAnswer) report(req *packp.ReferenceUpdateRequest, why error) error {
	if why != nil {
		fmt.Fprintf(a, "refused: %s\n", why)
	}
	status := packp.NewReportStatus()
	status.UnpackStatus = "ok"
	for _, cmd := range req.Commands {
		s := &packp.CommandStatus{ReferenceName: cmd.Name, Status: "ok"}
		if why != nil {
			s.Status = firstLine(why.Error())
		}
		status.CommandStatuses = append(status.CommandStatuses, s)
	}
	var text bytes.Buffer
	if req.Capabilities.Supports(capability.ReportStatus) {
		if err := status.Encode(&text); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.muxer == nil {
		_, err := a.out.Write(text.Bytes())
		return errors.Join(a.err, err)
	}
	if a.err == nil {
		_, a.err = a.muxer.WriteChannel(sideband.PackData, text.Bytes())
	}
	if a.err == nil {
		a.err = pktline.NewEncoder(a.out).Flush()
	}
	return a.err
}

// firstLine is what fits where git wants one short line.
func firstLine(s string) string {
	const most = 200
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
