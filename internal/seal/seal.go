package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/wattbus/wattbus/internal/topic"
)

// Version is the first byte of a sealed message.
const Version = 0x21

const (
	headSize = 6 // version, key id, counter
	tagSize  = 12
	// Overhead is by how much a sealed message is longer than the plain one.
	Overhead = headSize + tagSize
	// FirstShared is the first key id of keys that several devices have; those below are a device's own.
	FirstShared = 0x80
	// KeySize is the length of a key, bytes.
	KeySize = 16
)

// The reasons for which a sealed message, or a plain one in its place, is refused.
var (
	ErrLength = errors.New("too short for a sealed message")
	ErrKey    = errors.New("no key with this id")
	ErrSeal   = errors.New("not sealed with this key, for this topic, by this sender")
	ErrReplay = errors.New("its counter was there before")
	ErrOld    = errors.New("its counter lies before the window")
	ErrPlain  = errors.New("not sealed")
)

// Reason gives the short name of an error of this package for metrics and dead letters, "" if it is none.
func Reason(err error) string {
	for _, r := range [...]struct {
		err  error
		name string
	}{{ErrLength, "length"}, {ErrKey, "key"}, {ErrSeal, "seal"}, {ErrReplay, "replay"}, {ErrOld, "counter"}, {ErrPlain, "plain"}} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return ""
}

// Title is the system title of a sender, the first part of every nonce.
type Title [8]byte

// TitleOf is that of a device which has none of DLMS.
func TitleOf(kind, id string) Title { return titled(kind + "/" + id) }

// Centre is that of the centre.
func Centre() Title { return titled("centre") }

func titled(s string) Title {
	sum := sha256.Sum256([]byte(s))
	return Title(sum[:8])
}

// Topic is what a seal binds to: the topic as the device sees it, without the path.
func Topic(t topic.Topic) string {
	t.Path = ""
	return t.String()
}

// Key is a secret of AES-128. It prints as nothing.
type Key [KeySize]byte

// ParseKey reads 32 hexadecimal digits. The error does not tell them.
func ParseKey(s string) (k Key, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("key of %d characters, want 32 hexadecimal digits", len(s))
	}
	if k = Key(b); k == (Key{}) {
		return k, errors.New("a key of zeros")
	}
	return k, nil
}

// String implements fmt.Stringer, without telling the key.
func (Key) String() string { return "(key)" }

// GoString implements fmt.GoStringer likewise.
func (Key) GoString() string { return "(key)" }

// LogValue implements slog.LogValuer likewise.
func (Key) LogValue() slog.Value { return slog.StringValue("(key)") }

// MarshalText implements encoding.TextMarshaler likewise.
func (Key) MarshalText() ([]byte, error) { return []byte("(key)"), nil }

func (k *Key) gcm() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // the length is right
	}
	g, err := cipher.NewGCMWithTagSize(block, tagSize)
	if err != nil {
		panic(err) // so is that of the tag
	}
	return g
}

func nonce(from Title, counter uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, len(from)+4), from[:]...), counter)
}

// Seal puts the sealed message behind dst. The counter must never have been used with this key by this sender.
func (k *Key) Seal(dst []byte, id byte, from Title, counter uint32, topic string, plain []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, Version, id), counter)
	return k.gcm().Seal(dst, nonce(from, counter), plain, []byte(topic))
}

// Message is a sealed message that is not opened yet.
type Message struct {
	Key     byte
	Counter uint32
	sealed  []byte
}

// Sealed reports whether a message can be a sealed one.
func Sealed(b []byte) bool { return len(b) > 0 && b[0] == Version }

// Parse reads the head of a sealed message, whose bytes it keeps.
func Parse(b []byte) (Message, error) {
	if len(b) < Overhead || b[0] != Version {
		return Message{}, fmt.Errorf("%d bytes, want at least %d: %w", len(b), Overhead, ErrLength)
	}
	return Message{Key: b[1], Counter: binary.BigEndian.Uint32(b[2:]), sealed: b[headSize:]}, nil
}

// Open gives the plain message. The caller holds the counter against a window afterwards.
func (k *Key) Open(m Message, from Title, topic string) ([]byte, error) {
	plain, err := k.gcm().Open(nil, nonce(from, m.Counter), m.sealed, []byte(topic))
	if err != nil {
		return nil, fmt.Errorf("key 0x%02x, counter %d: %w", m.Key, m.Counter, ErrSeal)
	}
	return plain, nil
}
