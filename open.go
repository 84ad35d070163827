package stratos

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	return err
}

// adminToken reads the administrator's token, or makes one, readable by the
// owner alone. It is written whole or not at all.
func adminToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		if token := strings.TrimSpace(string(b)); token != "" {
			return token, nil
		}
		return "", fmt.Errorf("the administrator's token in %s is empty: delete the file, and a new one is made", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the administrator's token: %w", err)
	}
	var random [32]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	token := base64.RawURLEncoding.EncodeToString(random[:])
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("the administrator's token: %w", err)
	}
	return token, os.Rename(tmp, path)
}

// userData is what a member's instance is started with.
func (p *Platform) userData(m topology.Member, joinToken string) ([]byte, error) {
	return json.Marshal(wire.UserData{
		V: wire.Version, Control: []string{"http://" + p.cfg.API},
		Cluster: string(m.Cluster), Member: string(m.ID), Token: joinToken,
	})
}
