package broker

// received is the state of an incoming exchange of QoS 2 [MQTT-4.3.3-2] of MQTT 3.1.1,
// [MQTT-4.3.3-10].
type received struct {
	acked  bool // the handlers are done, PUBREC was sent or may be
	cut    bool // the broker ended before they were: they get the repeat
	waiter Ack  // the repeat, on a newer connection, that waits for them
}

// exchanges are the packet identifiers of QoS 2 that the client has not released yet. It may leave all
// 65,535 so, for as long as its session lasts; then they take some 16 KiB: of what is acknowledged, which
// is all but what is being handled, there is a bit, but of the first few. nil: none. It is guarded by session.mu.
type exchanges struct {
	acked map[byte]*[4]uint64 // by the upper half of the identifier
	busy  map[uint16]received // the others
	n     int
}

// fewExchanges are no more than most clients ever have: for them a map is quicker than bits.
const fewExchanges = 16

func (x *exchanges) len() int {
	if x == nil {
		return 0
	}
	return x.n
}

func (x *exchanges) get(id uint16) (r received, known bool) {
	if x == nil {
		return received{}, false
	}
	if r, known = x.busy[id]; known {
		return r, true
	}
	if x.bit(id) {
		return received{acked: true}, true
	}
	return received{}, false
}

func (x *exchanges) bit(id uint16) bool {
	b := x.acked[byte(id>>8)]
	return b != nil && b[id>>6&3]&(1<<(id&63)) != 0
}

func (x *exchanges) set(id uint16, r received) {
	x.drop(id)
	x.n++
	if r != (received{acked: true}) || len(x.busy) < fewExchanges {
		if x.busy == nil {
			x.busy = map[uint16]received{}
		}
		x.busy[id] = r
		return
	}
	b := x.acked[byte(id>>8)]
	if b == nil {
		if x.acked == nil {
			x.acked = map[byte]*[4]uint64{}
		}
		b = new([4]uint64)
		x.acked[byte(id>>8)] = b
	}
	b[id>>6&3] |= 1 << (id & 63)
}

func (x *exchanges) drop(id uint16) {
	if _, known := x.busy[id]; known {
		x.n--
		if delete(x.busy, id); len(x.busy) == 0 {
			x.busy = nil // what many at once have taken
		}
		return
	}
	if !x.bit(id) {
		return
	}
	x.n--
	b := x.acked[byte(id>>8)]
	if b[id>>6&3] &^= 1 << (id & 63); *b == [4]uint64{} {
		delete(x.acked, byte(id>>8))
	}
}

// all calls f with each.
func (x *exchanges) all(f func(id uint16, r received)) {
	if x == nil {
		return
	}
	for id, r := range x.busy {
		f(id, r)
	}
	for high, b := range x.acked {
		for low := range 256 {
			if id := uint16(high)<<8 | uint16(low); b[low>>6]&(1<<(low&63)) != 0 {
				f(id, received{acked: true})
			}
		}
	}
}

// setReceived notes the state of an exchange. s.mu is held.
func (s *session) setReceived(id uint16, r received) {
	if s.received == nil {
		s.received = &exchanges{}
	}
	s.received.set(id, r)
}

// forgetReceived frees a packet identifier. s.mu is held.
func (s *session) forgetReceived(id uint16) {
	if s.received != nil {
		if s.received.drop(id); s.received.n == 0 {
			s.received = nil
		}
	}
	if s.journal != nil {
		s.journal.receive(StoredReceived{Session: s.nr, PacketID: id, Gone: true})
	}
}
