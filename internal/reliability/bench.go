package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gostratos/stratos/internal/reliability/partition"
)

// options are those of the command line.
type options struct {
	short bool
	seed  uint64
	dir   string // for everything; empty
	// program is this one, for its children.
	program string
	log     io.Writer
}

// bench is what the rows share.
type bench struct {
	options
	began time.Time

	cutting sync.Once
	cut     partition.Result
	cutErr  error
}

func newBench(o options) *bench { return &bench{options: o, began: time.Now()} }

// of is how much there is of something: less of it in the short set.
func (b *bench) of(short, full int) int {
	if b.short {
		return short
	}
	return full
}

// logf tells of the progress.
func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(b.log, "%6.0fs "+format+"\n", append([]any{time.Since(b.began).Seconds()}, args...)...)
}

// folder makes a folder.
func (b *bench) folder(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// partitioned cuts a platform apart, once for all rows that ask.
func (b *bench) partitioned(ctx context.Context) (partition.Result, error) {
	b.cutting.Do(func() {
		o := partition.Options{Away: 5 * time.Minute, Log: b.log}
		if b.short {
			o.Away = time.Minute
		}
		if o.Dir, b.cutErr = b.folder("partition"); b.cutErr != nil {
			return
		}
		b.cut, b.cutErr = partition.Run(ctx, o)
	})
	return b.cut, b.cutErr
}
