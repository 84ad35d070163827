package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage"
)

// Bounds of what a remote may send, bytes.
const (
	maxAdvert = 64 << 20 // its refs
	maxReason = 64 << 10 // the page that comes with an HTTP error
)

// historyDepth is how many generations are fetched: enough for most pushes to
// find an ancestor in the mirror, few enough to be no burden.
const historyDepth = 50

// remote is a conversation with a repository: first it says what it has, then
// it may be asked for objects.
type remote struct {
	session transport.UploadPackSession
	adv     *packp.AdvRefs
	refs    refs
	// anyHash: it may be asked for every commit that it has, not only for what
	// it advertises. Over HTTP that has to be so, because between the two
	// requests the refs may have moved.
	anyHash bool
	maxPack int64
}

// dial reads what the repository has. The caller closes the remote.
func (g *Git) dial(ctx context.Context) (*remote, error) {
	maxPack := cmp.Or(g.MaxPack, DefaultMaxPack)
	ep, err := transport.NewEndpoint(g.URL)
	if err != nil {
		return nil, err
	}
	var s transport.UploadPackSession
	web := ep.Protocol == "http" || ep.Protocol == "https"
	if web {
		s, err = githttp.NewClient(g.client(maxPack)).NewUploadPackSession(ep, nil)
	} else {
		s, err = dialStream(ctx, ep, g.Credentials)
	}
	if err != nil {
		return nil, err
	}
	adv, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		s.Close() // the first error counts
		return nil, err
	}
	r := &remote{session: s, adv: adv, refs: advertised(adv), maxPack: maxPack}
	r.anyHash = web || adv.Capabilities.Supports(capability.AllowReachableSHA1InWant)
	return r, nil
}

func (r *remote) close() error { return r.session.Close() }

// fetchOne gets one commit and a little of its history, so that the next one
// has something in common with it: servers send what changed only between a
// commit and its ancestors. have names commits that are here already.
func (r *remote) fetchOne(ctx context.Context, into storage.Storer, want plumbing.Hash, have []plumbing.Hash) error {
	req := r.request(want)
	if !r.adv.Capabilities.Supports(capability.Shallow) {
		return r.receive(ctx, into, req)
	}
	shallow, err := into.Shallow()
	if err != nil {
		return &damagedError{err}
	}
	if err := req.Capabilities.Set(capability.Shallow); err != nil {
		return err
	}
	req.Depth, req.Shallows, req.Haves = packp.DepthCommits(historyDepth), shallow, have
	return r.receive(ctx, into, req)
}

// fetchAll gets commits with their whole history.
func (r *remote) fetchAll(ctx context.Context, into storage.Storer, wants []plumbing.Hash) error {
	if len(wants) == 0 {
		return nil
	}
	return r.receive(ctx, into, r.request(wants...))
}

func (r *remote) request(wants ...plumbing.Hash) *packp.UploadPackRequest {
	req := packp.NewUploadPackRequestFromCapabilities(r.adv.Capabilities)
	req.Wants = wants
	if r.adv.Capabilities.Supports(capability.NoProgress) {
		req.Capabilities.Set(capability.NoProgress) // fails only for capabilities with arguments
	}
	return req
}

// receive asks, and stores the answer: all of it or nothing.
func (r *remote) receive(ctx context.Context, into storage.Storer, req *packp.UploadPackRequest) error {
	res, err := r.session.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer res.Close() // everything was read, or there is an error already
	var pack io.Reader = res
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, res)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, res)
	}
	checked := checkPack(&bounded{r: pack, left: r.maxPack})
	err = packfile.UpdateObjectStorage(into, checked)
	if bad := checked.close(); errors.Is(bad, ErrRelease) {
		return bad
	}
	if err != nil {
		return err
	}
	// Whoever is killed before this claims to have more than there is; what is
	// missing then shows as damage when it is needed.
	return moveShallow(into, res.Shallows, res.Unshallows)
}

// moveShallow records where the history that is here begins now.
func moveShallow(into storage.Storer, begins, ends []plumbing.Hash) error {
	if len(begins)+len(ends) == 0 {
		return nil
	}
	old, err := into.Shallow()
	if err != nil {
		return &damagedError{err}
	}
	all := append(old, begins...)
	plumbing.HashesSort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(h plumbing.Hash) bool { return slices.Contains(ends, h) })
	return into.SetShallow(all)
}

// client is HTTP, with bounds on what it reads, and with the credentials.
func (g *Git) client(maxPack int64) *http.Client {
	client := g.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	c := *client
	c.Transport = &hostTransport{next: client.Transport, maxPack: maxPack, url: g.URL, credentials: g.Credentials}
	return &c
}

// hostTransport bounds the bodies of responses, and signs in at the host of url.
// go-git would sign in at every host that it is redirected to.
type hostTransport struct {
	next        http.RoundTripper // nil: http.DefaultTransport
	maxPack     int64
	url         string
	credentials Credentials
}

var _ http.RoundTripper = (*hostTransport)(nil)

// RoundTrip is one request, as http.RoundTripper wants it.
func (t *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	if t.credentials.Password != "" && t.own(req.URL) {
		req = req.Clone(req.Context()) // it is not a transport's to change
		req.SetBasicAuth(t.credentials.user(), t.credentials.Password)
	}
	res, err := next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	left := t.maxPack + maxAdvert // framing and acknowledgements come on top of the pack
	switch {
	case res.StatusCode >= 300:
		// The text of an error page is not needed, however long it is.
		res.Body = bodyOf{io.LimitReader(res.Body, maxReason), res.Body}
		return res, nil
	case strings.HasSuffix(req.URL.Path, "/info/refs"):
		left = maxAdvert
	}
	res.Body = bodyOf{&bounded{r: res.Body, left: left}, res.Body}
	return res, nil
}

// own reports whether a request goes where the credentials are for.
func (t *hostTransport) own(to *url.URL) bool {
	u, err := url.Parse(t.url)
	return err == nil && u.Scheme == to.Scheme && strings.EqualFold(u.Host, to.Host)
}

// bodyOf is a body with another way to read it.
type bodyOf struct {
	io.Reader
	io.Closer
}

// bounded fails when there is more to read than left.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("%w: the repository sends more than the platform takes: make it smaller", ErrRelease)
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
