package auth

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Cost is the cost of the hashes that Hash makes: 2^Cost rounds, some 50 ms on a
// server and half a second on the machine of a concentrator.
const Cost = 10

// Bounds of what a password file may ask for: more would let one line of it stop
// the broker.
const (
	maxCost       = 16
	maxIterations = 1_000_000
)

// MaxPassword is the longest password, in bytes: bcrypt takes no more.
const MaxPassword = 72

// ErrPassword is returned for a password that cannot be hashed.
var ErrPassword = fmt.Errorf("want a password of 1 to %d bytes", MaxPassword)

// Hash makes the entry of a password file.
func Hash(password []byte) (string, error) {
	if len(password) == 0 || len(password) > MaxPassword {
		return "", ErrPassword
	}
	h, err := bcrypt.GenerateFromPassword(password, Cost)
	return string(h), err
}

// checkHash says what is wrong with an entry: a hash is bcrypt ($2a$, $2b$, $2y$), or what
// mosquitto_passwd makes, PBKDF2 with SHA-512 ($7$iterations$salt$hash) or, up to version 1.6
// and with -H sha512, SHA-512 of the password and the salt ($6$salt$hash), which is quickly
// guessed from a file that was stolen. Neither is what crypt(3) means by these numbers.
func checkHash(hash string) error {
	switch {
	case strings.HasPrefix(hash, "$2"):
		cost, err := bcrypt.Cost([]byte(hash))
		if err != nil || len(hash) != 60 {
			return errors.New("not a valid bcrypt hash")
		}
		if cost > maxCost {
			return fmt.Errorf("bcrypt of cost %d, at most %d", cost, maxCost)
		}
		return nil
	case strings.HasPrefix(hash, "$7$"):
		_, _, _, err := parsePBKDF2(hash)
		return err
	case strings.HasPrefix(hash, "$6$"):
		_, _, err := parseSHA512(hash)
		return err
	case strings.HasPrefix(hash, scram256):
		_, err := parseSCRAM(hash)
		return err
	}
	return errors.New("unknown kind of hash, want bcrypt ($2…), SCRAM-SHA-256$… or one of mosquitto_passwd ($7$… or $6$…)")
}

// verify reports whether the password belongs to the hash, which was checked.
func verify(hash string, password []byte) bool {
	if strings.HasPrefix(hash, "$7$") {
		iterations, salt, want, err := parsePBKDF2(hash)
		if err != nil {
			return false
		}
		got, err := pbkdf2.Key(sha512.New, string(password), salt, iterations, len(want))
		return err == nil && subtle.ConstantTimeCompare(got, want) == 1
	}
	if strings.HasPrefix(hash, scram256) {
		return verifySCRAM(hash, password)
	}
	if strings.HasPrefix(hash, "$6$") {
		salt, want, err := parseSHA512(hash)
		got := sha512.Sum512(slices.Concat(password, salt))
		return err == nil && subtle.ConstantTimeCompare(got[:], want) == 1
	}
	// bcrypt would ignore what is beyond.
	return len(password) <= MaxPassword && bcrypt.CompareHashAndPassword([]byte(hash), password) == nil
}

func parsePBKDF2(hash string) (iterations int, salt, key []byte, err error) {
	bad := errors.New("not a valid hash of mosquitto_passwd, want $7$iterations$salt$hash")
	part := strings.Split(hash, "$")
	if len(part) != 5 {
		return 0, nil, nil, bad
	}
	iterations, err = strconv.Atoi(part[2])
	if err != nil || iterations < 1 {
		return 0, nil, nil, bad
	}
	if iterations > maxIterations {
		return 0, nil, nil, fmt.Errorf("PBKDF2 of %d iterations, at most %d", iterations, maxIterations)
	}
	salt, serr := base64.StdEncoding.DecodeString(part[3])
	key, kerr := base64.StdEncoding.DecodeString(part[4])
	if serr != nil || kerr != nil || len(salt) < 8 || len(key) != sha512.Size {
		return 0, nil, nil, bad
	}
	return iterations, salt, key, nil
}

func parseSHA512(hash string) (salt, sum []byte, err error) {
	part := strings.Split(hash, "$")
	if len(part) != 4 {
		return nil, nil, errSHA512
	}
	salt, serr := base64.StdEncoding.DecodeString(part[2])
	sum, kerr := base64.StdEncoding.DecodeString(part[3])
	if serr != nil || kerr != nil || len(salt) < 8 || len(sum) != sha512.Size {
		return nil, nil, errSHA512
	}
	return salt, sum, nil
}

var errSHA512 = errors.New("not a valid hash of mosquitto_passwd -H sha512, want $6$salt$hash")
