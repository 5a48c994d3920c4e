package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// Bounds of what is remembered.
const (
	maxRight = 64 << 10
	maxWrong = 4 << 10
)

// memory remembers which logins were right and which were wrong, as hashes under a
// key that never leaves the process. The entry of the password file is part of what
// is hashed: with a new password the old result is forgotten.
type memory struct {
	key [32]byte

	mu           sync.Mutex
	right, wrong map[[sha256.Size]byte]struct{}
}

func newMemory() *memory {
	m := &memory{right: map[[sha256.Size]byte]struct{}{}, wrong: map[[sha256.Size]byte]struct{}{}}
	_, _ = rand.Read(m.key[:]) // never fails
	return m
}

// sum is what stands for a login.
func (m *memory) sum(user, hash string, password []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, m.key[:])
	for _, part := range [][]byte{[]byte(user), []byte(hash), password} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

func (m *memory) recall(sum [sha256.Size]byte) (right, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.right[sum]; ok {
		return true, true
	}
	_, ok := m.wrong[sum]
	return false, ok
}

func (m *memory) keep(sum [sha256.Size]byte, right bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	set, most := m.wrong, maxWrong
	if right {
		set, most = m.right, maxRight
	}
	if len(set) >= most {
		for old := range set { // any one: the order of a map is nobody's to foresee
			delete(set, old)
			break
		}
	}
	set[sum] = struct{}{}
}
