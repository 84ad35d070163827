package lossyfs

import "slices"

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

// file is a file's content, and how to get back to what was synced of it. It
// is guarded by the disk's lock.
type file struct {
	ino        uint64
	data       []byte
	syncedSize int
	before     map[int][]byte // sectors changed since the last sync, as they were then
}

// save remembers the synced content of the sectors from one offset up to another.
func (f *file) save(from, to int) {
	for at := from / sector * sector; at < to; at += sector {
		if _, known := f.before[at]; known {
			continue
		}
		old := make([]byte, sector) // beyond the end there are zeros
		if end := min(f.syncedSize, len(f.data)); at < end {
			copy(old, f.data[at:min(at+sector, end)])
		}
		f.before[at] = old
	}
}

func (f *file) write(data []byte, at int) {
	f.save(at, at+len(data))
	f.resize(max(len(f.data), at+len(data)))
	copy(f.data[at:], data)
}

// truncate sets the size; what is cut off can come back until it is synced.
func (f *file) truncate(size int) {
	f.save(size, len(f.data))
	f.resize(size)
}

func (f *file) resize(size int) {
	if size <= len(f.data) {
		f.data = f.data[:size:size] // what is added later is zero
		return
	}
	f.data = append(slices.Grow(f.data, size-len(f.data)), make([]byte, size-len(f.data))...)
}

func (f *file) sync() {
	f.syncedSize = len(f.data)
	clear(f.before)
}

// lose takes back what was not synced, unless keep says otherwise for a sector, or for the size.
func (f *file) lose(keep func() bool) {
	size := f.syncedSize
	if keep() {
		size = len(f.data)
	}
	for at, old := range f.before {
		if keep() || at >= size {
			continue
		}
		f.resize(max(len(f.data), at+sector))
		copy(f.data[at:], old)
	}
	f.resize(size)
	f.sync()
}
