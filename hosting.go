package stratos

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// PushSecret returns the password of a subscription's repository that is kept
// here, which is stored nowhere: 256 bits, in hex. store.ErrNotFound: there is
// no such subscription; api.ErrRepository: its repository is elsewhere.
func (p *Platform) PushSecret(ctx context.Context, t tenant.ID, alias string) (secret string, err error) {
	rec, err := p.subscription(ctx, t, alias)
	if err != nil {
		return "", err
	}
	if err := isHosted(rec.Value); err != nil {
		return "", err
	}
	return p.secretOf(rec.Value, "push", rec.Value.Push)
}

// RenewPushSecret gives a subscription's repository that is kept here another
// password; the former one is refused from then on.
func (p *Platform) RenewPushSecret(ctx context.Context, t tenant.ID, alias string) error {
	return p.changeSubscription(ctx, t, alias, func(s *tenant.Subscription) error {
		s.Push++
		return isHosted(*s)
	})
}

func isHosted(s tenant.Subscription) error {
	if s.Repository.URL != artifact.Hosted {
		return fmt.Errorf("subscription %s: %w: it is not kept here, push to where it is", s.Alias, api.ErrRepository)
	}
	return nil
}

// checkHosting says whether repositories can be kept here.
func checkHosting() error {
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("no repository: give the URL of one, or: %w: %w", artifact.ErrNoGit, err)
	}
	return nil
}

// admit waits until a pushed release is served, or is known not to be: then the
// error says why, for who pushed it.
func (p *Platform) admit(ctx context.Context, k artifact.Key, revision string, say io.Writer) error {
	t := tenant.ID(k.Tenant)
	// A member may take all of the boot's time, and so may the one that replaces it.
	limit := 2*p.cfg.Boot + p.cfg.Drain
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tell, began := teller{w: say}, time.Now()
	var rev store.Revision
	for {
		v, err := p.mirror.Next(ctx, rev)
		if err != nil {
			if ctx.Err() == context.DeadlineExceeded {
				return fmt.Errorf("no member served it within %s: %s", limit, tell.last)
			}
			return err
		}
		rev = v.Rev
		c := v.Cluster(clusterOf(t, k.Alias))
		if c == nil {
			continue // it is about to be there
		}
		switch cl := c.Cluster; {
		case cl.Removed:
			return fmt.Errorf("the subscription has ended meanwhile")
		case cl.Current != nil && cl.Current.Revision == revision:
			tell.say("%s serves it: %s", k.Alias, HostOf(t, k.Alias, p.cfg.Domain))
			return nil
		case cl.Refused != nil && cl.Refused.Release.Revision == revision && cl.Candidate == nil:
			return refusedBy(cl.Refused, began)
		case cl.Waits != "":
			tell.say("waiting for %s", cl.Waits)
		case cl.Candidate != nil && cl.Candidate.Revision == revision:
			tell.say("%s", progressOf(c))
		}
	}
}

// refusedBy is why a release is not served, with what its program said last.
func refusedBy(r *topology.Refusal, began time.Time) error {
	if r.At.Before(began) {
		return fmt.Errorf("this commit was tried before, and did not come up: %s: mend it, or make another commit of it (git commit --amend --no-edit)", r.Reason)
	}
	if log := strings.TrimSpace(r.Log); log != "" {
		return fmt.Errorf("it did not come up: %s\n%s", r.Reason, log)
	}
	return fmt.Errorf("it did not come up: %s", r.Reason)
}

// progressOf says how far the candidate of a cluster is.
func progressOf(c *topology.ClusterView) string {
	for _, m := range c.Members() {
		if c.Cluster.Candidate.Same(m.Assigned) && m.State != topology.Terminated {
			return "trying it on member " + string(m.ID)
		}
	}
	return "looking for a member to try it on"
}

// teller says things once.
type teller struct {
	w    io.Writer
	last string
}

func (t *teller) say(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != t.last {
		t.last = text
		fmt.Fprintln(t.w, text) // whether somebody hears it is not our business
	}
}
