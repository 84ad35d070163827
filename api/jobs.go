package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// errNoJob says that a job is not there, is another's, or has ended.
var errNoJob = errors.New("there is no such job to do")

func (s *Server) jobRoutes(mux *http.ServeMux, subscription string) {
	mux.Handle("GET "+wire.JobPath, s.agent(s.nextJob))
	mux.Handle("GET "+wire.JobsPath+"{job}", s.signing(s.sendBackup))
	mux.Handle("PUT "+wire.JobsPath+"{job}", s.streaming(s.takeBackup))
	mux.Handle("POST "+wire.JobsPath+"{job}", s.agent(s.jobResult))
	mux.Handle("GET "+subscription+"/backups", s.admin(s.listJobs))
	mux.Handle("POST "+subscription+"/backups", s.admin(s.backUpService))
	mux.Handle("GET "+subscription+"/backups/{job}", s.bearing(s.download, tenant.TokenAdmin))
	mux.Handle("DELETE "+subscription+"/backups/{job}", s.admin(s.deleteJob))
	mux.Handle("POST "+subscription+"/backups/{job}/restore", s.admin(s.restoreService))
}

// owner is whose a member's cluster is.
func owner(c topology.ClusterID) (tenant.ID, string) {
	t, alias, _ := strings.Cut(string(c), ".")
	return tenant.ID(t), alias
}

// nextJob answers with the job that was asked for first, or with nothing.
func (s *Server) nextJob(w http.ResponseWriter, r *http.Request) error {
	m, _ := memberOf(r)
	t, alias := owner(m.Cluster)
	recs, _, err := store.ReadAll[tenant.Job](r.Context(), s.Store, tenant.JobKey(t, alias, ""))
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if j := rec.Value; j.State == tenant.JobWaiting {
			s.reply(w, wire.Job{ID: j.ID, Kind: wire.JobKind(j.Kind)})
			return nil
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// waiting is the record of a job of a member that is to be done.
func (s *Server) waiting(ctx context.Context, m topology.Member, id string, kinds ...tenant.JobKind) (store.Record[tenant.Job], error) {
	t, alias := owner(m.Cluster)
	rec, err := store.Read[tenant.Job](ctx, s.Store, tenant.JobKey(t, alias, id))
	if errors.Is(err, store.ErrNotFound) || err == nil && (rec.Value.State != tenant.JobWaiting || !slices.Contains(kinds, rec.Value.Kind)) {
		return rec, errNoJob
	}
	return rec, err
}

// ended records what became of a job.
func (s *Server) ended(ctx context.Context, rec store.Record[tenant.Job]) error {
	rec.Value.Ended = time.Now()
	op, err := rec.Put()
	if err != nil {
		return err
	}
	_, err = s.Store.Commit(ctx, store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{op}})
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return errNoJob
	}
	if err == nil {
		s.log().Info("job ended", "job", rec.Value.ID, "kind", rec.Value.Kind, "tenant", rec.Value.Tenant, "subscription", rec.Value.Alias, "state", rec.Value.State, "bytes", rec.Value.Size)
	}
	return err
}

// takeBackup stores what a service prints. A body that is not whole stores nothing.
func (s *Server) takeBackup(w http.ResponseWriter, r *http.Request) error {
	m, _ := memberOf(r)
	rec, err := s.waiting(r.Context(), m, r.PathValue("job"), tenant.JobBackup)
	if err != nil {
		return err
	}
	n := &counted{r: r.Body}
	digest, err := s.Backups.Put(r.Context(), n)
	if err != nil {
		return err
	}
	rec.Value.State, rec.Value.Digest, rec.Value.Size = tenant.JobDone, string(digest), n.n
	if err := s.ended(r.Context(), rec); err != nil {
		return errors.Join(err, s.forget(r.Context(), digest))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// sendBackup answers with what a restore reads.
func (s *Server) sendBackup(w http.ResponseWriter, r *http.Request) error {
	m, err := s.memberNow(r)
	if err != nil {
		return err
	}
	rec, err := s.waiting(r.Context(), m, r.PathValue("job"), tenant.JobRestore)
	if err != nil {
		return err
	}
	return s.sendCopy(w, r, rec.Value.Tenant, rec.Value.Alias, rec.Value.Backup)
}

// sendCopy answers with the content of a backup.
func (s *Server) sendCopy(w http.ResponseWriter, r *http.Request, t tenant.ID, alias, id string) error {
	rec, err := store.Read[tenant.Job](r.Context(), s.Store, tenant.JobKey(t, alias, id))
	if err == nil && (rec.Value.Kind != tenant.JobBackup || rec.Value.State != tenant.JobDone) {
		err = fmt.Errorf("backup %s: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return err
	}
	b, err := s.Backups.Get(r.Context(), artifact.Digest(rec.Value.Digest))
	if err != nil {
		return fmt.Errorf("backup %s: %w", id, err)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(rec.Value.Size))
	_, err = io.Copy(w, b)
	if err = errors.Join(err, b.Close()); err != nil {
		s.log().Warn("a backup was broken off", "job", id, "err", err)
		panic(http.ErrAbortHandler) // the only way to tell that it is not whole
	}
	return nil
}

// jobResult records the end of a restore, or the failure of either.
func (s *Server) jobResult(w http.ResponseWriter, r *http.Request) error {
	var result wire.JobResult
	if err := decode(r, &result); err != nil {
		return err
	}
	m, _ := memberOf(r)
	kinds := []tenant.JobKind{tenant.JobRestore}
	if result.Error != "" {
		kinds = append(kinds, tenant.JobBackup)
	}
	rec, err := s.waiting(r.Context(), m, r.PathValue("job"), kinds...)
	if err != nil {
		return err
	}
	rec.Value.State, rec.Value.Error = tenant.JobDone, tail(result.Error, 4<<10)
	if result.Error != "" {
		rec.Value.State = tenant.JobFailed
	}
	if err := s.ended(r.Context(), rec); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// listJobs answers with the backups and restores of a subscription, the oldest first.
func (s *Server) listJobs(w http.ResponseWriter, r *http.Request) error {
	recs, _, err := store.ReadAll[tenant.Job](r.Context(), s.Store, tenant.JobKey(tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), ""))
	if err != nil {
		return err
	}
	out := make([]tenant.Job, len(recs))
	for i, rec := range recs {
		out[i] = rec.Value
	}
	s.reply(w, out)
	return nil
}

func (s *Server) backUpService(w http.ResponseWriter, r *http.Request) error {
	id, err := s.Platform.Backup(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias"))
	return s.accepted(w, id, err)
}

func (s *Server) restoreService(w http.ResponseWriter, r *http.Request) error {
	id, err := s.Platform.Restore(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), r.PathValue("job"))
	return s.accepted(w, id, err)
}

// accepted answers with the name of a job that was asked for.
func (s *Server) accepted(w http.ResponseWriter, id string, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	s.reply(w, map[string]string{"id": id})
	return nil
}

func (s *Server) download(w http.ResponseWriter, r *http.Request) error {
	return s.sendCopy(w, r, tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), r.PathValue("job"))
}

// deleteJob removes a job's record, and what it stored. One that waits is given up.
func (s *Server) deleteJob(w http.ResponseWriter, r *http.Request) error {
	rec, err := store.Read[tenant.Job](r.Context(), s.Store, tenant.JobKey(tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), r.PathValue("job")))
	if err != nil {
		return err
	}
	if _, err := s.Store.Commit(r.Context(), store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{{Key: rec.Key, Delete: true}}}); err != nil {
		return err
	}
	if rec.Value.Digest != "" {
		if err := s.forget(r.Context(), artifact.Digest(rec.Value.Digest)); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// forget deletes a copy that no record names: equal backups are one.
func (s *Server) forget(ctx context.Context, d artifact.Digest) error {
	recs, _, err := store.ReadAll[tenant.Job](ctx, s.Store, tenant.JobPrefix)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(recs, func(r store.Record[tenant.Job]) bool { return r.Value.Digest == string(d) }) {
		return nil
	}
	return s.Backups.Delete(ctx, d)
}
