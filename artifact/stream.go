package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// stream is a conversation over one connection: git or ssh. go-git's own
// clients connect without a context and would sign in with the keys of
// whoever runs the platform; this one does neither.
type stream struct {
	in     io.Writer
	out    io.Reader
	closer func() error
	adv    *packp.AdvRefs
}

var _ transport.UploadPackSession = (*stream)(nil)

// dialStream connects. When ctx ends, so does the connection.
func dialStream(ctx context.Context, ep *transport.Endpoint, as Credentials) (*stream, error) {
	port := ep.Port
	if port == 0 {
		port = map[string]int{"git": 9418, "ssh": 22}[ep.Protocol]
	}
	address := net.JoinHostPort(strings.Trim(ep.Host, "[]"), strconv.Itoa(port))
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { conn.Close() }) // wakes whoever reads or writes
	s := &stream{closer: func() error { release(); return conn.Close() }}
	if ep.Protocol == "git" {
		err = s.startGit(conn, ep, address)
	} else {
		err = s.startSSH(conn, ep, address, as)
	}
	if err != nil {
		s.Close() // the first error counts
		return nil, err
	}
	return s, nil
}

func (s *stream) startGit(conn net.Conn, ep *transport.Endpoint, address string) error {
	s.in, s.out = conn, conn
	req := packp.GitProtoRequest{RequestCommand: transport.UploadPackServiceName, Pathname: ep.Path, Host: address}
	return req.Encode(conn)
}

// startSSH signs in with the credentials' key, or with nothing at all, once the
// host has proved who it is.
func (s *stream) startSSH(conn net.Conn, ep *transport.Endpoint, address string, as Credentials) error {
	files, remove, err := as.knownHosts()
	if err != nil {
		return err
	}
	hosts, err := gitssh.NewKnownHostsDb(files...)
	if err := errors.Join(err, remove()); err != nil {
		return fmt.Errorf("read known_hosts (make one with ssh-keyscan): %w", err)
	}
	key, err := as.signer()
	if err != nil {
		return err
	}
	var auth []ssh.AuthMethod
	if key != nil {
		auth = append(auth, ssh.PublicKeys(key))
	}
	user := ep.User
	if user == "" {
		user = gitssh.DefaultUsername
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User:              user,
		Auth:              auth,
		HostKeyCallback:   hosts.HostKeyCallback(),
		HostKeyAlgorithms: hosts.HostKeyAlgorithms(address),
	})
	if err != nil {
		return hostKeyAdvice(address, err)
	}
	client := ssh.NewClient(c, channels, requests)
	closeConn := s.closer
	s.closer = func() error { return errors.Join(ignoreClosed(client.Close()), ignoreClosed(closeConn())) }
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	if s.in, err = session.StdinPipe(); err != nil {
		return err
	}
	if s.out, err = session.StdoutPipe(); err != nil {
		return err
	}
	return session.Start(transport.UploadPackServiceName + " " + quote(ep.Path))
}

// hostKeyAdvice adds to an error what the operator has to do about it.
func hostKeyAdvice(address string, err error) error {
	var key *knownhosts.KeyError
	switch {
	case !errors.As(err, &key):
		return err
	case len(key.Want) == 0:
		return fmt.Errorf("%w: the operator may add the key of %s with ssh-keyscan, after comparing it", err, address)
	}
	return fmt.Errorf("%w: %s has another key than known_hosts, or the credentials' host keys, say: find out why before you change it there", err, address)
}

// quote makes one word of a path for the remote's shell.
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// AdvertisedReferences reads what the remote has.
func (s *stream) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(context.Background())
}

// AdvertisedReferencesContext reads what the remote has, once. The context
// that counts is the one the stream was dialled with.
func (s *stream) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	if s.adv != nil {
		return s.adv, nil
	}
	adv := packp.NewAdvRefs()
	err := adv.Decode(&bounded{r: s.out, left: maxAdvert})
	var refused *pktline.ErrorLine
	switch {
	case errors.As(err, &refused):
		return nil, fmt.Errorf("%w: %w", transport.ErrRepositoryNotFound, err)
	case errors.Is(err, packp.ErrEmptyInput):
		return nil, transport.ErrRepositoryNotFound // it hung up, having said why to nobody
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && adv.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case err != nil:
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(adv.Capabilities)
	s.adv = adv
	return adv, nil
}

// UploadPack asks for objects. The answer is to be read and closed.
func (s *stream) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if req.IsEmpty() {
		return nil, transport.ErrEmptyUploadPackRequest
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := req.UploadRequest.Encode(s.in); err != nil {
		return nil, err
	}
	// No flush after the haves: it would ask for an answer to them alone.
	if err := req.UploadHaves.Encode(s.in, false); err != nil {
		return nil, err
	}
	if err := pktline.NewEncoder(s.in).EncodeString("done\n"); err != nil {
		return nil, err
	}
	res := packp.NewUploadPackResponse(req)
	if err := res.Decode(io.NopCloser(s.out)); err != nil {
		return nil, err
	}
	return res, nil
}

// Close ends the conversation.
func (s *stream) Close() error { return ignoreClosed(s.closer()) }

// ignoreClosed forgives that a connection was closed before.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
