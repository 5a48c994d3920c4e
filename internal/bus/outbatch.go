package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/klauspost/compress/s2"
)

// A message of the stream WB_OUT, integers big-endian, "uv" an unsigned varint:
//
//	offset 0   u8   version, 0x01
//	       1   u32  number of events
//	       5        the events, one S2 block to the end of the message. Of each:
//	          uv length and bytes of kind, name, device id, path, event id, in this order
//	          uv   time, milliseconds since the epoch, business time
//	          uv   length of the data, and the data: JSON
const (
	outVersion    = 0x01
	outHeaderSize = 5
	// OutEvents and OutBytes bound what one message of WB_OUT holds, before compression: what a target confirms at once.
	OutEvents = 1000
	OutBytes  = 1 << 20
	maxOut    = 16 << 20 // a single event that is larger than OutBytes has a message of its own
)

// ErrOut is what every refusal of DecodeOut wraps.
var ErrOut = errors.New("not a batch of events")

// OutEvent is an event on its way to other systems: the parts of a CloudEvent.
type OutEvent struct {
	Kind string // of the device
	Name string // the middle of the CloudEvent's type
	ID   string // of the device: the CloudEvent's subject
	Path string // of the device
	UID  string // the CloudEvent's id
	Time int64  // milliseconds since the epoch, business time
	Data []byte // JSON
}

// Type is the CloudEvent's type.
func (e *OutEvent) Type() string { return "wattbus." + e.Name + ".v1" }

// Source is the CloudEvent's source.
func (e *OutEvent) Source() string {
	if e.Path == "" {
		return "/" + e.Kind + "/" + e.ID
	}
	return "/" + e.Path + "/" + e.Kind + "/" + e.ID
}

// At is the CloudEvent's time.
func (e *OutEvent) At() time.Time { return time.UnixMilli(e.Time).UTC() }

// OutEncoder puts events together to messages of WB_OUT. The zero value holds none.
type OutEncoder struct {
	buf   []byte
	count uint32
	done  [][]byte
}

// Append adds an event.
func (o *OutEncoder) Append(e *OutEvent) {
	for _, s := range [...]string{e.Kind, e.Name, e.ID, e.Path, e.UID} {
		o.buf = append(binary.AppendUvarint(o.buf, uint64(len(s))), s...)
	}
	o.buf = binary.AppendUvarint(o.buf, uint64(max(e.Time, 0)))
	o.buf = append(binary.AppendUvarint(o.buf, uint64(len(e.Data))), e.Data...)
	o.count++
	if o.count == OutEvents || len(o.buf) >= OutBytes {
		o.cut()
	}
}

func (o *OutEncoder) cut() {
	m := make([]byte, outHeaderSize, outHeaderSize+len(o.buf)/4)
	m[0] = outVersion
	binary.BigEndian.PutUint32(m[1:], o.count)
	o.done = append(o.done, append(m, s2.Encode(nil, o.buf)...))
	o.buf, o.count = o.buf[:0], 0
}

// Take returns the messages and leaves none behind.
func (o *OutEncoder) Take() [][]byte {
	if o.count > 0 {
		o.cut()
	}
	out := o.done
	o.done = nil
	return out
}

// OutBatch is a decoded message of WB_OUT.
type OutBatch struct {
	Sequence uint64    // in the stream
	Time     time.Time // when it was committed to it, wall time
	Count    int
	data     []byte
}

// DecodeOut reads a message and checks it wholly.
func DecodeOut(data []byte) (OutBatch, error) {
	if len(data) < outHeaderSize || data[0] != outVersion {
		return OutBatch{}, fmt.Errorf("%d bytes, want version 0x%02x and a header of %d: %w", len(data), outVersion, outHeaderSize, ErrOut)
	}
	if n, err := s2.DecodedLen(data[outHeaderSize:]); err != nil || n > maxOut {
		return OutBatch{}, fmt.Errorf("uncompressed %d bytes (%v), want at most %d: %w", n, err, maxOut, ErrOut)
	}
	plain, err := s2.Decode(nil, data[outHeaderSize:])
	if err != nil {
		return OutBatch{}, fmt.Errorf("%w: %w", ErrOut, err)
	}
	b := OutBatch{Count: int(binary.BigEndian.Uint32(data[1:])), data: plain}
	c := cursor{data: plain}
	for n := range b.Count {
		readOut(&c, nil)
		if c.bad {
			return OutBatch{}, fmt.Errorf("event %d of %d is broken or cut off: %w", n+1, b.Count, ErrOut)
		}
	}
	if c.at != len(plain) {
		return OutBatch{}, fmt.Errorf("%d bytes behind the last of %d events: %w", len(plain)-c.at, b.Count, ErrOut)
	}
	return b, nil
}

// readOut reads an event; e may be nil.
func readOut(c *cursor, e *OutEvent) {
	var from, to [6]int
	for i := range 5 {
		from[i], to[i] = c.bytes(c.uvarint(), maxWord)
	}
	at := c.uvarint()
	from[5], to[5] = c.bytes(c.uvarint(), maxOut)
	if c.bad || e == nil {
		return
	}
	text := func(i int) string { return string(c.data[from[i]:to[i]]) }
	*e = OutEvent{Kind: text(0), Name: text(1), ID: text(2), Path: text(3), UID: text(4), Time: int64(at), Data: c.data[from[5]:to[5]:to[5]]}
}

// All yields the events in order. Their data alias the batch.
func (b *OutBatch) All() iter.Seq[OutEvent] {
	return func(yield func(OutEvent) bool) {
		c := cursor{data: b.data}
		var e OutEvent
		for range b.Count {
			readOut(&c, &e)
			if !yield(e) {
				return
			}
		}
	}
}
