package rules_test

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rule says which of our packages the packages that match pattern may import.
// A name allows that package; with /... what is below it, too.
type rule struct {
	pattern string
	allowed []string
}

// rules is the import direction: the first that matches counts. A package that
// none matches is a mistake: say here where it belongs.
func importRules() []rule {
	domain := []string{"store", "tenant", "topology", "topology/stream", "cloud", "cloud/controller", "artifact", "cartridge", "autoscale", "balancer"}
	return []rule{
		{"store", nil},
		{"store/storetest", []string{"store"}},
		{"store/internal/*", []string{"store", "store/internal/..."}},
		{"store/*", []string{"store", "store/internal/..."}},
		{"tenant", []string{"store"}},
		{"topology", []string{"store"}},
		{"topology/stream", []string{"store", "topology"}},
		{"cloud", nil},
		{"cloud/controller", []string{"cloud", "topology", "store"}},
		{"cloud/local", []string{"cloud", "agent", "agent/wire", "internal/procfs"}},
		{"cloud/*", []string{"cloud"}},
		{"cartridge", nil},
		{"cartridge/*", []string{"cartridge"}},
		{"artifact/archive", nil},
		{"artifact", []string{"topology", "store", "artifact/archive"}},
		{"artifact/*", []string{"artifact", "store"}},
		{"autoscale", []string{"topology", "store"}},
		{"autoscale/autoscaletest", []string{"autoscale", "topology", "store"}},
		{"autoscale/*", []string{"autoscale", "topology"}},
		{"balancer", []string{"topology", "store"}},
		{"balancer/balancertest", []string{"balancer", "topology", "store"}},
		{"balancer/*", []string{"balancer", "topology"}},
		{"agent/wire", []string{"cartridge"}},
		// A topology is read from a store.Revision on.
		{"agent", []string{"agent/wire", "cartridge", "topology", "topology/stream", "artifact/archive", "store", "internal/ca", "internal/procfs"}},
		{"api/client", []string{"agent/wire", "store", "tenant", "topology", "topology/stream", "cloud", "artifact", "cartridge", "autoscale", "balancer"}},
		// Replicas call each other as everybody else does.
		{"api", append(domain, "artifact/webhook", "agent/wire", "api/client")},
		{"console", []string{"api/client"}},
		{".", append(domain, "agent/wire", "store/bolt", "balancer/proxy", "api", "api/client", "internal/ca", "internal/confine")},
		// Programs choose what they link; nobody imports them but themselves.
		{"cmd/stratos/...", append(domain, ".", "console", "api/client", "cartridge/...", "cloud/...", "store/...", "artifact/...", "internal/ca", "internal/confine", "cmd/stratos/internal/...")},
		{"examples/...", append(domain, ".", "console", "api/client", "cartridge/...", "cloud/...", "store/...", "autoscale/...", "balancer/...", "examples/...")},
		{"internal/rules", nil},
		{"internal/ca", nil},
		{"internal/procfs", nil},
		{"internal/confine", []string{"internal/procfs"}},
		{"internal/mutation", nil},
		{"internal/testprograms/...", []string{"internal/testprograms/..."}},
		{"internal/reliability/...", append(domain, "store/...", "api/client", "internal/ca", "internal/reliability/...", "internal/testprograms/...")},
		{"internal/bench/...", append(domain, ".", "agent", "agent/wire", "api", "cartridge/...", "cloud/...", "store/...", "autoscale/...", "balancer/...", "artifact/...", "internal/bench/...")},
	}
}

func TestImportDirection(t *testing.T) {
	for _, p := range list(t, "./...") {
		r := ruleOf(p.short())
		if r == nil {
			t.Errorf("%s: no rule says what it may import: add one to importRules, and to the design", p.short())
			continue
		}
		for _, path := range p.Imports {
			if path != module && !strings.HasPrefix(path, module+"/") {
				continue
			}
			if !r.allows(short(path)) {
				t.Errorf("%s imports %s: %s may import only %v of ours", p.short(), short(path), r.pattern, r.allowed)
			}
		}
	}
}

func ruleOf(pkg string) *rule {
	for _, r := range importRules() {
		if matches(r.pattern, pkg) {
			return &r
		}
	}
	return nil
}

func (r *rule) allows(pkg string) bool {
	for _, a := range r.allowed {
		if matches(a, pkg) {
			return true
		}
	}
	return false
}

// matches reports whether a package is meant: * is one folder, /... all below
// and the folder itself.
func matches(pattern, pkg string) bool {
	if above, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == above || strings.HasPrefix(pkg, above+"/")
	}
	ok, err := path.Match(pattern, pkg)
	return ok && err == nil
}

// TestRulesRefuse checks that the rules refuse what the design forbids.
func TestRulesRefuse(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		want           bool
	}{
		{"the store knows nobody", "store", "topology", false},
		{"engines know their seam", "store/etcd", "store", true},
		{"engines know nothing else", "store/etcd", "topology", false},
		{"clouds and topology do not meet", "cloud", "topology", false},
		{"but in the controller", "cloud/controller", "topology", true},
		{"drivers know their seam", "cloud/ec2", "cloud", true},
		{"drivers know no agent", "cloud/ec2", "agent", false},
		{"but the local one", "cloud/local", "agent", true},
		{"balancer and scaler do not meet", "balancer", "autoscale", false},
		{"nor the other way round", "autoscale", "balancer", false},
		{"artifacts know no cartridge", "artifact", "cartridge", false},
		{"the API does not know its platform", "api", ".", false},
		{"the framework links no driver", ".", "cloud/local", false},
		{"no cartridge", ".", "cartridge/php", false},
		{"and no etcd", ".", "store/etcd", false},
		{"but its default store", ".", "store/bolt", true},
		{"programs link what they choose", "cmd/stratos", "cloud/local", true},
		{"nobody links programs", "examples/apaas", "cmd/stratos/internal/config", false},
		{"the console goes through the API", "console", "store", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ruleOf(c.from)
			require.NotNil(t, r)
			require.Equal(t, c.want, r.allows(c.to))
		})
	}
	require.Nil(t, ruleOf("util"), "a package that nobody thought of needs a rule")
}
