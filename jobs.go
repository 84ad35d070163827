package stratos

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// Backup asks for a copy of all that a subscription's service stores, and
// returns the job's name. Its record says when it is done, and why not.
func (p *Platform) Backup(ctx context.Context, t tenant.ID, alias string) (string, error) {
	return p.ask(ctx, tenant.Job{Tenant: t, Alias: alias, Kind: tenant.JobBackup})
}

// Restore asks for a backup of the subscription to be brought back, in the place
// of what is there, and returns the job's name. store.ErrNotFound if there is no
// such backup, or it is not done.
func (p *Platform) Restore(ctx context.Context, t tenant.ID, alias, backup string) (string, error) {
	rec, err := store.Read[tenant.Job](ctx, p.store, tenant.JobKey(t, alias, backup))
	if err == nil && (rec.Value.Kind != tenant.JobBackup || rec.Value.State != tenant.JobDone) {
		err = store.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("backup %s of subscription %s: %w", backup, alias, err)
	}
	return p.ask(ctx, tenant.Job{Tenant: t, Alias: alias, Kind: tenant.JobRestore, Backup: backup})
}

// ask records a job for the service of a subscription.
func (p *Platform) ask(ctx context.Context, j tenant.Job) (string, error) {
	sub, err := p.subscription(ctx, j.Tenant, j.Alias)
	if err != nil {
		return "", err
	}
	if p.backups == nil {
		return "", fmt.Errorf("backups of services are %w here: several control planes need a place for them that all of them reach, in Config.Backups", tenant.ErrInvalid)
	}
	c, err := store.Read[topology.Cluster](ctx, p.store, topology.ClusterKey(clusterOf(j.Tenant, j.Alias)))
	if err != nil || c.Value.Provides == "" {
		return "", fmt.Errorf("subscription %s is %w for a %s: it has no service that runs", j.Alias, tenant.ErrInvalid, j.Kind)
	}
	now := time.Now().UTC()
	j.V, j.State, j.Asked = tenant.Schema, tenant.JobWaiting, now
	j.ID = now.Format("20060102T150405.000Z") + "-" + strings.ToLower(rand.Text()[:6])
	rec := store.NewRecord(tenant.JobKey(j.Tenant, j.Alias, j.ID), j)
	op, err := rec.Put()
	if err != nil {
		return "", err
	}
	_, err = p.store.Commit(ctx, store.Txn{If: []store.Cond{rec.Unchanged(), sub.Unchanged()}, Then: []store.Op{op}})
	return j.ID, err
}

// job names the next job of a subscription, the one that was asked for first.
func (d *deriver) job(ctx context.Context, k artifact.Key) (string, error) {
	recs, _, err := store.ReadAll[tenant.Job](ctx, d.store, tenant.JobKey(tenant.ID(k.Tenant), k.Alias, ""))
	for _, r := range recs {
		if r.Value.State == tenant.JobWaiting {
			return r.Value.ID, nil
		}
	}
	return "", err
}
