package balancertest_test

import (
	"net/http/httptest"
	"testing"

	"github.com/gostratos/stratos/balancer/balancertest"
	"github.com/gostratos/stratos/balancer/proxy"
)

func ExampleRun() {
	// In a test of the backend's own package:
	_ = func(t *testing.T) {
		balancertest.Run(t, func(t *testing.T) balancertest.Harness {
			p := &proxy.Proxy{}
			s := httptest.NewServer(p)
			t.Cleanup(s.Close)
			return balancertest.Harness{Backend: p, URL: s.URL}
		})
	}
}
