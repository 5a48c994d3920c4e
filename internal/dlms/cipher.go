package dlms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/wattbus/wattbus/internal/format"
)

// The bits of the security control octet (IEC 62056-5-3, clause 9.2.7.2.4.1).
const (
	Authenticated = 0x10
	Encrypted     = 0x20
	Broadcast     = 0x40 // the key is the global broadcast encryption key
	Compressed    = 0x80
)

const (
	tagDataNotification  = 0x0F
	tagGeneralGloCipher  = 0xDB
	tagSize              = 12
	nonceSize            = 12
	controlAndCounter    = 5
	suites               = 0x0F // bits of the security control
	maxSuite             = 2
	errNoCompression     = "security control 0x%02x: compressed APDUs are not supported"
	errUnknownSuite      = "security control 0x%02x: suite %d, want 0 to 2"
	errSuiteKeys         = "security control 0x%02x: suite %d takes keys of %d octets, those of %s have %d"
	errUnprotectedCipher = "security control 0x%02x: neither encrypted nor authenticated"
)

// SystemTitle identifies a meter in its ciphered APDUs: three letters of its maker, five octets of its own.
type SystemTitle [8]byte

// String gives it in hexadecimal digits.
func (t SystemTitle) String() string { return strings.ToUpper(hex.EncodeToString(t[:])) }

// ParseSystemTitle reads 16 hexadecimal digits.
func ParseSystemTitle(s string) (t SystemTitle, err error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(t) {
		return SystemTitle(b), nil
	}
	return t, fmt.Errorf("system title %.40q: want 16 hexadecimal digits", s)
}

// Key opens what one meter sends. It may be used by many goroutines.
type Key struct {
	block          cipher.Block
	gcm            cipher.AEAD
	size           int // octets
	authentication []byte
}

// keySize is how many octets the keys of a suite have: 0 and 1 are AES-GCM-128, 2 is AES-GCM-256. What else the suites hold, such as
// signatures, no general-glo-ciphering needs.
func keySize(suite byte) int {
	if suite == 2 {
		return 32
	}
	return 16
}

// NewKey takes the global unicast encryption key and the authentication key, 16 octets each or, for suite 2, 32; without an authentication
// key (nil), only APDUs that are encrypted and not authenticated can be opened.
func NewKey(encryption, authentication []byte) (*Key, error) {
	size := len(encryption)
	if size != 16 && size != 32 {
		return nil, fmt.Errorf("encryption key of %d octets, want 16, or 32 for suite 2", size)
	}
	if n := len(authentication); n != size && n != 0 {
		return nil, fmt.Errorf("authentication key of %d octets, want %d or none", n, size)
	}
	block, err := aes.NewCipher(encryption)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithTagSize(block, tagSize)
	return &Key{block: block, gcm: gcm, size: size, authentication: authentication}, err
}

// nonce is the system title and the invocation counter.
func nonce(t SystemTitle, counter uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, nonceSize+4), t[:]...), counter)
}

// keystream enciphers without authenticating: GCM's counter mode, whose first block belongs to the tag.
func (k *Key) keystream(dst, src []byte, t SystemTitle, counter uint32) {
	iv := binary.BigEndian.AppendUint32(nonce(t, counter), 2)
	cipher.NewCTR(k.block, iv).XORKeyStream(dst, src)
}

// Envelope is a general-glo-ciphering APDU that is not opened yet.
type Envelope struct {
	Title   SystemTitle
	Control byte
	Counter uint32 // invocation counter of the meter; it grows with each APDU
	text    []byte // ciphertext or plaintext, with the tag behind it
	at      int    // offset of text
}

// Ciphered reports whether a message is a general-glo-ciphering APDU, whatever carries it.
func Ciphered(b []byte) bool {
	apdu, _, err := unwrap(b)
	return err == nil && len(apdu) > 0 && apdu[0] == tagGeneralGloCipher
}

// ParseEnvelope reads the head of a general-glo-ciphering APDU.
func ParseEnvelope(b []byte) (e Envelope, err error) {
	b, at, err := unwrap(b)
	if err != nil {
		return e, err
	}
	d := decoder{b: b, at: at}
	if t := d.octet("APDU"); d.err == nil && t != tagGeneralGloCipher {
		d.at--
		d.fail("APDU", format.ErrVersion, "tag 0x%02x, want 0xDB, a general-glo-ciphering", t)
	}
	if n := d.length("system title"); d.err == nil && n != len(e.Title) {
		d.at--
		d.fail("system title", format.ErrLength, "%d octets, want 8", n)
	}
	copy(e.Title[:], d.take("system title", len(e.Title)))
	n := d.length("ciphered content")
	if d.err == nil && n != len(d.b) {
		d.fail("ciphered content", format.ErrLength, "%d octets told, %d there", n, len(d.b))
	}
	e.Control = d.octet("security control")
	switch c := e.Control; {
	case d.err != nil:
	case c&Compressed != 0:
		d.at--
		d.fail("security control", format.ErrVersion, errNoCompression, c)
	case c&suites > maxSuite:
		d.at--
		d.fail("security control", format.ErrVersion, errUnknownSuite, c, c&suites)
	case c&(Authenticated|Encrypted) == 0:
		d.at--
		d.fail("security control", format.ErrKey, errUnprotectedCipher, c)
	}
	if c := d.take("invocation counter", 4); c != nil {
		e.Counter = binary.BigEndian.Uint32(c)
	}
	if e.text, e.at = d.b, d.at; d.err == nil && e.Control&Authenticated != 0 && len(d.b) < tagSize {
		d.fail("authentication tag", format.ErrLength, "%d octets left, want 12 at least", len(d.b))
	}
	return e, d.err
}

// Open deciphers the APDU inside. A wrong key, and a changed octet, wrap format.ErrKey.
func (e *Envelope) Open(k *Key) ([]byte, error) {
	if suite := e.Control & suites; keySize(suite) != k.size {
		return nil, format.At("security control", e.at-controlAndCounter, format.ErrKey, errSuiteKeys, e.Control, suite, keySize(suite), e.Title, k.size)
	}
	if e.Control&Authenticated == 0 {
		out := make([]byte, len(e.text))
		k.keystream(out, e.text, e.Title, e.Counter)
		return out, nil
	}
	if len(k.authentication) == 0 {
		return nil, format.At("authentication tag", e.at, format.ErrKey, "there is no authentication key for %s", e.Title)
	}
	wrong := func() ([]byte, error) {
		return nil, format.At("authentication tag", e.at+len(e.text)-tagSize, format.ErrKey, "not made by %s with the keys given for it", e.Title)
	}
	if e.Control&Encrypted == 0 {
		plain, tag := e.text[:len(e.text)-tagSize], e.text[len(e.text)-tagSize:]
		if subtle.ConstantTimeCompare(tag, k.gcm.Seal(nil, nonce(e.Title, e.Counter), nil, k.additional(e.Control, plain))) != 1 {
			return wrong()
		}
		return plain, nil
	}
	out, err := k.gcm.Open(nil, nonce(e.Title, e.Counter), e.text, k.additional(e.Control, nil))
	if err != nil {
		return wrong()
	}
	return out, nil
}

// additional is the additional authenticated data: security control, authentication key and what is not encrypted.
func (k *Key) additional(control byte, plain []byte) []byte {
	return append(append([]byte{control}, k.authentication...), plain...)
}

// Seal makes a general-glo-ciphering APDU of an APDU.
func (k *Key) Seal(t SystemTitle, control byte, counter uint32, apdu []byte) ([]byte, error) {
	switch {
	case control&Compressed != 0:
		return nil, fmt.Errorf(errNoCompression, control)
	case control&suites > maxSuite:
		return nil, fmt.Errorf(errUnknownSuite, control, control&suites)
	case keySize(control&suites) != k.size:
		return nil, fmt.Errorf(errSuiteKeys, control, control&suites, keySize(control&suites), t, k.size)
	case control&(Authenticated|Encrypted) == 0:
		return nil, fmt.Errorf(errUnprotectedCipher, control)
	case control&Authenticated != 0 && len(k.authentication) == 0:
		return nil, fmt.Errorf("there is no authentication key for %s", t)
	}
	var text []byte
	switch control & (Authenticated | Encrypted) {
	case Authenticated | Encrypted:
		text = k.gcm.Seal(nil, nonce(t, counter), apdu, k.additional(control, nil))
	case Authenticated:
		text = append(append(text, apdu...), k.gcm.Seal(nil, nonce(t, counter), nil, k.additional(control, apdu))...)
	default:
		text = make([]byte, len(apdu))
		k.keystream(text, apdu, t, counter)
	}
	b := append([]byte{tagGeneralGloCipher, byte(len(t))}, t[:]...)
	b = append(appendLength(b, controlAndCounter+len(text)), control)
	return append(binary.BigEndian.AppendUint32(b, counter), text...), nil
}
