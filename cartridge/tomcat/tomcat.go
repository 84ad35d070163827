// Package tomcat runs Java web applications on Debian's Tomcat 10, the
// reference implementation of Jakarta EE's servlets and pages.
//
// A release is an application, or several: WARs, or folders with WEB-INF in
// them, side by side as in Tomcat's own webapps. Every runtime has a Tomcat of its own: java is started
// directly, with a configuration that is made for it in {{.Dir}}, where WARs
// are unpacked as well. The release itself is only read.
//
// # What is deployed where
//
// One application answers at "/" whatever its file is called, unless the
// setting context says otherwise. Several are deployed by their names, as
// Tomcat does: ROOT.war at "/", shop.war at "/shop", shop#admin.war at
// "/shop/admin", and shop##2.war as another version of "/shop", which new
// sessions get. An application that does not start answers 503, so that its
// release is refused.
//
// # Settings
//
//	root     the folder with the WARs, or with WEB-INF; default: the repository
//	context  the path of the only application; default "/"
//	health   the path that is asked whether the runtime is well; default: the
//	         only application's first page, or whether all of several started
//	heap     the most heap, for example 256m; default: half of the size where
//	         that is an amount of memory (512m, 1g), else 128m
//
// # Environment
//
// What the subscription sets is there for System.getenv. DATA_DIR names the
// folder that outlives the release. Java reads its own options from
// _JAVA_OPTIONS; -XX:TieredStopAtLevel=4 there is for applications that
// compute a lot: they start later and run faster.
package tomcat

import (
	"strings"
	"time"

	"github.com/gostratos/stratos/cartridge"
)

// Type is the cartridge "tomcat".
type Type struct{}

var (
	_ cartridge.Type     = Type{}
	_ cartridge.Foldered = Type{}
)

// Name returns "tomcat".
func (Type) Name() string { return "tomcat" }

// Folder returns "webapps".
func (Type) Folder() string { return "webapps" }

// Plan returns how to run the release with Tomcat.
func (Type) Plan(in cartridge.Input) (cartridge.Plan, error) {
	c, err := configure(in)
	if err != nil {
		return cartridge.Plan{}, err
	}
	apps, err := find(in.Release, c)
	if err != nil {
		return cartridge.Plan{}, err
	}
	env := map[string]string{"DATA_DIR": "{{.Data}}"}
	for k, v := range in.Env {
		env[k] = cartridge.Literal(v)
	}
	return cartridge.Plan{
		V:         cartridge.PlanVersion,
		Cartridge: "tomcat",
		Programs: []cartridge.Program{
			{Names: []string{"java"}, Package: "default-jre-headless"},
			// It is not run, but no other program tells that Tomcat is there.
			{Names: []string{"tomcat10-instance-create"}, Package: "tomcat10-user"},
		},
		Ports:     []cartridge.Port{{Name: "http", Protocol: "http"}},
		Dirs:      []string{"conf", "temp", "webapps"},
		Files:     files(apps),
		Processes: []cartridge.Process{{Name: "tomcat", Args: c.command(), Dir: "{{.Dir}}", Env: env}},
		Health:    cartridge.Health{Kind: cartridge.HealthHTTP, Port: "http", Path: c.healthPath(apps)},
		Stop:      cartridge.Stop{Signal: "TERM", Grace: 30 * time.Second},
	}, nil
}

// healthPath is what the agent asks for.
func (c config) healthPath(apps []app) string {
	switch {
	case c.health != "":
		return c.health
	case len(apps) > 1:
		return allStarted
	}
	return strings.TrimSuffix(apps[0].context(), "/") + "/"
}
