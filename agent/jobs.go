package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gostratos/stratos/agent/wire"
)

// verdictOfJob is what became of a job, until the control plane has heard it.
type verdictOfJob struct {
	id     string
	result wire.JobResult
}

// work does the job that the topology names, unless it is done.
func (c *caretaker) work(ctx context.Context) error {
	if c.duty.job == "" || c.duty.job == c.did {
		return nil
	}
	job, err := get[wire.Job](ctx, c.control, wire.JobPath)
	if err != nil || job == nil || job.ID == "" || job.ID == c.did {
		return err
	}
	if !revisionForm.MatchString(job.ID) {
		return fmt.Errorf("the job's name %q cannot be a part of a path", job.ID)
	}
	if c.owed == nil || c.owed.id != job.ID {
		c.log.Info("a job begins", "job", job.ID, "kind", job.Kind)
		if err := c.do(ctx, *job); err != nil {
			return fmt.Errorf("job %s: %w", job.ID, err)
		}
	}
	return c.tell(ctx)
}

// do does a job. What became of it is owed to the control plane then. An error
// is none of the job's own: it is done again.
func (c *caretaker) do(ctx context.Context, job wire.Job) error {
	c.owed = nil
	var err error
	switch s := c.duty.live.plan.Service; {
	case job.Kind == wire.JobBackup && s.Backup != nil:
		err = c.backup(ctx, job.ID, *s.Backup)
	case job.Kind == wire.JobRestore && s.Restore != nil:
		err = c.restore(ctx, job.ID, *s.Restore)
	default:
		err = &actionError{reason: fmt.Sprintf("the service knows no %q", job.Kind)}
	}
	var failed *actionError
	switch {
	case errors.As(err, &failed):
		c.owed = &verdictOfJob{id: job.ID, result: wire.JobResult{Error: failed.reason}}
	case answered(err, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge):
		c.log.Warn("the control plane does not want the job any more", "job", job.ID, "err", err)
		c.did = job.ID
	case err != nil:
		return err
	case job.Kind == wire.JobBackup: // it is stored, which says it all
		c.did = job.ID
	default:
		c.owed = &verdictOfJob{id: job.ID}
	}
	return nil
}

// tell tells the control plane what is owed to it.
func (c *caretaker) tell(ctx context.Context) error {
	if c.owed == nil {
		return nil
	}
	err := c.control.call(ctx, c.control.http, http.MethodPost, wire.JobsPath+c.owed.id, c.owed.result, nil)
	if err != nil && !answered(err, http.StatusNotFound, http.StatusConflict) {
		return fmt.Errorf("job %s: %w", c.owed.id, err)
	}
	c.log.Info("a job has ended", "job", c.owed.id, "err", c.owed.result.Error)
	c.did, c.owed = c.owed.id, nil
	return nil
}
