package ca

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the size of a master key, in bytes.
const KeySize = 32

// An envelope is a version, the id of the master key, a nonce, and the
// ciphertext. The id is derived from the key and tells nothing of it but
// whether it is the one.
const (
	sealVersion = 1
	idSize      = 8
	headSize    = 1 + idSize
)

// Seal encrypts plain so that only [Open] with the same master key and the
// same name gives it back. The name says what is sealed and is no secret: one
// secret cannot be put in the place of another.
func Seal(masterKey []byte, name string, plain []byte) ([]byte, error) {
	id, key, err := derive(masterKey, name)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	head := append([]byte{sealVersion}, id...)
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return aead.Seal(append(head, nonce...), nonce, plain, head), nil
}

// Open returns what was sealed.
func Open(masterKey []byte, name string, sealed []byte) ([]byte, error) {
	id, key, err := derive(masterKey, name)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	switch {
	case len(sealed) > 0 && sealed[0] != sealVersion:
		return nil, fmt.Errorf("%s is sealed in version %d, this program knows %d: use a newer one", name, sealed[0], sealVersion)
	case len(sealed) < headSize+aead.NonceSize()+aead.Overhead():
		return nil, fmt.Errorf("what is sealed as %s is cut short: restore it from a backup", name)
	case !bytes.Equal(sealed[1:headSize], id):
		return nil, fmt.Errorf("%s is sealed with another master key: bring the key that this platform was made with", name)
	}
	head, nonce := sealed[:headSize], sealed[headSize:headSize+aead.NonceSize()]
	plain, err := aead.Open(nil, nonce, sealed[headSize+aead.NonceSize():], head)
	if err != nil {
		return nil, fmt.Errorf("what is sealed as %s was changed, or sealed as something else: restore it from a backup", name)
	}
	return plain, nil
}

// Derive returns a secret of 32 bytes, always the same for a master key and a
// name, and of no use for guessing the one of another name.
func Derive(masterKey []byte, name string) ([]byte, error) {
	if len(masterKey) != KeySize {
		return nil, fmt.Errorf("the master key has %d bytes, not %d", len(masterKey), KeySize)
	}
	return hkdf.Key(sha256.New, masterKey, nil, "stratos derive 1 "+name, 32)
}

// derive makes the key for a name, and the id of the master key.
func derive(masterKey []byte, name string) (id, key []byte, err error) {
	if len(masterKey) != KeySize {
		return nil, nil, fmt.Errorf("the master key has %d bytes, not %d", len(masterKey), KeySize)
	}
	if name == "" {
		return nil, nil, errors.New("what is sealed needs a name")
	}
	if id, err = hkdf.Key(sha256.New, masterKey, nil, "stratos master key id", idSize); err != nil {
		return nil, nil, err
	}
	key, err = hkdf.Key(sha256.New, masterKey, nil, "stratos seal 1 "+name, chacha20poly1305.KeySize)
	return id, key, err
}
