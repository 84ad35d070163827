package artifact

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gostratos/stratos/store"
)

// maxText is how much is recorded of an error's text, bytes.
const maxText = 4 << 10

// readOr reads a record, or makes an empty one.
func readOr[T any](ctx context.Context, s store.Store, key string) (store.Record[T], error) {
	r, err := store.Read[T](ctx, s, key)
	if errors.Is(err, store.ErrNotFound) {
		var none T
		return store.NewRecord(key, none), nil
	}
	return r, err
}

// arrive records that the repository can be read and that its head is the
// job's revision, together with the release of it if that is new.
func (r *run) arrive(ctx context.Context, j *job, fresh ...store.Record[Release]) (Repository, error) {
	now := Repository{URL: j.wish.URL, Ref: j.wish.Ref, Head: j.revision}
	var then []store.Op
	for _, rel := range fresh {
		op, err := rel.Put()
		if err != nil {
			return j.repo.Value, err
		}
		then = append(then, op)
	}
	moved := j.repo.Value.Head != j.revision
	repo, err := r.write(ctx, j.repo, now, then...)
	if err != nil {
		return repo, err
	}
	if moved || len(fresh) > 0 {
		r.trim(ctx, j.key, j.revision)
	}
	return repo, nil
}

// late records why there is no release of the head yet.
func (r *run) late(ctx context.Context, j *job, why error) (Repository, error) {
	if ctx.Err() != nil {
		return j.repo.Value, ctx.Err()
	}
	var internal *internalError
	if errors.As(why, &internal) {
		r.log().Error("making a release failed; trying again", "key", j.key, "error", internal.err)
	}
	now := Repository{URL: j.wish.URL, Ref: j.wish.Ref, Head: j.repo.Value.Head, Error: clip(why.Error()), Problem: problemOf(why)}
	if now.Problem == RepoEmpty {
		now.Head = "" // of a first push that came to no end
	} else if now.Error != j.repo.Value.Error {
		r.log().Warn("repository gives no release; trying again", "key", j.key, "error", now.Error)
	}
	return r.write(ctx, j.repo, now)
}

// write records a repository if anything about it changed, and then in one
// transaction with it.
func (r *run) write(ctx context.Context, rec store.Record[Repository], now Repository, then ...store.Op) (Repository, error) {
	before := rec.Value
	now.V, now.At = before.V, before.At
	if now == before && len(then) == 0 {
		return before, nil
	}
	now.V, now.At = Schema, time.Now().UTC()
	rec.Value = now
	op, err := rec.Put()
	if err != nil {
		return before, err
	}
	_, err = r.Store.Commit(ctx, store.Txn{If: []store.Cond{r.guard}, Then: append(then, op)})
	if err != nil {
		return before, err
	}
	return now, nil
}

// clip shortens an error's text.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}
