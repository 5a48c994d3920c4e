package record

import (
	"fmt"
	"math"
)

// BatchHeaderSize is what stands before the entries of a batch.
const BatchHeaderSize = 12

// Batch (0x08) carries messages that a concentrator put together.
type Batch struct {
	Header
	Count   uint16
	entries []byte
}

// DecodeBatch reads a batch and checks that its entries fill it exactly.
func DecodeBatch(b []byte) (Batch, error) {
	h, err := expect(b, TypeBatch)
	if err != nil {
		return Batch{}, err
	}
	if len(b) < BatchHeaderSize {
		return Batch{}, at("batch", len(b), ErrLength, "%d bytes, want at least %d", len(b), BatchHeaderSize)
	}
	m := Batch{Header: h, Count: u16(b[8:]), entries: b[BatchHeaderSize:]}
	n, rest := 0, m.entries
	for len(rest) > 0 {
		_, _, tail, ok := cutEntry(rest)
		if !ok {
			return m, at(fmt.Sprintf("batch: entry %d", n+1), len(b)-len(rest), ErrLength, "it is cut off")
		}
		rest = tail
		n++
	}
	if n != int(m.Count) {
		return m, at("batch: count", 8, ErrLength, "%d, and there are %d entries", m.Count, n)
	}
	return m, nil
}

// All calls f with each entry: the topic below the concentrator ([path/]kind/id/event) and the payload, both aliasing the batch.
func (m Batch) All(f func(topic, payload []byte)) {
	for rest := m.entries; len(rest) > 0; {
		t, p, tail, ok := cutEntry(rest)
		if !ok {
			return
		}
		f(t, p)
		rest = tail
	}
}

// Append encodes m behind dst.
func (m Batch) Append(dst []byte) []byte {
	return append(put16(put16(m.append(dst, TypeBatch), m.Count), 0), m.entries...)
}

// Size is the length of m encoded, in bytes.
func (m *Batch) Size() int { return BatchHeaderSize + len(m.entries) }

// EntrySize is by how much Add makes a batch larger.
func EntrySize(topic, payload int) int { return 1 + topic + 2 + payload }

// Reset takes all messages out of the batch and keeps its memory.
func (m *Batch) Reset() { m.Count, m.entries = 0, m.entries[:0] }

// Add puts one message into the batch; it is refused when a length does not fit its field.
func (m *Batch) Add(topic string, payload []byte) error {
	switch {
	case len(topic) == 0 || len(topic) > math.MaxUint8:
		return fmt.Errorf("batch: topic of %d bytes, want 1 to 255: %w", len(topic), ErrValue)
	case len(payload) > math.MaxUint16:
		return fmt.Errorf("batch: payload of %d bytes, want at most 65535: %w", len(payload), ErrValue)
	case m.Count == math.MaxUint16:
		return fmt.Errorf("batch: full with %d entries: %w", m.Count, ErrValue)
	}
	m.entries = append(append(m.entries, byte(len(topic))), topic...)
	m.entries = append(put16(m.entries, uint16(len(payload))), payload...)
	m.Count++
	return nil
}

func cutEntry(b []byte) (topic, payload, rest []byte, ok bool) {
	n := int(b[0])
	if n == 0 || len(b) < 1+n+2 {
		return nil, nil, nil, false
	}
	topic, b = b[1:1+n], b[1+n:]
	size := int(u16(b))
	if len(b) < 2+size {
		return nil, nil, nil, false
	}
	return topic, b[2 : 2+size], b[2+size:], true
}
