package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gostratos/stratos/tenant"
)

// jobPoll is how often a job is asked after.
const jobPoll = 200 * time.Millisecond

func connectionPath(t tenant.ID, dependent, provider string) string {
	return subscriptionPath(t, dependent) + "/connections/" + url.PathEscape(provider)
}

// Connect gives a subscription a user of another one's service: its next
// runtime has it in its environment.
func (c *Client) Connect(ctx context.Context, t tenant.ID, dependent, provider string) error {
	return c.Do(ctx, http.MethodPut, connectionPath(t, dependent, provider), nil, nil)
}

// Disconnect takes the user away, at once. What it stored stays.
func (c *Client) Disconnect(ctx context.Context, t tenant.ID, dependent, provider string) error {
	return c.Do(ctx, http.MethodDelete, connectionPath(t, dependent, provider), nil, nil)
}

// BackUpService asks for a copy of all that a subscription's service stores,
// and returns the job's name.
func (c *Client) BackUpService(ctx context.Context, t tenant.ID, alias string) (job string, err error) {
	return c.askFor(ctx, subscriptionPath(t, alias)+"/backups")
}

// RestoreService asks for a backup to be brought back in the place of what is
// there, and returns the job's name.
func (c *Client) RestoreService(ctx context.Context, t tenant.ID, alias, backup string) (job string, err error) {
	return c.askFor(ctx, subscriptionPath(t, alias)+"/backups/"+url.PathEscape(backup)+"/restore")
}

func (c *Client) askFor(ctx context.Context, path string) (string, error) {
	var out struct {
		ID string `json:"id"`
	}
	err := c.Do(ctx, http.MethodPost, path, nil, &out)
	return out.ID, err
}

// ServiceJobs lists the backups and restores of a subscription, the oldest first.
func (c *Client) ServiceJobs(ctx context.Context, t tenant.ID, alias string) (all []tenant.Job, err error) {
	err = c.Do(ctx, http.MethodGet, subscriptionPath(t, alias)+"/backups", nil, &all)
	return all, err
}

// AwaitJob waits until a job has ended, well or not, or ctx has.
func (c *Client) AwaitJob(ctx context.Context, t tenant.ID, alias, job string) (tenant.Job, error) {
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	for {
		all, err := c.ServiceJobs(ctx, t, alias)
		if err != nil {
			return tenant.Job{}, err
		}
		found := false
		for _, j := range all {
			if j.ID == job && j.State != tenant.JobWaiting {
				return j, nil
			}
			found = found || j.ID == job
		}
		if !found {
			return tenant.Job{}, fmt.Errorf("job %s of %s is gone: somebody has given it up", job, alias)
		}
		select {
		case <-ctx.Done():
			return tenant.Job{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// RemoveBackup removes a backup, or gives a job up that waits.
func (c *Client) RemoveBackup(ctx context.Context, t tenant.ID, alias, backup string) error {
	return c.Do(ctx, http.MethodDelete, subscriptionPath(t, alias)+"/backups/"+url.PathEscape(backup), nil, nil)
}

// Download copies a backup to w. One that breaks off is an error; what was
// written then is worthless.
func (c *Client) Download(ctx context.Context, t tenant.ID, alias, backup string, w io.Writer) error {
	path := subscriptionPath(t, alias) + "/backups/" + url.PathEscape(backup)
	begun := false
	return c.each(ctx, func(base string) error {
		if begun {
			return fmt.Errorf("%s: another replica cannot go on with it", path)
		}
		resp, err := c.send(ctx, http.MethodGet, base+path, nil, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close() // read to its end, or not of use
		if resp.StatusCode != http.StatusOK {
			answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return &Error{Path: path, Code: resp.StatusCode, Text: textOf(answer)}
		}
		begun = true
		if _, err := io.Copy(w, resp.Body); err != nil {
			return fmt.Errorf("%s: it is not whole: %w", path, err)
		}
		return nil
	})
}
