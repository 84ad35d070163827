package stratos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// platformKey is where it is written whose store this is.
const platformKey = "platform"

// platformRecord binds a store to a flavour.
type platformRecord struct {
	V       int    `json:"v"`
	Flavour string `json:"flavour"`
}

// claim binds the store to this flavour, with its default tenant, or refuses
// one that belongs to another flavour.
func (p *Platform) claim(ctx context.Context) error {
	rec, err := store.Read[platformRecord](ctx, p.store, platformKey)
	switch {
	case err == nil && rec.Value.Flavour != p.cfg.Name:
		return fmt.Errorf("data folder %s belongs to flavour %q, this one is %q: choose another folder", p.cfg.Dir, rec.Value.Flavour, p.cfg.Name)
	case err == nil:
		return nil
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	rec = store.NewRecord(platformKey, platformRecord{V: 1, Flavour: p.cfg.Name})
	op, err := rec.Put()
	if err != nil {
		return err
	}
	first := store.NewRecord(tenant.Key(tenant.Default), tenant.Tenant{V: tenant.Schema, ID: tenant.Default, Created: time.Now()})
	tenantOp, err := first.Put()
	if err != nil {
		return err
	}
	_, err = p.store.Commit(ctx, store.Txn{If: []store.Cond{rec.Unchanged(), first.Unchanged()}, Then: []store.Op{op, tenantOp}})
	var conflict *store.ConflictError
	var unknown *store.UnknownError
	if errors.As(err, &conflict) || errors.As(err, &unknown) {
		return p.claim(ctx) // another replica was faster
	}
	return err
}

// adminToken reads the administrator's token, or makes one, readable by the
// owner alone, and records its hash. Each replica has its own; every replica
// takes all of them. Deleting the file ends the token: the next start makes another.
func (p *Platform) adminToken(ctx context.Context) error {
	path := filepath.Join(p.cfg.Dir, "admin.token")
	b, err := os.ReadFile(path)
	secret := strings.TrimSpace(string(b))
	switch {
	case err == nil && secret == "":
		return fmt.Errorf("the administrator's token in %s is empty: delete the file, and a new one is made", path)
	case errors.Is(err, fs.ErrNotExist):
		secret = tenant.NewSecret()
		err = writeFile(path, []byte(secret+"\n"))
	}
	if err != nil {
		return fmt.Errorf("the administrator's token: %w", err)
	}
	return p.recordToken(ctx, secret)
}

// recordToken makes secret the one administrator's token of this replica.
func (p *Platform) recordToken(ctx context.Context, secret string) error {
	name := "admin"
	if p.replica.shared {
		name = p.cfg.URL
	}
	recs, _, err := store.ReadAll[tenant.Token](ctx, p.store, tenant.TokenPrefix)
	if err != nil {
		return err
	}
	var txn store.Txn
	fresh := store.NewRecord(tenant.TokenKey(secret), tenant.NewToken(secret, tenant.TokenAdmin, name, time.Now()))
	for _, r := range recs {
		switch {
		case r.Key == fresh.Key:
			fresh = r
		case r.Value.Kind == tenant.TokenAdmin && r.Value.Name == name:
			txn.Then = append(txn.Then, store.Op{Key: r.Key, Delete: true})
		}
	}
	if fresh.Mod == 0 {
		op, err := fresh.Put()
		if err != nil {
			return err
		}
		txn.Then = append(txn.Then, op)
	}
	_, err = p.store.Commit(ctx, txn)
	return err
}

// userData is what a member's instance is started with.
func (p *Platform) userData(m topology.Member, joinToken string) ([]byte, error) {
	return json.Marshal(wire.UserData{
		V: wire.Version, Control: p.cfg.Replicas, CA: p.replica.roots,
		Cluster: string(m.Cluster), Member: string(m.ID), Token: joinToken,
	})
}
