package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Centre is the actor of what the centre does by itself.
const Centre = "centre"

// Entry is something that was done.
type Entry struct {
	Time    time.Time       `json:"time"` // wall time, UTC
	Actor   string          `json:"actor"`
	Action  string          `json:"action"`            // such as command.create
	Subject string          `json:"subject,omitempty"` // the id of the command, the edit, the group …
	Meter   string          `json:"meter,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"` // an object; what is in it depends on the action
}

// Hash is the SHA-256 of an entry with all that was before it.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return fmt.Errorf("hash of %d characters, want %d hexadecimal digits", len(text), 2*len(h))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return fmt.Errorf("hash %.20q…: %w", text, err)
	}
	return nil
}

// Record is an entry in its chain, as it is kept: Doc is the entry's JSON, and the bytes that are hashed are these and no
// others, so that no later program has to write JSON the same way.
type Record struct {
	Sequence uint64 // from 1, without gaps
	Hash     Hash
	Doc      []byte
}

// Entry reads the entry in a record.
func (r *Record) Entry() (Entry, error) {
	var e Entry
	if err := json.Unmarshal(r.Doc, &e); err != nil {
		return e, fmt.Errorf("audit entry %d: %w", r.Sequence, err)
	}
	return e, nil
}

// domain keeps these hashes apart from any others over the same bytes.
const domain = "wattbus audit v1\n"

// Next is the hash of an entry behind the hash of the one before it, which is all zero for the first.
func Next(before Hash, sequence uint64, doc []byte) Hash {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], sequence)
	h.Write([]byte(domain))
	h.Write(before[:])
	h.Write(n[:])
	h.Write(doc)
	return Hash(h.Sum(nil))
}

// Head is the end of a chain: the number and the hash of its last entry, zero for a chain without entries.
type Head struct {
	Sequence uint64 `json:"sequence"`
	Hash     Hash   `json:"hash"`
}

// String is how a head is written down: 4711:<64 hexadecimal digits>.
func (h Head) String() string { return strconv.FormatUint(h.Sequence, 10) + ":" + h.Hash.String() }

// ErrHead is returned for a text that is no head.
var ErrHead = errors.New("no head of an audit chain")

// ParseHead reads a head as String writes it.
func ParseHead(s string) (Head, error) {
	number, hash, ok := strings.Cut(strings.TrimSpace(s), ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return Head{}, fmt.Errorf("%.80q: want a number, a colon and 64 hexadecimal digits: %w", s, ErrHead)
	}
	h := Head{Sequence: n}
	if err := h.Hash.UnmarshalText([]byte(hash)); err != nil {
		return Head{}, fmt.Errorf("%.80q: %w: %w", s, err, ErrHead)
	}
	return h, nil
}

// Append puts an entry behind the head and moves the head there. The error is json's, for a Detail that is no JSON; the head
// stays where it was.
func (h *Head) Append(e Entry) (Record, error) {
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	doc, err := json.Marshal(e)
	if err != nil {
		return Record{}, fmt.Errorf("audit entry %s of %s: %w", e.Action, e.Subject, err)
	}
	r := Record{Sequence: h.Sequence + 1, Doc: doc}
	r.Hash = Next(h.Hash, r.Sequence, doc)
	h.Sequence, h.Hash = r.Sequence, r.Hash
	return r, nil
}

// Detail makes the detail of an entry out of a plain struct or a map; nil if that cannot be.
func Detail(v any) json.RawMessage {
	doc, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return doc
}
