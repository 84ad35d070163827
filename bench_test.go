package stratos_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/cartridge/mysql"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// BenchmarkLogs: how long it takes from a line that a program prints until it is
// shown to who follows the log. The median.
//
//	make bench-logs
func BenchmarkLogs(b *testing.B) {
	bed := newBed(b)
	s := newSite(b, "x")
	s.commitFile("app.py", `
import http.server, os, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("%d asked for" % time.time_ns(), flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`)
	bed.subscribe(s)
	ctx, stop := context.WithCancel(bed.ctx)
	took, followed := make(chan time.Duration, 1000), make(chan error, 1)
	go func() {
		followed <- adminOf(b, bed.Config()).FollowLogs(ctx, tenant.Default, app, client.LogQuery{Text: "asked for"}, func(l client.LogLine) error {
			var at int64
			if _, err := fmt.Sscan(l.Text, &at); err != nil {
				return err
			}
			took <- time.Since(time.Unix(0, at))
			return nil
		})
	}()
	_, _, err := bed.get("/") // the first one may be from before
	require.NoError(b, err)
	<-took
	var all []time.Duration
	for b.Loop() {
		_, _, err := bed.get("/")
		require.NoError(b, err)
		all = append(all, <-took)
	}
	stop()
	require.ErrorIs(b, <-followed, context.Canceled)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(all), "s-seen")
	b.ReportMetric(all[len(all)-1].Seconds(), "s-seen-max")
}

// BenchmarkDatabase: how long it takes from a subscription to a database until
// the platform calls its service active. The median.
//
//	make bench-database
func BenchmarkDatabase(b *testing.B) {
	bed := newBed(b, func(c *stratos.Config) { c.Cartridges = append(c.Cartridges, mysql.Type{}) })
	var all []time.Duration
	for i := 0; b.Loop(); i++ {
		alias := fmt.Sprint("db", i)
		began := time.Now()
		require.NoError(b, bed.Subscribe(bed.ctx, tenant.Subscription{Alias: alias, Cartridge: "mysql"}))
		bed.awaitOf(topology.SubscriptionCluster("default", alias), "it serves", func(c *topology.ClusterView) bool {
			return c.Count(topology.Active) == 1
		})
		all = append(all, time.Since(began))
		require.NoError(b, bed.Unsubscribe(bed.ctx, tenant.Default, alias))
		bed.awaitOf(topology.SubscriptionCluster("default", alias), "it has ended", func(c *topology.ClusterView) bool {
			return c.Count(topology.Active) == 0
		})
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(all), "s-active")
}
