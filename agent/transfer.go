package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
)

// errUploadOver ends the program whose output nobody takes any more.
var errUploadOver = errors.New("the control plane takes no more of it")

// backup stores what the action prints in the control plane: all of it, or
// nothing.
func (c *caretaker) backup(ctx context.Context, id string, a cartridge.Action) error {
	return c.transfer(ctx, a, func(ctx context.Context, base string) error { return c.upload(ctx, base, id, a) })
}

// transfer tries do with every replica, until one does not fail because of it.
func (c *caretaker) transfer(ctx context.Context, a cartridge.Action, do func(ctx context.Context, base string) error) error {
	var own error
	err := c.control.each(func(base string) error {
		err := c.duty.live.beside(ctx, func(ctx context.Context) error {
			ctx, cancel := within(ctx, a)
			defer cancel()
			return do(ctx, base)
		})
		var failed *actionError
		if errors.As(err, &failed) || errors.Is(err, errRuntimeEnds) {
			own = err // another replica does not help
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return own
}

// upload runs a backup and sends what it prints while it prints it.
func (c *caretaker) upload(ctx context.Context, base, id string, a cartridge.Action) error {
	r, w := io.Pipe()
	var failed error
	var program sync.WaitGroup
	program.Go(func() {
		failed = c.duty.live.act(ctx, deed{what: "backup", action: a, out: w})
		w.CloseWithError(failed) // nil: it is whole
	})
	err := c.control.put(ctx, base, wire.JobsPath+id, r)
	r.CloseWithError(errUploadOver)
	program.Wait()
	if failed != nil && !errors.Is(failed, errUploadOver) && !errors.Is(failed, io.ErrClosedPipe) {
		return failed
	}
	if err == nil {
		return failed
	}
	return err
}

// put sends a body of unknown length.
func (c *control) put(ctx context.Context, base, path string, body io.ReadCloser) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, base+path, body)
	if err != nil {
		return err
	}
	req.ContentLength = -1 // unknown, and signed as such
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Expect", "100-continue") // who does not want it need not be sent it
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // what it says besides its status does not matter
	if resp.StatusCode/100 != 2 {
		return newStatusError(path, resp)
	}
	return nil
}

// restore lets the action read a backup.
func (c *caretaker) restore(ctx context.Context, id string, a cartridge.Action) error {
	return c.transfer(ctx, a, func(ctx context.Context, base string) error {
		body, err := c.control.open(ctx, base, wire.JobsPath+id)
		if err != nil {
			return err
		}
		defer body.Close() // read to its end or given up
		return c.duty.live.act(ctx, deed{what: "restore", action: a, in: body})
	})
}

// open gets a body that comes as fast as it is read. It fails when nothing
// comes for idleDownload while it is read.
func (c *control) open(ctx context.Context, base, path string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.Join(newStatusError(path, resp), resp.Body.Close())
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	idle := time.AfterFunc(idleDownload, func() {
		cancel(fmt.Errorf("%s: nothing came for %v", path, idleDownload))
	})
	idle.Stop()
	return &impatient{body: resp.Body, ctx: ctx, cancel: cancel, idle: idle}, nil
}

// impatient is a body that must not keep its reader waiting.
type impatient struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   *time.Timer
}

func (i *impatient) Read(b []byte) (int, error) {
	i.idle.Reset(idleDownload)
	n, err := i.body.Read(b)
	i.idle.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = errors.Join(err, context.Cause(i.ctx))
	}
	return n, err
}

func (i *impatient) Close() error {
	i.idle.Stop()
	i.cancel(nil)
	return i.body.Close()
}
