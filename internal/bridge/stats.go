package bridge

// Stats is a snapshot of a bridge.
type Stats struct {
	Status
	Queued      int // messages the upstream has not acknowledged; a batch is one of them, the open batch counts its messages
	QueuedBytes int
	QueueBound  int // bytes
	Waiting     int // publishers that wait for room in the queue
	Connects    uint64
	Up          uint64 // messages taken from the local broker
	Acked       uint64 // messages acknowledged by the upstream
	Batches     uint64 // batches queued
	Batched     uint64 // messages in them
	Down        uint64 // messages published into the local broker
	// Dropped counts messages by reason: not_connected (QoS 0 only), loop, too_large, refused (by the upstream, or larger than it
	// takes and queued before it said so), expired (as their properties say), bad_topic, other.
	Dropped map[string]uint64
}

// Stats gives a snapshot.
func (b *Bridge) Stats() Stats {
	c := b.client.Stats()
	b.mu.Lock()
	s := Stats{Status: b.status}
	b.mu.Unlock()
	s.Queued, s.QueuedBytes, s.QueueBound, s.Waiting = c.Queued, c.QueuedBytes, b.o.QueueBytes, c.Waiting
	s.Connects, s.Acked = c.Connects, c.Acked
	if g := b.batch; g != nil {
		s.Queued += int(g.held.Load())
		s.QueuedBytes += int(g.heldBytes.Load())
		s.Batches, s.Batched = g.batches.Load(), g.inside.Load()
	}
	s.Up, s.Down = b.n.up.Load(), b.n.down.Load()
	s.Dropped = map[string]uint64{
		"not_connected": c.Dropped,
		"loop":          b.n.loop.Load(),
		"too_large":     b.n.tooLarge.Load(),
		"refused":       c.Refused,
		"expired":       c.Expired,
		"bad_topic":     b.n.badTopic.Load(),
		"other":         b.n.other.Load(),
	}
	return s
}
