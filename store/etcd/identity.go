package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/store"
)

// leadSlack is by how much a survey's lead may be off while others write.
const leadSlack = 100

// identity is the record at the ID's key: which store this is, and in which
// cluster it was when that was last said.
type identity struct {
	store.ID
	Cluster string `json:"cluster"`
	Lead    int64  `json:"lead"`
}

func (i *identity) locate(found survey) {
	i.Cluster, i.Lead = fmt.Sprintf("%x", found.cluster), found.lead
}

// check refuses a cluster that was made from a snapshot of the one that is recorded.
func (i identity) check(found survey, key string) error {
	now := fmt.Sprintf("%x", found.cluster)
	if i.Cluster == now && found.lead <= i.Lead+leadSlack {
		return nil
	}
	return fmt.Errorf("etcd: cluster %s was restored from a snapshot of cluster %s: with every control plane stopped, raise the generation of %s once (stratos store raise-generation, or etcd.RaiseGeneration), then start them", now, i.Cluster, key)
}

// identify reads the store's identity, or makes it. Replicas that do so at the
// same time agree.
func (s *Store) identify(ctx context.Context, found survey) (identity, error) {
	for {
		id, mod, err := s.readIdentity(ctx)
		if err != nil || mod != 0 {
			return id, err
		}
		id = identity{ID: store.NewID()}
		id.locate(found)
		done, err := s.writeIdentity(ctx, id, 0)
		if err != nil || done {
			return id, err
		}
	}
}

// readIdentity returns the identity and its revision, 0 if there is none.
func (s *Store) readIdentity(ctx context.Context) (identity, int64, error) {
	resp, err := s.read(ctx, s.idKey, clientv3.OpGet(s.idKey))
	if err != nil || len(resp.Kvs) == 0 {
		return identity{}, 0, err
	}
	var id identity
	if err := json.Unmarshal(resp.Kvs[0].Value, &id); err != nil {
		return id, 0, fmt.Errorf("etcd: the record at %s is damaged: %w", s.idKey, err)
	}
	if id.UUID == "" || id.Generation < 1 || id.Cluster == "" {
		return id, 0, fmt.Errorf("etcd: the record at %s is not a store's ID: choose another prefix", s.idKey)
	}
	return id, resp.Kvs[0].ModRevision, nil
}

// writeIdentity replaces the identity that was written at mod. It reports
// false if it may not have been done: read again.
func (s *Store) writeIdentity(ctx context.Context, id identity, mod int64) (bool, error) {
	value, err := json.Marshal(id)
	if err != nil {
		return false, err
	}
	resp, err := s.submit(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.idKey), "=", mod)},
		[]clientv3.Op{clientv3.OpPut(s.idKey, string(value))}, nil)
	var unknown *store.UnknownError
	if errors.As(err, &unknown) && ctx.Err() == nil {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}

// RaiseGeneration is for the operator, after a snapshot was restored: it is
// run once, while no control plane runs, and returns the store's new ID.
func RaiseGeneration(ctx context.Context, c Config) (store.ID, error) {
	s, found, err := connect(ctx, c)
	if err != nil {
		return store.ID{}, err
	}
	id, err := s.raise(ctx, found)
	return id.ID, errors.Join(err, s.Close())
}

func (s *Store) raise(ctx context.Context, found survey) (identity, error) {
	id, mod, err := s.readIdentity(ctx)
	if err != nil {
		return id, err
	}
	if mod == 0 {
		return id, fmt.Errorf("etcd: there is no store at %s: is the prefix right?", s.idKey)
	}
	id.Generation++
	id.locate(found)
	done, err := s.writeIdentity(ctx, id, mod)
	if err == nil && !done {
		err = fmt.Errorf("etcd: the generation of %s may or may not have been raised, or somebody else did: look, then try again", s.idKey)
	}
	return id, err
}
