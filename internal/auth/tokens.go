package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/api"
)

// Tokens are the people and programs that may call the HTTP API: lines of name:rights:hash, made by "wattbus token". A token
// is 32 random bytes, so that SHA-256 is enough of a hash.
type Tokens struct {
	file string
	byID atomic.Pointer[map[[sha256.Size]byte]*api.Principal]
}

// OpenTokens reads the file.
func OpenTokens(file string) (*Tokens, error) {
	t := &Tokens{file: file}
	return t, t.Load()
}

// File is the file that Load reads.
func (t *Tokens) File() string { return t.file }

// Load reads the file. If it cannot be used, what was read before stays in force.
func (t *Tokens) Load() error {
	all, names := map[[sha256.Size]byte]*api.Principal{}, map[string]bool{}
	err := readLines(t.file, func(line string) error {
		part := strings.Split(line, ":")
		if len(part) != 3 {
			return errors.New("want name:rights:hash")
		}
		if err := CheckTokenName(part[0]); err != nil {
			return err
		}
		if names[part[0]] {
			return fmt.Errorf("%q stands in the file twice", part[0])
		}
		names[part[0]] = true
		rights, err := api.ParseRights(part[1])
		if err != nil {
			return err
		}
		var sum [sha256.Size]byte
		if n, err := hex.Decode(sum[:], []byte(part[2])); err != nil || n != len(sum) {
			return errors.New("not a hash of a token, want 64 hexadecimal digits as wattbus token makes them")
		}
		if other := all[sum]; other != nil {
			return fmt.Errorf("%q and %q have the same token", other.Name, part[0])
		}
		all[sum] = &api.Principal{Name: part[0], Rights: rights}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	t.byID.Store(&all)
	return nil
}

// Find returns whose token it is, nil for nobody's. It compares hashes of what was said, so that how long it takes tells
// nothing of the tokens.
func (t *Tokens) Find(token string) *api.Principal {
	return (*t.byID.Load())[sha256.Sum256([]byte(token))]
}

// Len is the number of tokens.
func (t *Tokens) Len() int { return len(*t.byID.Load()) }

// CheckTokenName says what is wrong with the name of a token: nobody is to pass for the centre in lists and in the audit trail.
func CheckTokenName(name string) error {
	if err := CheckUser(name); err != nil {
		return err
	}
	if api.ByItself(name) {
		return fmt.Errorf("name %q: the centre tells by it what it does by itself; want another", name)
	}
	return nil
}

// NewToken puts somebody into the file, or gives a new token and new rights to who is there. The token stands nowhere but in
// what this returns.
func NewToken(file, name string, rights []api.Right) (token string, added bool, err error) {
	if err := CheckTokenName(name); err != nil {
		return "", false, err
	}
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return "", false, err
	}
	token = base64.RawURLEncoding.EncodeToString(secret[:])
	words := make([]string, len(rights))
	for i, r := range rights {
		words[i] = string(r)
	}
	sum := sha256.Sum256([]byte(token))
	entry := name + ":" + strings.Join(words, ",") + ":" + hex.EncodeToString(sum[:]) + "\n"
	added, err = rewrite(file, name, &entry)
	return token, added, err
}
