package api

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

// gitPath is where hosted repositories are: below it, a tenant and an alias
// with ".git".
const gitPath = "/git/"

const (
	// pushPatience is how long a push may take altogether.
	pushPatience = 2 * time.Hour
	// maxNegotiation bounds what a client says about what it has, bytes.
	maxNegotiation = 16 << 20
)

// errNoPushToken is errUnauthorized for git, which asks for a user and a password.
var errNoPushToken = errors.New(`a password is needed: "stratos repository show" prints the one of this repository; any user name will do`)

func (s *Server) gitRoutes(mux *http.ServeMux, subscription string) {
	repository := gitPath + "{tenant}/{repository}"
	mux.Handle("GET "+repository+"/info/refs", s.led(s.git(s.advertise)))
	mux.Handle("POST "+repository+"/"+artifact.ReceivePack, duplex(s.led(s.git(s.receivePack))))
	mux.Handle("POST "+repository+"/"+artifact.UploadPack, s.led(s.git(s.uploadPack)))
	mux.Handle("GET "+subscription+"/repository", s.admin(s.showRepository))
	mux.Handle("POST "+subscription+"/repository/renew", s.admin(s.renewRepository))
}

// duplex lets an answer begin before the end of the request: who pushes reads
// what becomes of it while it is sent.
func duplex(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// HTTP/2 has no other way, and says that it cannot be told.
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// git lets in who knows the password of the repository, or an administrator's
// token. Others do not learn which repositories there are.
func (s *Server) git(h func(http.ResponseWriter, *http.Request, artifact.Key) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k := artifact.Key{Tenant: r.PathValue("tenant"), Alias: strings.TrimSuffix(r.PathValue("repository"), ".git")}
		err := s.mayUse(r, k)
		if err == nil {
			err = h(w, r, k)
		}
		if errors.Is(err, errNoPushToken) {
			w.Header().Set("WWW-Authenticate", `Basic realm="stratos"`)
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *Server) mayUse(r *http.Request, k artifact.Key) error {
	_, password, ok := r.BasicAuth()
	if !ok || password == "" {
		return errNoPushToken
	}
	ctx, cancel := context.WithTimeout(r.Context(), storePatience)
	defer cancel()
	secret, err := s.Platform.PushSecret(ctx, tenant.ID(k.Tenant), k.Alias)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, ErrRepository) {
		return err
	}
	if err == nil && subtle.ConstantTimeCompare([]byte(secret), []byte(password)) == 1 {
		return nil
	}
	kind, err := s.kindOf(ctx, password)
	if errors.Is(err, errUnauthorized) || err == nil && kind != tenant.TokenAdmin {
		return errNoPushToken
	}
	return err
}

func (s *Server) advertise(w http.ResponseWriter, r *http.Request, k artifact.Key) error {
	service := r.URL.Query().Get("service")
	if service != artifact.ReceivePack && service != artifact.UploadPack {
		return fmt.Errorf("%w: only git's smart protocol is spoken here: update git", errBadRequest)
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	out := &late{w: w, kind: "application/x-" + service + "-advertisement"}
	return out.end(s.Artifacts.Advertise(ctx, k, service, r.Header.Get("Git-Protocol"), out))
}

func (s *Server) receivePack(w http.ResponseWriter, r *http.Request, k artifact.Key) error {
	if err := isGit(r, artifact.ReceivePack); err != nil {
		return err
	}
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(pushPatience)); err != nil {
		return err
	}
	defer conn.SetReadDeadline(time.Time{}) // an error shows at the next read
	ctx, cancel := context.WithTimeout(r.Context(), pushPatience)
	defer cancel()
	out := &late{w: w, kind: "application/x-" + artifact.ReceivePack + "-result", flush: conn.Flush}
	return out.end(s.Artifacts.Receive(ctx, k, r.Body, out))
}

func (s *Server) uploadPack(w http.ResponseWriter, r *http.Request, k artifact.Key) error {
	if err := isGit(r, artifact.UploadPack); err != nil {
		return err
	}
	var body io.Reader = http.MaxBytesReader(w, r.Body, maxNegotiation)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(bufio.NewReader(body))
		if err != nil {
			return fmt.Errorf("%w: %w", errBadRequest, err)
		}
		body = io.LimitReader(unzipped, maxNegotiation)
	}
	out := &late{w: w, kind: "application/x-" + artifact.UploadPack + "-result"}
	return out.end(s.Artifacts.Upload(r.Context(), k, r.Header.Get("Git-Protocol"), body, out))
}

// isGit refuses what no git sends: a page in a browser, for one.
func isGit(r *http.Request, service string) error {
	if got := r.Header.Get("Content-Type"); got != "application/x-"+service+"-request" {
		return fmt.Errorf("%w: Content-Type is %q", errBadRequest, got)
	}
	return nil
}

// late is an answer whose header is sent with its first bytes, so that it can
// be an error until then.
type late struct {
	w     http.ResponseWriter
	kind  string
	flush func() error // after every write. Default: not at all
	begun bool
}

func (l *late) Write(p []byte) (int, error) {
	l.begin()
	n, err := l.w.Write(p)
	if err == nil && l.flush != nil {
		err = l.flush()
	}
	return n, err
}

func (l *late) begin() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", l.kind)
		l.w.Header().Set("Cache-Control", "no-cache")
	}
}

// end ends an answer. One that fails after it began is cut off, for the client
// to see that it is not whole.
func (l *late) end(err error) error {
	switch {
	case err == nil:
		l.begin()
	case l.begun:
		panic(http.ErrAbortHandler)
	}
	return err
}

func (s *Server) showRepository(w http.ResponseWriter, r *http.Request) error {
	t, alias := r.PathValue("tenant"), r.PathValue("alias")
	secret, err := s.Platform.PushSecret(r.Context(), tenant.ID(t), alias)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	s.reply(w, map[string]string{"path": gitPath + url.PathEscape(t) + "/" + url.PathEscape(alias) + ".git", "user": alias, "password": secret})
	return nil
}

func (s *Server) renewRepository(w http.ResponseWriter, r *http.Request) error {
	if err := s.Platform.RenewPushSecret(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
