package agent

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// tailPause is how often files are looked at for new lines.
const tailPause = 200 * time.Millisecond

// tails follow the files that a runtime's processes write.
type tails struct {
	end  chan struct{}
	work sync.WaitGroup
}

// followFiles hands each line of files below dir to add, until stop. A file
// need not be there yet.
func followFiles(dir string, names []string, add func(source, line string)) *tails {
	t := &tails{end: make(chan struct{})}
	for _, name := range names {
		f := &tailed{dir: dir, name: name, add: func(line string) { add(name, line) }}
		t.work.Go(func() { f.run(t.end) })
	}
	return t
}

// stop ends it, after a last look: nobody writes any more.
func (t *tails) stop() {
	if t != nil {
		close(t.end)
		t.work.Wait()
	}
}

// tailed is a file that is followed.
type tailed struct {
	dir, name string
	add       func(line string)

	file *os.File
	read int64
	rest []byte // the beginning of a line
}

func (t *tailed) run(end <-chan struct{}) {
	tick := time.NewTicker(tailPause)
	defer tick.Stop()
	for {
		select {
		case <-end:
			t.look()
			t.close()
			return
		case <-tick.C:
			t.look()
		}
	}
}

// look reads what is new. A file that was moved away is read to its end before
// the one in its place is; one that was cut short may have been copied before.
func (t *tailed) look() {
	for range 2 {
		if t.file == nil && !t.open() {
			return
		}
		t.drain()
		now, there := t.stat(t.name)
		open, err := t.file.Stat()
		switch {
		case err != nil:
			t.close()
		case open.Size() < t.read:
			t.recover()
			t.read = 0
			if _, err := t.file.Seek(0, io.SeekStart); err != nil {
				t.close()
			}
			t.drain()
			return
		case there && !os.SameFile(now, open):
			t.drain() // what came since
			t.close()
		default:
			return
		}
	}
}

// root opens the folder: no link leads out of it, whoever made it.
func (t *tailed) root(do func(*os.Root) error) error {
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return err
	}
	return errors.Join(do(root), root.Close())
}

func (t *tailed) stat(name string) (info os.FileInfo, ok bool) {
	err := t.root(func(r *os.Root) (err error) {
		info, err = r.Stat(name)
		return err
	})
	return info, err == nil
}

// open opens the file, if it is one: a pipe would keep who opens it waiting.
func (t *tailed) open() bool {
	f := t.regular(t.name)
	if f == nil {
		return false
	}
	t.file, t.read = f, 0
	return true
}

func (t *tailed) regular(name string) (f *os.File) {
	err := t.root(func(r *os.Root) (err error) {
		f, err = r.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close() // only read
		return nil
	}
	return f
}

// drain reads to the end.
func (t *tailed) drain() { t.read += t.take(t.file) }

// take hands on the lines of r, to its end.
func (t *tailed) take(r io.Reader) (n int64) {
	buf := make([]byte, 32<<10)
	for {
		k, err := r.Read(buf)
		n += int64(k)
		t.lines(buf[:k])
		if err != nil || k == 0 {
			return n
		}
	}
}

// lines hands on the whole lines of what was read; longer ones are split.
func (t *tailed) lines(b []byte) {
	t.rest = append(t.rest, b...)
	for {
		line, rest, whole := bytes.Cut(t.rest, []byte("\n"))
		switch {
		case whole && len(line) <= maxLine:
			t.add(clean(bytes.TrimSuffix(line, []byte("\r"))))
			t.rest = rest
		case len(t.rest) > maxLine:
			cut := runeBoundary(t.rest[:maxLine])
			t.add(clean(t.rest[:cut]))
			t.rest = t.rest[cut:]
		default:
			t.rest = bytes.Clone(t.rest) // let the rest of the array go
			return
		}
	}
}

// recover reads what was not read before a file was cut short, from the copy
// that log rotation makes before it cuts: NAME.1.
func (t *tailed) recover() {
	f := t.regular(t.name + ".1")
	if f == nil {
		return
	}
	defer f.Close() // only read
	if info, err := f.Stat(); err != nil || info.Size() < t.read {
		return // another one
	}
	if _, err := f.Seek(t.read, io.SeekStart); err == nil {
		t.take(f)
	}
	t.flush()
}

// flush hands on a last line without an end.
func (t *tailed) flush() {
	if len(t.rest) > 0 {
		t.add(clean(t.rest))
		t.rest = nil
	}
}

func (t *tailed) close() {
	t.flush()
	if t.file != nil {
		_ = t.file.Close() // only read
		t.file = nil
	}
}
