package eeb

import (
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// batch is what is committed together: entries for the bus, and what must be done before its messages are acknowledged.
type batch struct {
	entries   bus.Encoder
	data      []byte // of the entries, once taken
	acks      []broker.Ack
	locations []store.Location
	dead      []bus.DeadLetter
	replies   []registration           // to acknowledge afterwards
	answers   []answer                 // to send afterwards
	windows   map[seal.Stream]struct{} // of sealed messages, changed
	seen      []store.SealWindow       // the same, once nothing more comes in
	counts    [uplinkTypes]int
	bytes     int64 // what it counts for in uncommitted
	urgent    bool  // somebody waits for what is in it
}

// answer is what a device wants to hear in its own format.
type answer struct {
	to      topic.Topic
	payload []byte
}

// registration is answered with a location acknowledgement over the path it came.
type registration struct {
	path, kind, id string
	seq            uint32
}

// uplinkType counts messages: the types of package record, and a concentrator's status.
type uplinkType uint8

const (
	uplinkStatus uplinkType = 0
	uplinkTypes             = uplinkType(record.UpTypes)
)

func (t uplinkType) String() string {
	if t == uplinkStatus {
		return "status"
	}
	return record.Type(t).Event()
}

func (b *batch) empty() bool {
	return len(b.acks) == 0 && b.entries.Count() == 0 && len(b.dead) == 0 && len(b.locations) == 0 && len(b.replies) == 0
}

// size is the number of messages in it.
func (b *batch) size() int { return max(b.entries.Count(), len(b.acks)) }

// reset makes the batch empty and keeps its memory, unless that has become large.
func (b *batch) reset() {
	b.entries.Take(b.data)
	b.data = nil
	clear(b.acks)
	b.acks = b.acks[:0]
	b.locations, b.dead, b.replies, b.answers, b.windows, b.seen = nil, nil, nil, nil, nil, nil
	b.counts = [uplinkTypes]int{}
	b.bytes, b.urgent = 0, false
}

func (b *batch) location(l store.Location) {
	// The store takes the last of the same kind and id; few repeat within a batch.
	b.locations = append(b.locations, l)
}

func (b *batch) entry(t topic.Topic, now int64, payload []byte, as uplinkType) error {
	if err := b.entries.Append(&bus.Entry{Received: now, Path: t.Path, Kind: t.Kind, ID: t.ID, Event: t.Event, Payload: payload}); err != nil {
		return err
	}
	b.counts[as]++
	return nil
}
