package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// The demonstration: so many requests at a time, for so long; then none, until
// one member is left.
const (
	loadWorkers = 26
	loadFor     = 25 * time.Second
	loadGiveUp  = 2 * time.Minute
)

// answers reports whether a control plane answers at an address.
func answers(ctx context.Context, api string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+api+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// driveLoad drives load against the app counter and prints, once a second, how
// the platform answers it.
func driveLoad(ctx context.Context, o options, out io.Writer) error {
	token, err := os.ReadFile(filepath.Join(o.dir, "admin.token"))
	if err != nil {
		return fmt.Errorf("the platform at %s has another data folder than %s: give its -dir: %w", o.api, o.dir, err)
	}
	g := &generator{target: "http://" + o.listen + "/slow?ms=200", host: stratos.HostOf(tenant.Default, "counter", "localhost")}
	w := &watcher{api: "http://" + o.api, token: strings.TrimSpace(string(token)), out: out}
	fmt.Fprintf(out, "%d requests at a time against counter for %v, then none. A member carries 10; at 7 each it is time for more.\n\n", loadWorkers, loadFor)
	fmt.Fprintf(out, "%-9s %5s %6s %7s %9s %5s %7s  %s\n", "time", "load", "req/s", "failed", "in flight", "want", "supply", "reason")

	loading, stopLoad := context.WithTimeout(ctx, loadFor)
	defer stopLoad()
	var all errgroup.Group
	all.Go(func() error { g.run(loading); return nil })
	all.Go(func() error {
		defer stopLoad()
		return w.run(ctx, loading, g)
	})
	return all.Wait()
}

// generator sends requests, loadWorkers at a time.
type generator struct {
	target, host string
	sent, failed atomic.Int64
	active       atomic.Int64
}

func (g *generator) run(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loadWorkers}}
	defer client.CloseIdleConnections()
	var all errgroup.Group
	for range loadWorkers {
		all.Go(func() error {
			g.active.Add(1)
			defer g.active.Add(-1)
			for ctx.Err() == nil {
				g.request(ctx, client)
			}
			return nil
		})
	}
	all.Wait() //nolint:errcheck // none of them returns one
}

func (g *generator) request(ctx context.Context, client *http.Client) {
	req, err := http.NewRequest(http.MethodGet, g.target, nil)
	if err != nil {
		g.failed.Add(1)
		return
	}
	req.Host = g.host
	resp, err := client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	g.sent.Add(1)
	if err != nil || resp.StatusCode != http.StatusOK {
		g.failed.Add(1)
		select { // a failure must not become a storm
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// watcher asks the control plane how things are.
type watcher struct {
	api, token string
	out        io.Writer
}

// run prints a line a second until the load is over and one member is left.
func (w *watcher) run(ctx, loading context.Context, g *generator) error {
	giveUp := time.After(loadFor + loadGiveUp)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last int64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-giveUp:
			return fmt.Errorf("the members are not back to one after %v", loadFor+loadGiveUp)
		case <-tick.C:
		}
		members, decision, err := w.ask(ctx)
		if err != nil {
			return err
		}
		sent := g.sent.Load()
		fmt.Fprintf(w.out, "%-9s %5d %6d %7d %9.1f %5d %7s  %s\n", time.Now().Format("15:04:05"), g.active.Load(), sent-last, g.failed.Load(),
			decision.InFlight, decision.Want, supply(members), decision.Reason)
		last = sent
		if loading.Err() != nil && len(members) == 1 {
			fmt.Fprintf(w.out, "\nback to one member; %d requests, %d failed\n", sent, g.failed.Load())
			return nil
		}
	}
}

// supply writes active members, and those that are on their way in or out.
func supply(members []topology.Member) string {
	active, coming, going := 0, 0, 0
	for _, m := range members {
		switch {
		case m.State == topology.Active:
			active++
		case m.State.Pending():
			coming++
		default:
			going++
		}
	}
	text := fmt.Sprint(active)
	if coming > 0 {
		text += fmt.Sprintf("+%d", coming)
	}
	if going > 0 {
		text += fmt.Sprintf("-%d", going)
	}
	return text
}

// ask returns the members that are not Terminated, and the last decision.
func (w *watcher) ask(ctx context.Context) (members []topology.Member, last autoscale.Decision, err error) {
	var state struct{ Members []topology.Member }
	if err := w.get(ctx, "/v1/tenants/"+string(tenant.Default)+"/subscriptions/counter", &state); err != nil {
		return nil, last, err
	}
	for _, m := range state.Members {
		if m.State != topology.Terminated {
			members = append(members, m)
		}
	}
	var decisions []autoscale.Decision
	if err := w.get(ctx, "/v1/clusters/"+string(tenant.Default)+".counter/decisions", &decisions); err != nil {
		return nil, last, err
	}
	if len(decisions) > 0 {
		last = decisions[len(decisions)-1]
	}
	return members, last, nil
}

func (w *watcher) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.api+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the control plane answers %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
