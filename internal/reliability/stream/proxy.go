package stream

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"net/http"
	"sync"
)

// proxy passes requests on, and lies about the lines of the answers.
type proxy struct {
	origin    string
	share     float64
	hideSyncs bool

	mu              sync.Mutex
	random          *rand.Rand
	truthful        bool
	frames, mangled int
}

func newProxy(origin string, share float64, seed uint64, hideSyncs bool) *proxy {
	return &proxy{origin: origin, share: share, hideSyncs: hideSyncs, random: rand.New(rand.NewPCG(seed, 2))}
}

// lie begins the lies, or ends them.
func (p *proxy) lie(lies bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.truthful = !lies
}

func (p *proxy) counts() (frames, mangled int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frames, p.mangled
}

// What happens to a line.
type fate int

const (
	passed fate = iota
	dropped
	doubled
	swapped // with the next one
)

func (p *proxy) fate(line []byte) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.truthful {
		return passed
	}
	if p.hideSyncs && bytes.HasPrefix(line, []byte(`{"t":"sync"`)) {
		return dropped
	}
	p.frames++
	if p.random.Float64() >= p.share {
		return passed
	}
	p.mangled++
	return fate(1 + p.random.IntN(3))
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, p.origin+r.URL.RequestURI(), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, name := range []string{"Accept", "If-None-Match"} {
		req.Header[name] = r.Header[name]
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }() // only read
	w.Header()["Etag"] = resp.Header["Etag"]
	w.WriteHeader(resp.StatusCode)
	p.pass(w, bufio.NewReader(resp.Body))
}

// pass copies lines until either side ends.
func (p *proxy) pass(w http.ResponseWriter, from *bufio.Reader) {
	var held []byte
	for {
		line, err := from.ReadBytes('\n')
		if err != nil {
			return
		}
		var out []byte
		switch p.fate(line) {
		case dropped:
		case doubled:
			out = append(append(out, line...), line...)
		case swapped:
			if held == nil {
				held = line
				continue
			}
			out = line
		default:
			out = line
		}
		out = append(out, held...)
		held = nil
		if _, err := w.Write(out); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
	}
}
