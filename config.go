package stratos

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/tenant"
)

func (c Config) withDefaults() Config {
	c.Dir = cmp.Or(c.Dir, c.Name+".data")
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:8000")
	c.API = cmp.Or(c.API, "127.0.0.1:8080")
	scheme := "https://"
	if isLoopback(c.API) {
		scheme = "http://"
	}
	c.URL = cmp.Or(c.URL, scheme+c.API)
	if len(c.Replicas) == 0 {
		c.Replicas = []string{c.URL}
	}
	c.Domain = cmp.Or(c.Domain, "localhost")
	if c.ServicePorts == (PortRange{}) {
		c.ServicePorts = PortRange{First: 23000, Last: 23999}
	}
	c.Build.Time = cmp.Or(c.Build.Time, artifact.DefaultBuildTimeout)
	c.Build.CPU = cmp.Or(c.Build.CPU, 15*time.Minute)
	c.Build.Memory = cmp.Or(c.Build.Memory, 2<<30)
	c.Build.Disk = cmp.Or(c.Build.Disk, 4<<30)
	c.Build.Processes = cmp.Or(c.Build.Processes, 512)
	c.BuildUID = cmp.Or(c.BuildUID, 900000)
	c.Poll = cmp.Or(c.Poll, time.Minute)
	c.Interval = cmp.Or(c.Interval, 5*time.Second)
	c.Heartbeat = cmp.Or(c.Heartbeat, 15*time.Second)
	c.Boot = cmp.Or(c.Boot, 10*time.Minute)
	c.Policies = maps.Clone(c.Policies)
	if c.Policies == nil {
		c.Policies = map[string]autoscale.Policy{}
	}
	if c.Policies[""] == nil {
		c.Policies[""] = autoscale.InFlight{}
	}
	return c
}

// check refuses what cannot work, all of it at once.
func (c Config) check() error {
	errs := []error{tenant.CheckLabel("flavour", c.Name), c.checkAccounts(), c.checkReplica()}
	if r := c.ServicePorts; r.First < 1 || r.Last > 65535 || r.First > r.Last {
		errs = append(errs, fmt.Errorf("service ports %s: want a range within 1-65535", r))
	}
	if b := c.Build; b.Time < 0 || b.CPU < 0 || b.Memory < 0 || b.Disk < 0 || b.Processes < 0 || c.BuildUID < 0 {
		errs = append(errs, errors.New("build limits: none may be negative"))
	}
	if len(c.Cartridges) == 0 {
		errs = append(errs, errors.New("no cartridges: a platform needs at least one kind of runtime"))
	}
	seen := map[string]bool{}
	for i, t := range c.Cartridges {
		if t == nil {
			errs = append(errs, fmt.Errorf("cartridge %d is nil", i))
			continue
		}
		errs = append(errs, tenant.CheckLabel("cartridge", t.Name()))
		if seen[t.Name()] {
			errs = append(errs, fmt.Errorf("cartridge %q is there twice", t.Name()))
		}
		seen[t.Name()] = true
	}
	for _, part := range strings.Split(c.Domain, ".") {
		errs = append(errs, tenant.CheckLabel("part of the domain", part))
	}
	return errors.Join(errs...)
}

func (c Config) checkAccounts() error {
	if len(c.Accounts) == 0 {
		return errors.New("no accounts: a platform needs a cloud to launch instances in, for example {Name: \"here\", Driver: &local.Driver{}}")
	}
	var errs []error
	seen := map[string]bool{}
	for i, a := range c.Accounts {
		if a == nil || a.Driver == nil {
			errs = append(errs, fmt.Errorf("account %d has no driver", i))
			continue
		}
		errs = append(errs, tenant.CheckLabel("account", a.Name))
		if seen[a.Name] {
			errs = append(errs, fmt.Errorf("account %q is there twice", a.Name))
		}
		seen[a.Name] = true
	}
	return errors.Join(errs...)
}
