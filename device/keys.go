package device

import (
	"fmt"
	"io"

	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/seal"
)

// Key is a secret for sealed messages, 16 octets of AES-128. It prints as nothing.
type Key struct {
	For    string // the device's id; or "all", or "group:12", for keys that several devices have
	ID     uint8  // 0x00 to 0x7f of a device's own, 0x80 to 0xff of shared ones
	secret seal.Key
}

// NewKey makes a key of 16 octets that are kept elsewhere, such as in a secure element.
func NewKey(name string, id uint8, secret []byte) (Key, error) {
	k := Key{For: name, ID: id}
	if len(secret) != len(k.secret) {
		return Key{}, fmt.Errorf("key of %d octets, want %d", len(secret), len(k.secret))
	}
	k.secret = seal.Key(secret)
	_, err := sealKeys([]Key{k})
	return k, err
}

// String is what the key is for, without its secret.
func (k Key) String() string { return fmt.Sprintf("key %02x of %s", k.ID, k.For) }

// GoString is the same, for %#v.
func (k Key) GoString() string { return k.String() }

// ReadKeys reads those of a device from a key file, as wattbus keys makes it. The last one of its own is what it seals with.
func ReadKeys(r io.Reader, id string) ([]Key, error) {
	keys, err := seal.ReadKeys(r)
	if err != nil {
		return nil, fmt.Errorf("device %s: key file: %w", id, err)
	}
	if !keys.Has(id) {
		return nil, fmt.Errorf("device %s: the key file holds no key of it", id)
	}
	var out []Key
	for _, e := range keys.For(id).Entries() {
		out = append(out, Key{e.Name, e.ID, e.Key})
	}
	return out, nil
}

// SetKeys exchanges the keys, also while the device runs, and for the next Run.
func (d *Device) SetKeys(keys []Key) error {
	k, err := sealKeys(keys)
	if err != nil {
		return fmt.Errorf("device %s: %w", d.o.ID, err)
	}
	if !k.Has(d.o.ID) {
		return fmt.Errorf("device %s: keys, and none of its own", d.o.ID)
	}
	d.mu.Lock()
	d.o.Keys = keys
	d.mu.Unlock()
	d.with(func(a *meter.Agent) { a.SetKeys(k) })
	return nil
}

func sealKeys(keys []Key) (*seal.Keys, error) {
	entries := make([]seal.Entry, 0, len(keys))
	for _, k := range keys {
		entries = append(entries, seal.Entry{Name: k.For, ID: k.ID, Key: k.secret})
	}
	return seal.NewKeys(entries)
}
