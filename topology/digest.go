package topology

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/gostratos/stratos/store"
)

// Digest sums up a set of records: the sum, modulo 2^256, of the hashes of
// each record's key and revision, and how many there are. Two readers whose
// digests are equal have the same records. It changes by one addition for each
// record that changes, and the digest of several clusters is the sum of
// theirs. It is no defence against somebody who makes up records.
//
// The zero value is the digest of nothing. Digests are compared with ==.
type Digest struct {
	sum [4]uint64 // the lowest word first
	n   int
}

// N is the number of records.
func (d Digest) N() int { return d.n }

// String returns the sum in hexadecimal.
func (d Digest) String() string {
	return fmt.Sprintf("%016x%016x%016x%016x", d.sum[3], d.sum[2], d.sum[1], d.sum[0])
}

// Plus is the digest of both sets together.
func (d Digest) Plus(o Digest) Digest {
	var carry uint64
	for i := range d.sum {
		d.sum[i], carry = bits.Add64(d.sum[i], o.sum[i], carry)
	}
	d.n += o.n
	return d
}

// Minus is the digest of what is left without o.
func (d Digest) Minus(o Digest) Digest {
	var borrow uint64
	for i := range d.sum {
		d.sum[i], borrow = bits.Sub64(d.sum[i], o.sum[i], borrow)
	}
	d.n -= o.n
	return d
}

// digestOf is the digest of one record; of none if mod is 0.
func digestOf(key string, mod store.Revision) (d Digest) {
	if mod == 0 {
		return d
	}
	var space [store.MaxKeyBytes + 9]byte
	b := append(space[:0], key...)
	b = append(b, 0)
	h := sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(mod)))
	for i := range d.sum {
		d.sum[i] = binary.LittleEndian.Uint64(h[8*i:])
	}
	d.n = 1
	return d
}
