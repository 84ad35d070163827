package rules_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a flavour links is what it imports: the framework itself links none of these.

func TestRootLinksNoSDK(t *testing.T) {
	rootLinksNone(t, "a cloud's SDK",
		"github.com/aws/", "github.com/gophercloud/", "github.com/vmware/", "github.com/Azure/", "cloud.google.com/", "google.golang.org/api")
}

func TestRootLinksNoEtcd(t *testing.T) {
	rootLinksNone(t, "etcd", "go.etcd.io/etcd/", module+"/store/etcd", "google.golang.org/grpc")
}

func TestRootLinksNoCartridge(t *testing.T) {
	rootLinksNone(t, "a cartridge", module+"/cartridge/")
}

func TestRootLinksNoDriver(t *testing.T) {
	for _, p := range list(t, "./cloud/...") {
		if p.short() != "cloud" && p.short() != "cloud/controller" {
			rootLinksNone(t, "a driver", p.ImportPath)
		}
	}
}

func TestRootLinksNoTests(t *testing.T) {
	rootLinksNone(t, "what only tests need", "testing", "github.com/stretchr/")
}

// rootLinksNone fails if the root package depends on a package that has one of
// the paths, or begins with one that ends with a slash.
func rootLinksNone(t *testing.T, what string, paths ...string) {
	t.Helper()
	deps := list(t, "-deps", ".")
	require.Greater(t, len(deps), 100, "hardly any dependency was looked at")
	for _, d := range deps {
		for _, p := range paths {
			if d.ImportPath == p || strings.HasPrefix(d.ImportPath, strings.TrimSuffix(p, "/")+"/") {
				t.Errorf("the root package links %s, which is %s: leave it to the flavours", d.ImportPath, what)
			}
		}
	}
}
