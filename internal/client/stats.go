package client

// counters are guarded by the client's mutex.
type counters struct {
	attempts, connects, received, dropped, refused, waits, writes uint64
}

// Stats is a snapshot of a client.
type Stats struct {
	Connected bool
	Server    string // of the connection, without credentials
	Local     string // address of this end of it

	Queued      int // messages unacknowledged, sent or not
	QueuedBytes int // as bounded by Options.QueueBytes
	Inflight    int // messages sent on this connection and unacknowledged
	Waiting     int // Publish calls that wait for room

	Attempts uint64 // to connect
	Connects uint64 // attempts that a server accepted
	Acked    uint64 // messages acknowledged by the server
	Received uint64
	Dropped  uint64 // messages of QoS 0 dropped for want of a connection
	Refused  uint64 // messages that the server acknowledged with a failure, or that are larger than it takes
	Expired  uint64 // messages dropped because their expiry had passed before they could be sent
	Waits    uint64 // Publish calls that had to wait
	Writes   uint64 // system calls that sent something, about
}

// Stats gives a snapshot.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{
		Queued:      int(c.box.tail - c.box.head),
		QueuedBytes: c.box.bytes,
		Waiting:     len(c.waiting),
		Attempts:    c.n.attempts,
		Connects:    c.n.connects,
		Acked:       c.box.finished,
		Received:    c.n.received,
		Dropped:     c.n.dropped + c.box.dropped,
		Refused:     c.n.refused + c.box.refused,
		Expired:     c.box.expired,
		Waits:       c.n.waits,
		Writes:      c.n.writes,
	}
	if c.link != nil {
		s.Connected = true
		s.Server = c.server(c.link.at).name
		if a := c.link.conn.LocalAddr(); a != nil {
			s.Local = a.String()
		}
		s.Inflight = int(c.box.next - c.box.head)
	}
	return s
}
