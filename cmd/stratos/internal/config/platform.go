package config

import (
	"log/slog"
	"time"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/mysql"
	"github.com/gostratos/stratos/cartridge/php"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cartridge/tomcat"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/tenant"
)

const (
	driverLocal = "local"
	listenNone  = "none"
)

// cartridges are those that a file may name.
func cartridges() []cartridge.Type {
	return []cartridge.Type{php.Type{}, tomcat.Type{}, mysql.Type{}, proc.Type{}}
}

func cartridgeNames() []string {
	var names []string
	for _, t := range cartridges() {
		names = append(names, t.Name())
	}
	return names
}

// cartridgeOf returns a cartridge by its name, or nil.
func cartridgeOf(name string) cartridge.Type {
	for _, t := range cartridges() {
		if t.Name() == name {
			return t
		}
	}
	return nil
}

// Platform is the flavour that the file describes. It shares nothing with the
// file, and every call makes accounts of its own.
func (f *File) Platform(log *slog.Logger) stratos.Config {
	c := stratos.Config{
		Name: f.Name, Dir: f.Dir, Listen: f.Listen, API: f.API, Domain: f.Domain,
		URL: f.URL, Replicas: f.Replicas, MasterKey: f.MasterKey,
		Poll: time.Duration(f.Poll), Interval: time.Duration(f.Interval), Heartbeat: time.Duration(f.Heartbeat),
		Boot: time.Duration(f.Boot), Grace: time.Duration(f.Grace), Drain: time.Duration(f.Drain),
		Policies: map[string]autoscale.Policy{},
		Log:      log,
	}
	if f.Listen == listenNone {
		c.Listen, c.Balancer = "", balancer.Elsewhere{}
	}
	for _, name := range f.Cartridges {
		c.Cartridges = append(c.Cartridges, cartridgeOf(name))
	}
	for _, a := range f.Accounts {
		account := &cloud.Account{Name: a.Name, Driver: &local.Driver{Dir: a.Dir, Address: a.Address, Wrap: a.Wrap, Log: log}}
		for _, part := range a.Partitions {
			account.Partitions = append(account.Partitions, cloud.Partition{Name: part.Name, Max: int(part.Max)})
		}
		c.Accounts = append(c.Accounts, account)
	}
	for name, p := range f.Policies {
		c.Policies[name] = p.value()
	}
	return c
}

// Wishes are the file's subscriptions, with their defaults.
func (f *File) Wishes() []tenant.Subscription {
	all := make([]tenant.Subscription, len(f.Subscriptions))
	for i, s := range f.Subscriptions {
		all[i] = s.wish()
	}
	return all
}

func (s Subscription) wish() tenant.Subscription {
	return tenant.Subscription{
		Tenant: tenant.ID(s.Tenant), Alias: s.Alias, Cartridge: s.Cartridge,
		Repository: tenant.Repository{URL: s.Repository.URL, Ref: string(s.Repository.Ref)},
		Min:        int(s.Min), Max: int(s.Max), Policy: s.Policy,
		Settings: texts(s.Settings), Env: texts(s.Env),
	}.WithDefaults()
}

func texts(from map[string]Text) map[string]string {
	if from == nil {
		return nil
	}
	to := make(map[string]string, len(from))
	for k, v := range from {
		to[k] = string(v)
	}
	return to
}

// value is the policy that is meant, or nil.
func (p Policy) value() autoscale.Policy {
	if p.InFlight == nil {
		return nil
	}
	return autoscale.InFlight{
		PerMember: p.InFlight.PerMember, Window: int(p.InFlight.Window), Up: p.InFlight.Up, Down: p.InFlight.Down,
		IdleAfter: time.Duration(p.InFlight.IdleAfter),
	}
}
