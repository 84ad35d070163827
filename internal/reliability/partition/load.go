package partition

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// load is clients that ask the balancer for pages, one after another.
type load struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	sent   int
	failed int
	why    []string
}

// startLoad keeps so many requests in flight until it is stopped.
func (w *world) startLoad(ctx context.Context, clients int) *load {
	l := &load{}
	ctx, l.cancel = context.WithCancel(ctx)
	client := &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{DialContext: w.net.dialer(hostClient), MaxIdleConnsPerHost: clients},
	}
	for range clients {
		l.all.Go(func() {
			for ctx.Err() == nil {
				l.note(ctx, w.page(ctx, client))
				select { // a visitor, not a flood: the machine does other things too
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	return l
}

// page gets the app's page through the balancer.
func (w *world) page(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(hostBalancer)+":8000/", nil)
	if err != nil {
		return err
	}
	req.Host = "app.localhost"
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(body) != greeting) {
		err = fmt.Errorf("%s: %.100s", resp.Status, body)
	}
	return err
}

func (l *load) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the load was stopped
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if err == nil {
		return
	}
	l.failed++
	if len(l.why) < 10 {
		l.why = append(l.why, time.Now().UTC().Format(time.TimeOnly)+" "+err.Error())
	}
}

func (l *load) counts() (sent, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent, l.failed
}

func (l *load) stop() (sent int, failed []string) {
	l.cancel()
	l.all.Wait()
	return l.sent, l.why
}
