package store

import (
	"crypto/rand"
	"fmt"
)

// ID says which store this is. Readers that see another ID than before forget
// what they knew and read everything again.
type ID struct {
	UUID       string `json:"uuid"`
	Generation int64  `json:"generation"` // rises when a backup is restored; starts at 1
}

// String returns uuid.generation.
func (id ID) String() string { return fmt.Sprintf("%s.%d", id.UUID, id.Generation) }

// NewID returns the ID of a new store: a random UUID (version 4), generation 1.
func NewID() ID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return ID{UUID: fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), Generation: 1}
}
