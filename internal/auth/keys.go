package auth

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// minKey is the shortest pre-shared key, octets: one that can be guessed protects nothing, and whoever hears a handshake can try
// as many as he likes.
const minKey = 16

// Keys are the pre-shared keys of a file: lines of identity:key, the key in hexadecimal digits, as Mosquitto has them.
type Keys struct {
	file string
	keys atomic.Pointer[map[string][]byte]
}

// OpenKeys reads the file.
func OpenKeys(file string) (*Keys, error) {
	k := &Keys{file: file}
	return k, k.Load()
}

// File is the file that Load reads.
func (k *Keys) File() string { return k.file }

// Load reads the file. If it cannot be used, what was read before stays in force. The error holds no key.
func (k *Keys) Load() error {
	keys := map[string][]byte{}
	err := readLines(k.file, func(line string) error {
		identity, text, ok := strings.Cut(line, ":")
		if !ok {
			return errors.New("want identity:key")
		}
		if err := CheckUser(identity); err != nil {
			return err
		}
		if _, twice := keys[identity]; twice {
			return fmt.Errorf("identity %q stands in the file twice", identity)
		}
		key, err := hex.DecodeString(strings.TrimSpace(text))
		if err != nil || len(key) < minKey {
			return fmt.Errorf("key of %q: want %d hexadecimal digits or more, an even number", identity, 2*minKey)
		}
		keys[identity] = key
		return nil
	})
	if err != nil {
		return fmt.Errorf("pre-shared keys: %w", err)
	}
	k.keys.Store(&keys)
	return nil
}

// Key gives the key of an identity, false if it has none.
func (k *Keys) Key(identity string) ([]byte, bool) {
	key, ok := (*k.keys.Load())[identity]
	return key, ok
}

// Len is the number of keys.
func (k *Keys) Len() int { return len(*k.keys.Load()) }
