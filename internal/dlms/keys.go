package dlms

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/wattbus/wattbus/internal/format"
)

// MaxKeys bounds the meters of a key file, some 200 octets each in memory.
const MaxKeys = 5_000_000

// Keys are those of the meters that encipher, by system title. It is not changed any more once it is read.
type Keys struct {
	byTitle map[SystemTitle]keys
}

type keys struct {
	id                         string // of the device, "" for any
	encryption, authentication [32]byte
	size                       uint8 // octets of each
	authenticates              bool
}

// ReadKeys reads a key file: a line for each meter of its id, or * for any, its system title, its encryption key and, unless it
// only encrypts, its authentication key, in hexadecimal digits. Empty lines and those that begin with # are passed over. Errors name
// the line, and never a key.
func ReadKeys(in io.Reader) (*Keys, error) {
	out := &Keys{byTitle: map[SystemTitle]keys{}}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 3 || len(f) > 4 {
			return nil, fmt.Errorf("line %d: %d words, want: id or *, system title, encryption key, and where it authenticates the authentication key", n, len(f))
		}
		title, err := ParseSystemTitle(f[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		var k keys
		if f[0] != "*" {
			k.id = f[0]
		}
		size := hexKey(&k.encryption, f[2])
		if k.size = uint8(size); size != 16 && size != 32 {
			return nil, fmt.Errorf("line %d: encryption key of %d digits, want 32 hexadecimal digits, or 64 for suite 2", n, len(f[2]))
		}
		if k.authenticates = len(f) == 4; k.authenticates && hexKey(&k.authentication, f[3]) != size {
			return nil, fmt.Errorf("line %d: authentication key of %d digits, want %d hexadecimal digits", n, len(f[3]), 2*size)
		}
		if _, twice := out.byTitle[title]; twice {
			return nil, fmt.Errorf("line %d: system title %s stands there twice", n, title)
		}
		if len(out.byTitle) >= MaxKeys {
			return nil, fmt.Errorf("line %d: more than %d meters", n, MaxKeys)
		}
		out.byTitle[title] = k
	}
	return out, lines.Err()
}

// hexKey returns how many octets the key has, 0 for what is none.
func hexKey(k *[32]byte, s string) int {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) > len(k) {
		return 0
	}
	return copy(k[:], b)
}

// Len is the number of meters; of nil, 0.
func (k *Keys) Len() int {
	if k == nil {
		return 0
	}
	return len(k.byTitle)
}

// Open gives the plain APDU of a message of a device; a message that is not ciphered is given as it is. A key belongs to one
// device: what another one sends with it is refused.
func (k *Keys) Open(id string, b []byte) ([]byte, error) {
	if !Ciphered(b) {
		return b, nil
	}
	e, err := ParseEnvelope(b)
	if err != nil {
		return nil, err
	}
	if own, known := k.of(e.Title); known && own.id != "" && own.id != id {
		return nil, format.At("system title", 2, format.ErrKey, "%s is not that of this device", e.Title)
	}
	return k.open(&e)
}

// OpenAny is Open without a look at the device, for tools.
func (k *Keys) OpenAny(b []byte) ([]byte, error) {
	if !Ciphered(b) {
		return b, nil
	}
	e, err := ParseEnvelope(b)
	if err != nil {
		return nil, err
	}
	return k.open(&e)
}

func (k *Keys) of(t SystemTitle) (own keys, known bool) {
	if k != nil {
		own, known = k.byTitle[t]
	}
	return own, known
}

func (k *Keys) open(e *Envelope) ([]byte, error) {
	own, known := k.of(e.Title)
	if !known {
		return nil, format.At("system title", 2, format.ErrKey, "no keys are given for %s", e.Title)
	}
	var authentication []byte
	if own.authenticates {
		authentication = own.authentication[:own.size]
		if e.Control&Authenticated == 0 {
			return nil, format.At("security control", e.at-controlAndCounter, format.ErrKey, "0x%02x: not authenticated, and %s has an authentication key", e.Control, e.Title)
		}
	}
	key, err := NewKey(own.encryption[:own.size], authentication)
	if err != nil {
		return nil, err
	}
	return e.Open(key)
}
