package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/topology"
)

func ExampleProxy() {
	member := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello from a member of", r.Host)
	}))
	defer member.Close()
	host, port, _ := net.SplitHostPort(member.Listener.Addr().String())
	number, _ := strconv.Atoi(port)

	p := &proxy.Proxy{}
	defer p.Close()
	err := p.Apply(context.Background(), &balancer.Table{
		Routes: []balancer.Route{{Host: "shop.example", Cluster: "acme.shop"}},
		Clusters: map[topology.ClusterID]*balancer.Cluster{"acme.shop": {ID: "acme.shop", Targets: []balancer.Target{{
			TargetID: balancer.TargetID{Member: "m1", Address: net.JoinHostPort(host, port)},
			Host:     host, Ports: map[string]int{"http": number},
		}}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// To serve: proxy.Server(p), with Addr set. Here is one request.
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/", nil))
	body, _ := io.ReadAll(w.Body)
	fmt.Print(string(body))
	fmt.Println("served:", p.Stats()["acme.shop"].Served)
	// Output:
	// hello from a member of shop.example
	// served: 1
}
