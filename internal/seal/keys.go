package seal

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/topic"
)

// Bounds of a key file.
const (
	MaxKeys        = 5_000_000
	MaxGenerations = 8 // of one name
)

// All is the name of shared keys for every device.
const All = "all"

// GroupName is the name of a group's shared keys.
func GroupName(n uint32) string { return "group:" + strconv.FormatUint(uint64(n), 10) }

// Name is whose keys a topic's messages are sealed with.
func Name(t topic.Topic) string {
	switch t.Target {
	case topic.All:
		return All
	case topic.Group:
		return GroupName(t.Group)
	}
	return t.ID
}

// Entry is a line of a key file.
type Entry struct {
	Name string // a device's id, All, or a GroupName
	ID   byte
	Key  Key
}

// Keys are those of a key file. They are not changed any more once they are read. nil: none.
type Keys struct {
	by map[string][]generation
	n  int
}

type generation struct {
	id  byte
	key Key
}

// ReadKeys reads a key file: a line for each key of a device's id, all, or group:N, the key id in two hexadecimal digits (00 to 7f for a
// device, 80 to ff for all and groups), and the key in 32. Of several of one name a device seals with the last; all of them open.
// Empty lines and those that begin with # are passed over. Errors name the line, and never a key.
func ReadKeys(in io.Reader) (*Keys, error) {
	var entries []Entry
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 3 {
			return nil, fmt.Errorf("line %d: %d words, want three: a device's id, all or group:N; key id; key", n, len(f))
		}
		e := Entry{Name: f[0]}
		id, err := strconv.ParseUint(f[1], 16, 8)
		if err != nil || len(f[1]) != 2 {
			return nil, fmt.Errorf("line %d: key id %.10q, want two hexadecimal digits", n, f[1])
		}
		e.ID = byte(id)
		if e.Key, err = ParseKey(f[2]); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if entries = append(entries, e); len(entries) > MaxKeys {
			return nil, fmt.Errorf("line %d: more than %d keys", n, MaxKeys)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return NewKeys(entries)
}

func (e *Entry) check() error {
	shared := e.Name == All
	if digits, ok := strings.CutPrefix(e.Name, "group:"); ok {
		if n, err := strconv.ParseUint(digits, 10, 32); err != nil || n == 0 || GroupName(uint32(n)) != e.Name {
			return fmt.Errorf("group %.20q, want group: and a number from 1 on", e.Name)
		}
		shared = true
	}
	if !shared {
		if err := topic.CheckID(e.Name); err != nil {
			return err
		}
	}
	if shared != (e.ID >= FirstShared) {
		return fmt.Errorf("key id %02x of %.30s: want 00 to 7f for a device's own, 80 to ff for all and groups", e.ID, e.Name)
	}
	return nil
}

// NewKeys puts keys together.
func NewKeys(entries []Entry) (*Keys, error) {
	k := &Keys{by: make(map[string][]generation, len(entries))}
	whose := make(map[Key]string, len(entries))
	for i := range entries {
		e := &entries[i]
		if err := e.check(); err != nil {
			return nil, err
		}
		if other, twice := whose[e.Key]; twice {
			return nil, fmt.Errorf("%s and %s have the same key: each needs one of its own", other, e.Name)
		}
		whose[e.Key] = e.Name
		have := k.by[e.Name]
		if slices.ContainsFunc(have, func(g generation) bool { return g.id == e.ID }) {
			return nil, fmt.Errorf("%s has key %02x twice", e.Name, e.ID)
		}
		if len(have) == MaxGenerations {
			return nil, fmt.Errorf("%s has more than %d keys: leave out the oldest", e.Name, MaxGenerations)
		}
		k.by[e.Name] = append(have, generation{e.ID, e.Key})
		k.n++
	}
	return k, nil
}

// Len is the number of keys.
func (k *Keys) Len() int {
	if k == nil {
		return 0
	}
	return k.n
}

// Has reports whether there is a key under a name.
func (k *Keys) Has(name string) bool { return k != nil && len(k.by[name]) > 0 }

// Find gives a key.
func (k *Keys) Find(name string, id byte) (Key, error) {
	if k != nil {
		for _, g := range k.by[name] {
			if g.id == id {
				return g.key, nil
			}
		}
	}
	return Key{}, fmt.Errorf("key 0x%02x of %.30s: %w", id, name, ErrKey)
}

// First and Last are the first and the last key of a name in the file.
func (k *Keys) First(name string) (id byte, key Key, ok bool) {
	if !k.Has(name) {
		return 0, Key{}, false
	}
	g := k.by[name][0]
	return g.id, g.key, true
}

// Last is the last key of a name in the file.
func (k *Keys) Last(name string) (id byte, key Key, ok bool) {
	if !k.Has(name) {
		return 0, Key{}, false
	}
	g := k.by[name][len(k.by[name])-1]
	return g.id, g.key, true
}

// Entries are all keys, by name, each name's in the order of the file.
func (k *Keys) Entries() []Entry {
	var out []Entry
	if k == nil {
		return nil
	}
	for name, gs := range k.by {
		for _, g := range gs {
			out = append(out, Entry{name, g.id, g.key})
		}
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// For leaves what one device has: its own keys and the shared ones.
func (k *Keys) For(id string) *Keys {
	out := &Keys{by: map[string][]generation{}}
	if k == nil {
		return out
	}
	for name, gs := range k.by {
		if name == id || gs[0].id >= FirstShared {
			out.by[name] = gs
			out.n += len(gs)
		}
	}
	return out
}

// Line is an entry as a line of a key file. It is the only text that tells a key.
func (e *Entry) Line() string {
	return fmt.Sprintf("%s %02x %s", e.Name, e.ID, hex.EncodeToString(e.Key[:]))
}

// Ring holds keys that may be exchanged while they are in use. The zero value holds none.
type Ring struct{ keys atomic.Pointer[Keys] }

// Set exchanges the keys.
func (r *Ring) Set(k *Keys) { r.keys.Store(k) }

// Keys are those in force; nil: none.
func (r *Ring) Keys() *Keys { return r.keys.Load() }
