package proxy_test

import (
	"net/http/httptest"
	"testing"

	"github.com/gostratos/stratos/balancer/balancertest"
	"github.com/gostratos/stratos/balancer/proxy"
)

func TestConformance(t *testing.T) {
	balancertest.Run(t, func(t *testing.T) balancertest.Harness {
		p := &proxy.Proxy{}
		s := httptest.NewUnstartedServer(p)
		s.Config = proxy.Server(p)
		s.Start()
		t.Cleanup(func() {
			s.Close()
			p.Close()
		})
		return balancertest.Harness{Backend: p, URL: s.URL}
	})
}
