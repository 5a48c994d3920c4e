package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
)

// A batch on the bus, integers big-endian, "uv" an unsigned and "sv" a zigzag varint of at most 10 bytes:
//
//	offset 0   u8   version, 0x01
//	       1   u32  number of entries
//	       5   i64  milliseconds since the epoch: what the first entry's time counts from
//	      13        the entries, to the end of the message:
//	          sv   received, milliseconds after the entry before
//	          uv   route: 1 for the first route of the batch, 2 for the second, …; 0 introduces the next route, and
//	               then follow path, kind and event, each as uv length and bytes
//	          u8   length of the id, and the id
//	          uv   length of the payload, and the payload
//
// A route is path, kind and event together: few per batch, so that an entry costs some 4 bytes beyond id and payload.
const (
	batchVersion    = 0x01
	batchHeaderSize = 13
	maxWord         = 1 << 10 // longest path, kind or event
)

// MaxMessage is the largest message on the bus, in bytes.
const MaxMessage = 8 << 20

// ErrBatch is what every refusal of DecodeBatch wraps.
var ErrBatch = errors.New("not a batch")

// Entry is one message from a device, as it came.
type Entry struct {
	Received int64 // milliseconds since the epoch, wall time
	Path     string
	Kind     string
	ID       string
	Event    string
	Payload  []byte // the fixed-length message; the bare word for a concentrator's status
}

type route struct{ path, kind, event string }

// Encoder puts a batch together. The zero value is an empty batch.
type Encoder struct {
	buf    []byte
	count  uint32
	last   int64
	routes map[route]uint32 // from 1
	recent route
	ref    uint32
}

// Append adds an entry. It is refused when a field does not fit: id over 255 bytes, path, kind or event over 1,024.
func (e *Encoder) Append(x *Entry) error {
	r := route{x.Path, x.Kind, x.Event}
	if len(x.ID) > 255 || len(r.path) > maxWord || len(r.kind) > maxWord || len(r.event) > maxWord || len(x.Payload) > MaxMessage {
		return fmt.Errorf("batch entry %.64q/%.64q/%.64q/%.64q with %d bytes has a field that is too long", r.path, r.kind, x.ID,
			r.event, len(x.Payload))
	}
	if e.count == 0 {
		e.start(x.Received)
	}
	e.buf = binary.AppendVarint(e.buf, x.Received-e.last)
	e.last = x.Received
	if r != e.recent || e.ref == 0 {
		ref, known := e.routes[r]
		if !known {
			ref = uint32(len(e.routes) + 1)
			e.routes[r] = ref
			e.buf = append(e.buf, 0)
			for _, w := range [...]string{r.path, r.kind, r.event} {
				e.buf = append(binary.AppendUvarint(e.buf, uint64(len(w))), w...)
			}
		} else {
			e.buf = binary.AppendUvarint(e.buf, uint64(ref))
		}
		e.recent, e.ref = r, ref
	} else {
		e.buf = binary.AppendUvarint(e.buf, uint64(e.ref))
	}
	e.buf = append(append(e.buf, byte(len(x.ID))), x.ID...)
	e.buf = append(binary.AppendUvarint(e.buf, uint64(len(x.Payload))), x.Payload...)
	e.count++
	return nil
}

func (e *Encoder) start(at int64) {
	if e.routes == nil {
		e.routes = make(map[route]uint32)
	}
	e.buf = append(e.buf[:0], batchVersion, 0, 0, 0, 0)
	e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(at))
	e.last = at
}

// Count is the number of entries so far, Len the bytes they take.
func (e *Encoder) Count() int { return int(e.count) }

// Len is the size of the batch so far, in bytes.
func (e *Encoder) Len() int { return len(e.buf) }

// Take returns the batch, nil if it is empty, and leaves an empty one behind that writes into reuse (which may be nil, or
// an earlier batch that nobody reads any more).
func (e *Encoder) Take(reuse []byte) []byte {
	data := e.buf
	if e.count == 0 {
		data = nil
	} else {
		binary.BigEndian.PutUint32(data[1:], e.count)
	}
	clear(e.routes)
	*e = Encoder{buf: reuse[:0], routes: e.routes}
	return data
}

// Batch is a decoded batch, as it lies in the stream.
type Batch struct {
	// Stream names the stream and its incarnation: sequences count from 1 in each, so a position is the two together.
	Stream   string
	Sequence uint64    // in the stream, from 1
	Time     time.Time // when it was committed
	Count    int       // entries
	Behind   uint64    // batches behind it in the stream, when it was fetched

	data   []byte
	text   string // data once more, so that an entry's strings cost no allocation
	routes []route
	base   int64
}

// DecodeBatch reads a batch and checks it wholly. Payloads of its entries alias data, which must not change afterwards.
func DecodeBatch(data []byte) (Batch, error) {
	if len(data) < batchHeaderSize {
		return Batch{}, fmt.Errorf("%d bytes, want a header of %d: %w", len(data), batchHeaderSize, ErrBatch)
	}
	if data[0] != batchVersion {
		return Batch{}, fmt.Errorf("version 0x%02x, want 0x%02x: %w", data[0], batchVersion, ErrBatch)
	}
	count := binary.BigEndian.Uint32(data[1:])
	b := Batch{Count: int(count), data: data, text: string(data), base: int64(binary.BigEndian.Uint64(data[5:]))}
	c := cursor{data: data, at: batchHeaderSize}
	for n := uint32(0); n < count; n++ {
		c.varint()
		if ref := c.uvarint(); ref == 0 {
			var r route
			for _, w := range [...]*string{&r.path, &r.kind, &r.event} {
				from, to := c.bytes(c.uvarint(), maxWord)
				*w = b.text[from:to]
			}
			b.routes = append(b.routes, r)
		} else if ref > uint64(len(b.routes)) {
			c.bad = true
		}
		c.bytes(uint64(c.byte()), 255)
		c.bytes(c.uvarint(), MaxMessage)
		if c.bad {
			return Batch{}, fmt.Errorf("entry %d of %d is broken or cut off: %w", n+1, count, ErrBatch)
		}
	}
	if c.at != len(data) {
		return Batch{}, fmt.Errorf("%d bytes behind the last of %d entries: %w", len(data)-c.at, count, ErrBatch)
	}
	return b, nil
}

// All yields the entries in order. Their strings and payloads alias the batch: clone what is kept for long.
func (b *Batch) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		c := cursor{data: b.data, at: batchHeaderSize}
		at, known := b.base, 0
		for range b.Count {
			at += c.varint()
			ref := int(c.uvarint())
			if ref == 0 {
				for range 3 {
					c.bytes(c.uvarint(), maxWord)
				}
				known++
				ref = known
			}
			r := &b.routes[ref-1]
			idFrom, idTo := c.bytes(uint64(c.byte()), 255)
			from, to := c.bytes(c.uvarint(), MaxMessage)
			if !yield(Entry{Received: at, Path: r.path, Kind: r.kind, ID: b.text[idFrom:idTo], Event: r.event,
				Payload: b.data[from:to:to]}) {
				return
			}
		}
	}
}

// cursor reads; what does not fit sets bad and gives zeros.
type cursor struct {
	data []byte
	at   int
	bad  bool
}

func (c *cursor) byte() byte {
	if c.at >= len(c.data) {
		c.bad = true
		return 0
	}
	c.at++
	return c.data[c.at-1]
}

func (c *cursor) uvarint() uint64 {
	if c.at < len(c.data) && c.data[c.at] < 0x80 { // the usual case, inlined
		c.at++
		return uint64(c.data[c.at-1])
	}
	v, n := binary.Uvarint(c.data[min(c.at, len(c.data)):])
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.at += n
	return v
}

func (c *cursor) varint() int64 {
	u := c.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (c *cursor) bytes(n uint64, most int) (from, to int) {
	if c.bad || n > uint64(most) || n > uint64(len(c.data)-c.at) {
		c.bad = true
		return 0, 0
	}
	from = c.at
	c.at += int(n)
	return from, c.at
}
