package client

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSCRAM ends an attempt to connect whose server does not keep to SCRAM, or does not know the password.
var ErrSCRAM = errors.New("SCRAM failed")

const (
	scramMethod = "SCRAM-SHA-256"
	// Fewer iterations would make it easy to guess the password from what a false server gets (RFC 7677, 4); more would keep a
	// client busy for seconds.
	scramLeast, scramMost = 4096, 1_000_000
)

// SCRAM is the Auth that proves a password by SCRAM-SHA-256 (RFC 5802, RFC 7677) without sending it, and wants the server to prove
// that it knows it. One client uses it at a time.
type SCRAM struct {
	user, password string
	bare, nonce    string
	message        string // client-first, server-first and client-final without the proof
	salted         []byte
}

// NewSCRAM makes one. The password is compared byte by byte: it is not normalized.
func NewSCRAM(user, password string) *SCRAM { return &SCRAM{user: user, password: password} }

// Method implements Auth.
func (s *SCRAM) Method() string { return scramMethod }

// Begin implements Auth: client-first.
func (s *SCRAM) Begin() ([]byte, error) {
	s.nonce, s.message, s.salted = rand.Text(), "", nil
	s.bare = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s.user) + ",r=" + s.nonce
	return []byte("n,," + s.bare), nil
}

// Continue implements Auth: client-final for server-first.
func (s *SCRAM) Continue(data []byte) ([]byte, error) {
	part := strings.Split(string(data), ",")
	if s.message != "" || len(part) < 3 || !strings.HasPrefix(part[0], "r="+s.nonce) || !strings.HasPrefix(part[1], "s=") || !strings.HasPrefix(part[2], "i=") {
		return nil, fmt.Errorf("%w: first message of the server", ErrSCRAM)
	}
	salt, err := base64.StdEncoding.DecodeString(part[1][2:])
	if err != nil || len(part[0]) == len("r=")+len(s.nonce) {
		return nil, fmt.Errorf("%w: salt or nonce of the server", ErrSCRAM)
	}
	n, err := strconv.Atoi(part[2][2:])
	if err != nil || n < scramLeast || n > scramMost {
		return nil, fmt.Errorf("%w: %s iterations, want %d to %d", ErrSCRAM, part[2][2:], scramLeast, scramMost)
	}
	if s.salted, err = pbkdf2.Key(sha256.New, s.password, salt, n, sha256.Size); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSCRAM, err)
	}
	final := "c=biws," + part[0]
	s.message = s.bare + "," + string(data) + "," + final
	proof := hmacSHA256(s.salted, "Client Key")
	stored := sha256.Sum256(proof)
	subtle.XORBytes(proof, proof, hmacSHA256(stored[:], s.message))
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// End implements Auth: it checks server-final.
func (s *SCRAM) End(data []byte) error {
	want := "v=" + base64.StdEncoding.EncodeToString(hmacSHA256(hmacSHA256(s.salted, "Server Key"), s.message))
	if s.message == "" || subtle.ConstantTimeCompare(data, []byte(want)) != 1 {
		return fmt.Errorf("%w: the server does not know the password", ErrSCRAM)
	}
	s.message, s.salted = "", nil
	return nil
}

func hmacSHA256(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	_, _ = m.Write([]byte(text)) // a hash takes everything
	return m.Sum(nil)
}
