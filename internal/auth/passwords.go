package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unicode"
)

// Passwords are the users of a password file: lines of name:hash, made by
// "wattbus passwd" or mosquitto_passwd.
type Passwords struct {
	file  string
	users atomic.Pointer[users]
}

type users struct {
	hashes map[string]string // by name
	decoy  string            // what unknown users are checked against
}

// OpenPasswords reads the file.
func OpenPasswords(file string) (*Passwords, error) {
	p := &Passwords{file: file}
	return p, p.Load()
}

// File is the file that Load reads.
func (p *Passwords) File() string { return p.file }

// Load reads the file. If it cannot be used, what was read before stays in force.
func (p *Passwords) Load() error {
	u := &users{hashes: map[string]string{}}
	err := readLines(p.file, func(line string) error {
		name, hash, ok := strings.Cut(line, ":")
		if !ok {
			return errors.New("want name:hash")
		}
		if err := CheckUser(name); err != nil {
			return err
		}
		if _, twice := u.hashes[name]; twice {
			return fmt.Errorf("user %q stands in the file twice", name)
		}
		u.hashes[name] = hash
		if u.decoy == "" {
			u.decoy = hash
		}
		return checkHash(hash)
	})
	if err != nil {
		return fmt.Errorf("passwords: %w", err)
	}
	p.users.Store(u)
	return nil
}

// lookup gives the hash of a user. For one that is not there it gives another's, so
// that checking takes as long and does not tell who exists; "" if there are none.
func (p *Passwords) lookup(user string) (hash string, exists bool) {
	u := p.users.Load()
	if h, ok := u.hashes[user]; ok {
		return h, true
	}
	return u.decoy, false
}

// Len is the number of users.
func (p *Passwords) Len() int { return len(p.users.Load().hashes) }

// CheckUser says what is wrong with a user name.
func CheckUser(name string) error {
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool {
		return r == ':' || r == unicode.ReplacementChar || unicode.IsControl(r)
	}) || strings.TrimSpace(name) != name || name[0] == '#' {
		return fmt.Errorf("user name %q: want 1 to 255 bytes without colon and control characters, no space around it, no # before it", name)
	}
	return nil
}

// SetPassword puts a user into the file, or a new password for one who is there.
// The other lines stay as they are; a file that is not there is made, for its owner
// alone. A broker that reads the file sees the old or the new one, never half of it.
// scram makes the entry serve SCRAM-SHA-256, too.
func SetPassword(file, user string, password []byte, scram bool) (added bool, err error) {
	if err := CheckUser(user); err != nil {
		return false, err
	}
	hashed := Hash
	if scram {
		hashed = HashSCRAM
	}
	hash, err := hashed(password)
	if err != nil {
		return false, err
	}
	entry := user + ":" + hash + "\n"
	return rewrite(file, user, &entry)
}

// DeleteUser takes a user out of the file, and reports whether it was there.
func DeleteUser(file, user string) (deleted bool, err error) {
	added, err := rewrite(file, user, nil)
	return err == nil && !added, err
}

// rewrite replaces the line of the user. added: there was none.
func rewrite(file, user string, entry *string) (added bool, err error) {
	if err := CheckUser(user); err != nil {
		return false, err
	}
	mode := fs.FileMode(0o600)
	old, err := readFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	default:
		info, err := os.Stat(file)
		if err != nil {
			return false, err
		}
		mode = info.Mode().Perm()
		if file, err = filepath.EvalSymlinks(file); err != nil {
			return false, err
		}
	}
	var b strings.Builder
	added = true
	for line := range strings.Lines(old) {
		if strings.HasPrefix(line, user+":") {
			if entry != nil && added {
				b.WriteString(*entry)
			}
			added = false
			continue
		}
		b.WriteString(line)
		if !strings.HasSuffix(line, "\n") {
			b.WriteByte('\n')
		}
	}
	if added {
		if entry == nil {
			return true, nil
		}
		b.WriteString(*entry)
	}
	return added, replace(file, b.String(), mode)
}

// replace writes a file anew in one step.
func replace(file, text string, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".passwd")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
