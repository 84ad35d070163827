package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/tenant"
)

// setDefaults fills in what this package needs to know; the platform knows the
// other defaults.
func (f *File) setDefaults() {
	if f.Name == "" {
		f.Name = "stratos"
	}
	if len(f.Cartridges) == 0 {
		f.Cartridges = cartridgeNames()
	}
	if len(f.Accounts) == 0 {
		f.Accounts = []Account{{Name: "here"}}
	}
	for i := range f.Accounts {
		if f.Accounts[i].Driver == "" {
			f.Accounts[i].Driver = driverLocal
		}
	}
	for i := range f.Subscriptions {
		if f.Subscriptions[i].Tenant == "" {
			f.Subscriptions[i].Tenant = string(tenant.Default)
		}
	}
}

// check notes everything that cannot work.
func (f *File) check(p *problems) {
	p.add("name", tenant.CheckLabel("name", f.Name))
	if f.Listen != listenNone {
		p.add("listen", checkAddress(f.Listen))
	}
	p.add("api", checkAddress(f.API))
	f.checkSeveral(p)
	if f.Domain != "" {
		for part := range strings.SplitSeq(f.Domain, ".") {
			p.add("domain", tenant.CheckLabel("part of the domain", part))
		}
	}
	f.checkDurations(p)
	f.checkCartridges(p)
	f.checkAccounts(p)
	f.checkPolicies(p)
	f.checkSubscriptions(p)
}

// shortest is the shortest pause between two rounds of anything: less would
// keep the machine busy with itself.
const shortest = 100 * time.Millisecond

func (f *File) checkDurations(p *problems) {
	for _, d := range []struct {
		field string
		value Duration
		least time.Duration
	}{
		{"poll", f.Poll, shortest}, {"interval", f.Interval, shortest}, {"heartbeat", f.Heartbeat, shortest},
		{"boot", f.Boot, time.Second}, {"grace", f.Grace, time.Second}, {"drain", f.Drain, time.Millisecond},
	} {
		if d.value != 0 && time.Duration(d.value) < d.least {
			p.addf(d.field, "%v is too short: write %v or more, or leave it out", d.value, d.least)
		}
	}
}

// checkAddress checks a host:port; what is empty has a default.
func checkAddress(addr string) error {
	if addr == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is no address: write host:port, for example 127.0.0.1:8000", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no usable port: write a number from 1 to 65535", addr)
	}
	return nil
}

func (f *File) checkCartridges(p *problems) {
	for i, name := range f.Cartridges {
		field := fmt.Sprintf("cartridges[%d]", i)
		if cartridgeOf(name) == nil {
			p.addf(field, "there is no cartridge %q: write one of %s", name, strings.Join(cartridgeNames(), ", "))
		}
		if slices.Contains(f.Cartridges[:i], name) {
			p.addf(field, "%q is there twice: remove one", name)
		}
	}
}

func (f *File) checkAccounts(p *problems) {
	seen := map[string]bool{}
	for i, a := range f.Accounts {
		field := fmt.Sprintf("accounts[%d]", i)
		p.add(field+".name", tenant.CheckLabel("name", a.Name))
		if seen[a.Name] {
			p.addf(field+".name", "another account is named %q: choose another name", a.Name)
		}
		seen[a.Name] = true
		if a.Driver != driverLocal {
			p.addf(field+".driver", "there is no driver %q: write %s, or write a flavour in Go that imports the one you need", a.Driver, driverLocal)
		}
		checkPartitions(p, field, a.Partitions)
	}
}

func checkPartitions(p *problems, account string, all []Partition) {
	seen := map[string]bool{}
	for i, part := range all {
		field := fmt.Sprintf("%s.partitions[%d]", account, i)
		p.add(field+".name", tenant.CheckLabel("name", part.Name))
		if seen[part.Name] {
			p.addf(field+".name", "another partition of this account is named %q: choose another name", part.Name)
		}
		seen[part.Name] = true
		if part.Max < 0 {
			p.addf(field+".max", "%d is negative: write the most members, or 0 for no limit", part.Max)
		}
	}
}

func (f *File) checkPolicies(p *problems) {
	for _, name := range slices.Sorted(maps.Keys(f.Policies)) {
		field := child("policies", name)
		if name != "" {
			p.add(field, tenant.CheckLabel("name", name))
		}
		policy := f.Policies[name].value()
		if policy == nil {
			p.addf(field, `no kind of policy: write "inFlight: {}", with or without fields in the braces`)
			continue
		}
		// A policy says what is wrong with its settings before it looks for data.
		if _, err := policy.Recommend(&autoscale.Observation{}); err != nil && !errors.Is(err, autoscale.ErrNoData) {
			p.add(field+".inFlight", err)
		}
	}
}

func (f *File) checkSubscriptions(p *problems) {
	seen := map[artifact.Key]bool{}
	for i, s := range f.Subscriptions {
		field := fmt.Sprintf("subscriptions[%d]", i)
		p.add(field+".alias", tenant.CheckLabel("alias", s.Alias))
		p.add(field+".tenant", tenant.CheckLabel("tenant", s.Tenant))
		key := artifact.Key{Tenant: s.Tenant, Alias: s.Alias}
		if seen[key] {
			p.addf(field+".alias", "another subscription of tenant %s has the alias %q: choose another one", s.Tenant, s.Alias)
		}
		seen[key] = true
		switch {
		case s.Cartridge == "":
			p.addf(field+".cartridge", "is missing: write one of %s", strings.Join(f.Cartridges, ", "))
		case !slices.Contains(f.Cartridges, s.Cartridge):
			p.addf(field+".cartridge", "this platform has no cartridge %q: write one of %s", s.Cartridge, strings.Join(f.Cartridges, ", "))
		}
		if url := s.Repository.URL; url != "" && url != artifact.Hosted {
			p.add(field+".repository.url", artifact.CheckURL(s.Repository.URL))
		}
		if _, ok := f.Policies[s.Policy]; !ok && s.Policy != "" {
			p.addf(field+".policy", "there is no policy %q: write it down in policies, or leave this out", s.Policy)
		}
		if w := s.wish(); w.Min < 0 || w.Max < 1 || w.Min > w.Max {
			p.addf(field+".max", "%d to %d members are impossible: write 0 <= min <= max, and a max of at least 1", w.Min, w.Max)
		}
	}
}
