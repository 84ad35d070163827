// Package config reads the file that "stratos serve" is started with: a
// flavour written as data instead of as a Go program.
//
// Every field has a default, so an empty file is a platform; what is written is
// taken strictly. An unknown field, a repeated one or a value that cannot work
// is refused with its line, its column, its name and the cure, and nothing is
// started. All that is wrong with the values is told at once.
//
// [File] is the reference of the fields; "stratos serve --example" prints a
// file with all of them.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSize of a file, bytes. Nobody writes more by hand.
const maxSize = 1 << 20

// File is what a configuration file says. All fields may be left out.
type File struct {
	// Name of the platform: lower-case letters, digits and dashes. A data
	// folder belongs to one name. Default: stratos.
	Name string `yaml:"name"`
	// Dir is where everything is kept, relative to where serve is started.
	// Default: the name, then ".data".
	Dir string `yaml:"dir"`
	// Listen is where requests are taken, host:port; none: only balancers in
	// processes of their own take them. Default: 127.0.0.1:8000.
	Listen string `yaml:"listen"`
	// API is where the control plane answers, host:port: plain HTTP on loopback,
	// TLS elsewhere. Keep it over restarts. Default: 127.0.0.1:8080.
	API string `yaml:"api"`
	// URL is where others reach this API. Default: API.
	URL string `yaml:"url"`
	// Replicas are the URLs of all control planes that share a store. Default: URL.
	Replicas []string `yaml:"replicas"`
	// MasterKey is the file of the key that seals secrets; the same for all
	// replicas. Default: master.key in dir.
	MasterKey string `yaml:"masterKey"`
	// TLS says how an API off loopback shows itself. Default: by the platform's
	// own authority.
	TLS *TLS `yaml:"tls"`
	// Store keeps the records. Default: a file in dir.
	Store *Store `yaml:"store"`
	// Blobs keep the releases. Default: a folder in dir.
	Blobs *Blobs `yaml:"blobs"`
	// Domain is what host names end with: alias.domain. Default: localhost.
	Domain string `yaml:"domain"`

	// Poll is how often repositories are looked at. Default: 60s.
	Poll Duration `yaml:"poll"`
	// Interval between two scaling decisions. Default: 5s.
	Interval Duration `yaml:"interval"`
	// Heartbeat between two reports of an agent. Default: 15s.
	Heartbeat Duration `yaml:"heartbeat"`
	// Boot is the time from a launch to the first service. Default: 10m.
	Boot Duration `yaml:"boot"`
	// Grace is how long a silent member may come back. Default: 60s.
	Grace Duration `yaml:"grace"`
	// Drain is how long a leaving member may finish its requests. Default: 60s.
	Drain Duration `yaml:"drain"`

	// Cartridges that can be subscribed to: php, tomcat, mysql, proc. Default: all of them.
	Cartridges []string `yaml:"cartridges"`
	// Accounts of clouds, in the order in which they are filled. Default: one
	// named here, of the driver local.
	Accounts []Account `yaml:"accounts"`
	// Policies are the scaling policies by name; "" is the one for
	// subscriptions that name none. Default for "": inFlight with its defaults.
	Policies map[string]Policy `yaml:"policies"`
	// Subscriptions are made where they are missing. Of those that are there,
	// min and max are brought up to date. Default: none.
	Subscriptions []Subscription `yaml:"subscriptions"`
}

// Account is one use of one cloud.
type Account struct {
	Name string `yaml:"name"` // unique; required
	// Driver talks to the cloud: local (processes of this machine). Default: local.
	Driver string `yaml:"driver"`
	// Dir is where a local account's instances live; several control planes of
	// one machine share it. Default: a folder in File.Dir.
	Dir string `yaml:"dir"`
	// Address is where a local account's instances are reached. Default: 127.0.0.1.
	Address string `yaml:"address"`
	// Wrap is put before the command that starts a local account's instances,
	// for example [ip, netns, exec, blue]. Default: nothing.
	Wrap []string `yaml:"wrap"`
	// Partitions, in the order in which they are tried. Default: one, without limits.
	Partitions []Partition `yaml:"partitions"`
}

// Partition is a part of an account that fills up by itself.
type Partition struct {
	Name string `yaml:"name"` // unique in its account; required
	Max  Count  `yaml:"max"`  // most members in it. Default: 0, no limit
}

// Policy is a scaling policy: exactly one kind.
type Policy struct {
	InFlight *InFlight `yaml:"inFlight"` // by requests in flight
}

// InFlight scales by requests in flight: up early, down slowly.
type InFlight struct {
	PerMember float64  `yaml:"perMember"` // requests one member serves at a time. Default: 10
	Window    Count    `yaml:"window"`    // samples averaged. Default: 3
	Up        float64  `yaml:"up"`        // share of perMember above which more are needed. Default: 0.7
	Down      float64  `yaml:"down"`      // share below which one less suffices; below up. Default: 0.5
	IdleAfter Duration `yaml:"idleAfter"` // without requests until a minimum of 0 is reached. Default: 5m
}

// Subscription is a tenant's use of a cartridge.
type Subscription struct {
	Alias      string     `yaml:"alias"`     // what it is called, also in host names; required
	Tenant     string     `yaml:"tenant"`    // whose it is. Default: default
	Cartridge  string     `yaml:"cartridge"` // one of File.Cartridges; required
	Repository Repository `yaml:"repository"`
	Min        Count      `yaml:"min"`    // fewest members; 0: none while nothing comes. Default: 1, if max is left out too, else 0
	Max        Count      `yaml:"max"`    // most members. Default: min, at least 1
	Policy     string     `yaml:"policy"` // one of File.Policies. Default: ""
	// Settings are the cartridge's own; Env is given to the program.
	Settings map[string]Text `yaml:"settings"`
	Env      map[string]Text `yaml:"env"`
}

// Repository says where code comes from.
type Repository struct {
	// URL is https, ssh, git or http, without credentials. Local folders are for
	// Go programs: whoever names one reads what the platform reads. "hosted:": a
	// repository of the platform's own, to be pushed to. Default: that one, unless
	// the cartridge needs none.
	URL string `yaml:"url"`
	Ref Text   `yaml:"ref"` // branch, tag or commit. Default: the remote's HEAD
}

// Load reads the file at path, at most 1 MiB. Its errors are [*Error] where
// something is wrong with what the file says.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no configuration at %s: \"stratos serve --example > %s\" writes one to begin with", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, data)
}
