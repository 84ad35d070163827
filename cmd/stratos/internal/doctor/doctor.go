// Package doctor looks at a machine that is to run a platform, and at what
// several of them share, and says what is there, what is missing, and the cure.
//
// It changes nothing: what it has to try (a file in the data folder, a listen
// on an address, a control group) is taken back at once. A finding that stops a platform is
// [Fail]; one that takes something away from it, or from its safety, is [Warn].
package doctor

import (
	"cmp"
	"context"
	"net"
	"os"
	"time"

	"github.com/gostratos/stratos/artifact/s3"
	"github.com/gostratos/stratos/internal/confine"
	"github.com/gostratos/stratos/store/etcd"
)

// Status is how bad a finding is.
type Status string

// The statuses.
const (
	OK   Status = "ok"
	Warn Status = "warn" // a platform runs, but something does not, or not safely
	Fail Status = "fail" // a platform does not run
)

// Finding is what one check found.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Cure   string `json:"cure,omitempty"` // what to do; empty if all is well
}

// Doctor examines this machine. The zero value works: it looks for what a
// platform with the default configuration needs.
type Doctor struct {
	Dir    string // data folder. Default: stratos.data
	Listen string // the balancer's address; "none": it has none. Default: 127.0.0.1:8000
	API    string // the control plane's address. Default: 127.0.0.1:8080
	Domain string // Default: localhost

	Etcd         *etcd.Config  // where records are. Default: in a file in Dir
	Bucket       *s3.Blobs     // where releases are. Default: in a folder in Dir
	MasterKey    string        // its file. Default: none is needed
	Certificates []Certificate // whose ends are looked at. Default: none

	Path      string                                                   // folders of programs. Default: PATH, then those of servers
	Abilities *confine.Abilities                                       // to keep builds apart. Default: what this machine can do
	Lookup    func(ctx context.Context, host string) ([]string, error) // resolves names. Default: the system's way
	Now       time.Time                                                // Default: now
}

// Examine makes all checks, in the order in which they are read. It takes
// seconds at most; ctx ends what may take longer.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	e := *d
	e.setDefaults()
	found := e.programs()
	data, running := e.data()
	found = append(found, data...)
	found = append(found, openFiles(), isolation(os.Getuid()), builds(*e.Abilities))
	found = append(found, e.balancer(running), e.address("API address", "api", e.API, running))
	found = append(found, e.names(ctx), clock(e.Now))
	return append(found, e.several(ctx)...)
}

// Failed reports whether some finding stops a platform.
func Failed(found []Finding) bool {
	for _, f := range found {
		if f.Status == Fail {
			return true
		}
	}
	return false
}

func (d *Doctor) setDefaults() {
	d.Dir = cmp.Or(d.Dir, "stratos.data")
	d.Listen = cmp.Or(d.Listen, "127.0.0.1:8000")
	d.API = cmp.Or(d.API, "127.0.0.1:8080")
	d.Domain = cmp.Or(d.Domain, "localhost")
	d.Path = cmp.Or(d.Path, os.Getenv("PATH")+":/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
	if d.Abilities == nil {
		a := confine.Probe()
		d.Abilities = &a
	}
	if d.Lookup == nil {
		d.Lookup = net.DefaultResolver.LookupHost
	}
	if d.Now.IsZero() {
		d.Now = time.Now()
	}
}

// balancer checks the address where requests are taken.
func (d *Doctor) balancer(running bool) Finding {
	const check = "balancer address"
	if d.Listen == "none" {
		return Finding{Check: check, Status: OK, Detail: "none: balancers are processes of their own"}
	}
	return d.address(check, "listen", d.Listen, running)
}

// lookupTimeout bounds the look-up of a name.
const lookupTimeout = 3 * time.Second

// names checks that browsers and programs find the subscriptions by name.
func (d *Doctor) names(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	host := "stratos-doctor." + d.Domain
	f := Finding{Check: "names", Cure: "make *." + d.Domain + " an address of this machine, or name the host in each request: curl -H 'Host: alias." + d.Domain + "' http://" + d.Listen + "/"}
	all, err := d.Lookup(ctx, host)
	if err != nil {
		f.Status, f.Detail = Warn, "*."+d.Domain+" does not resolve here (browsers know *.localhost all the same)"
		return f
	}
	if d.Domain == "localhost" {
		for _, a := range all {
			if ip := net.ParseIP(a); ip == nil || !ip.IsLoopback() {
				f.Status, f.Detail = Warn, "*.localhost resolves to "+a+", which is not this machine"
				return f
			}
		}
	}
	return Finding{Check: "names", Status: OK, Detail: "*." + d.Domain + " resolves"}
}
