package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of bbolt's pages, in bytes. Numbers are in the machine's order.
const (
	headerSize    = 16 // id 8, flags 2, count 2, overflow 4
	elementSize   = 16
	metaSize      = 64 // magic 4, version 4, page size 4, flags 4, root 8, sequence 8, freelist 8, end 8, txid 8, checksum 8
	subBucketSize = 16 // root 8, sequence 8

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	firstPage   = 2         // after the two metas
	noFreelist  = 1<<64 - 1 // none was written: bbolt finds out
	manyFree    = 0xFFFF    // the number of free pages is in the first element
	bucketValue = 1         // flag of an element that is a bucket
)

// verifier walks the tree of a bbolt file, page by page. Bbolt trusts its
// file: a damaged page can make it crash, search for ever, or give a page to
// two owners. This is what makes a damaged file an error instead.
type verifier struct {
	file     io.ReaderAt
	pageSize int
	end      uint64 // the first page that was never used
	used     []bool
	todo     []subtree
}

// subtree is a page that is still to be looked at. Its keys are from low on, and below high if there is one.
type subtree struct {
	page      uint64
	low, high []byte
}

// verify checks the structure of a file of size bytes, which nobody writes
// meanwhile. It reads all of it. The content of values is not checked.
func verify(file io.ReaderAt, size int64, pageSize int) error {
	root, freelist, end, err := newestMeta(file, pageSize)
	if err != nil {
		return err
	}
	if end > uint64(size)/uint64(pageSize) {
		return fmt.Errorf("%w: the file was cut off, it has %d bytes and should have %d", errDamaged, size, end*uint64(pageSize))
	}
	v := &verifier{file: file, pageSize: pageSize, end: end, used: make([]bool, end), todo: []subtree{{page: root}}}
	for len(v.todo) > 0 {
		next := v.todo[len(v.todo)-1]
		v.todo = v.todo[:len(v.todo)-1]
		if err := v.tree(next); err != nil {
			return fmt.Errorf("%w: page %d: %w", errDamaged, next.page, err)
		}
	}
	if freelist == noFreelist {
		return nil
	}
	if err := v.freelist(freelist); err != nil {
		return fmt.Errorf("%w: list of free pages: %w", errDamaged, err)
	}
	return nil
}

// newestMeta reads what bbolt goes by: the valid meta of the last transaction.
func newestMeta(file io.ReaderAt, pageSize int) (root, freelist, end uint64, err error) {
	var newest uint64
	for i := range int64(2) {
		b := make([]byte, metaSize)
		if _, err := file.ReadAt(b, i*int64(pageSize)+headerSize); err != nil {
			return 0, 0, 0, err
		}
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaSize-8]) // never fails
		if tx := word(b, 48); sum.Sum64() == word(b, 56) && (end == 0 || tx > newest) {
			root, freelist, end, newest = word(b, 16), word(b, 32), word(b, 40), tx
		}
	}
	if end == 0 {
		return 0, 0, 0, fmt.Errorf("%w: no valid meta page", errDamaged)
	}
	return root, freelist, end, nil
}

// read reads a page with all that belongs to it, and marks it as used.
func (v *verifier) read(id uint64) (page []byte, flags uint16, err error) {
	if id < firstPage || id >= v.end {
		return nil, 0, fmt.Errorf("outside the file")
	}
	header := make([]byte, headerSize)
	if _, err := v.file.ReadAt(header, int64(id)*int64(v.pageSize)); err != nil {
		return nil, 0, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(header[12:]))
	switch {
	case word(header, 0) != id:
		return nil, 0, fmt.Errorf("says that it is page %d", word(header, 0))
	case id+overflow >= v.end:
		return nil, 0, fmt.Errorf("goes beyond the end of the file")
	}
	for p := id; p <= id+overflow; p++ {
		if v.used[p] {
			return nil, 0, fmt.Errorf("page %d is used twice", p)
		}
		v.used[p] = true
	}
	page = make([]byte, int(overflow+1)*v.pageSize)
	_, err = v.file.ReadAt(page, int64(id)*int64(v.pageSize))
	return page, binary.NativeEndian.Uint16(header[8:]), err
}

func (v *verifier) tree(t subtree) error {
	page, flags, err := v.read(t.page)
	if err != nil {
		return err
	}
	switch flags {
	case branchPage:
		return v.branch(page, t)
	case leafPage:
		return v.leaf(page, t, true)
	}
	return fmt.Errorf("has the unknown kind %d", flags)
}

func (v *verifier) branch(page []byte, t subtree) error {
	keys, err := elements(page, t, func(e []byte) (pos, key, value uint32) {
		return half(e, 0), half(e, 4), 0
	})
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return fmt.Errorf("has no elements")
	}
	for i, key := range keys {
		child := subtree{page: word(page, headerSize+i*elementSize+8), low: bytes.Clone(key), high: t.high}
		if i+1 < len(keys) {
			child.high = bytes.Clone(keys[i+1])
		}
		v.todo = append(v.todo, child)
	}
	return nil
}

// leaf checks records, and the buckets among them if there may be any.
func (v *verifier) leaf(page []byte, t subtree, buckets bool) error {
	keys, err := elements(page, t, func(e []byte) (pos, key, value uint32) {
		return half(e, 4), half(e, 8), half(e, 12)
	})
	if err != nil {
		return err
	}
	for i := range keys {
		e := page[headerSize+i*elementSize:]
		switch half(e, 0) {
		case 0:
			continue
		case bucketValue:
		default:
			return fmt.Errorf("element %d has the unknown kind %d", i, half(e, 0))
		}
		at := int(half(e, 4)) + int(half(e, 8))
		value := e[at : at+int(half(e, 12))]
		if !buckets || len(value) < subBucketSize {
			return fmt.Errorf("element %d is no bucket", i)
		}
		if root := word(value, 0); root != 0 {
			v.todo = append(v.todo, subtree{page: root})
			continue
		}
		small := value[subBucketSize:] // a leaf within the value
		if len(small) < headerSize || binary.NativeEndian.Uint16(small[8:]) != leafPage {
			return fmt.Errorf("element %d is no bucket", i)
		}
		if err := v.leaf(small, subtree{}, false); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

// elements returns the keys of a page. All elements are within the page, and
// the keys are in order and within the bounds of t.
func elements(page []byte, t subtree, layout func(element []byte) (pos, key, value uint32)) ([][]byte, error) {
	n := int(binary.NativeEndian.Uint16(page[10:]))
	if headerSize+n*elementSize > len(page) {
		return nil, fmt.Errorf("has %d elements, and no room for them", n)
	}
	keys := make([][]byte, n)
	for i := range n {
		at := headerSize + i*elementSize
		pos, key, value := layout(page[at:])
		from := uint64(at) + uint64(pos)
		if from+uint64(key)+uint64(value) > uint64(len(page)) {
			return nil, fmt.Errorf("element %d goes beyond its page", i)
		}
		keys[i] = page[from : from+uint64(key)]
		switch {
		case i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0, bytes.Compare(keys[i], t.low) < 0,
			t.high != nil && bytes.Compare(keys[i], t.high) >= 0:
			return nil, fmt.Errorf("element %d is out of order", i)
		}
	}
	return keys, nil
}

// freelist checks that no page is both free and used.
func (v *verifier) freelist(id uint64) error {
	page, flags, err := v.read(id)
	if err != nil {
		return err
	}
	if flags != freelistPage {
		return fmt.Errorf("page %d has the unknown kind %d", id, flags)
	}
	n, ids := uint64(binary.NativeEndian.Uint16(page[10:])), page[headerSize:]
	if n == manyFree {
		n, ids = word(ids, 0), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return fmt.Errorf("has %d entries, and no room for them", n)
	}
	for i := range int(n) {
		free := word(ids, i*8)
		if free < firstPage || free >= v.end || v.used[free] {
			return fmt.Errorf("page %d cannot be free", free)
		}
		v.used[free] = true
	}
	return nil
}

func word(b []byte, at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
func half(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
