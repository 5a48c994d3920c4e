package mqttsn

// MaxNodeID is the longest wireless node id, in octets.
const MaxNodeID = 252

// Forward is a message on its way through a forwarder, in either direction
// (MQTT-SN 1.2, 5.5).
//
//	┌────────┬──────┬──────┬─────────┬─────────────────────┐
//	│ length │ 0xFE │ ctrl │ node id │ the message, as it is│
//	└────────┴──────┴──────┴─────────┴─────────────────────┘
//	└──── length counts these ───────┘
type Forward struct {
	Radius  byte   // 0 to 3, of a broadcast; used from a gateway to a forwarder only
	NodeID  []byte // of the client in its network, at most MaxNodeID octets; aliases the input
	Message []byte // a whole datagram, not parsed; aliases the input
}

// Type implements Message.
func (Forward) Type() MsgType { return FORWARD }

// DecodeForward reads the body of an encapsulation, and what it wraps. Of the latter
// only that it is no encapsulation is checked.
func DecodeForward(body, wrapped []byte) (Forward, error) {
	c := cursor{b: body, t: FORWARD}
	m := Forward{Radius: c.u8("ctrl") & 3}
	m.NodeID = c.bytes()
	if err := c.end(); err != nil {
		return Forward{}, err
	}
	m.Message = wrapped[:len(wrapped):len(wrapped)]
	return m, m.check()
}

func (m *Forward) check() error {
	switch {
	case len(m.NodeID) > MaxNodeID:
		return bad(FORWARD, "wireless node id", ErrTooLong)
	case m.Radius > 3:
		return bad(FORWARD, "ctrl", ErrTooLong)
	case len(m.Message) < 2:
		return bad(FORWARD, "message", ErrTruncated)
	case len(m.Message) > MaxLength:
		return bad(FORWARD, "message", ErrTooLong)
	case isForward(m.Message):
		return bad(FORWARD, "message", ErrNested)
	}
	return nil
}

func isForward(b []byte) bool {
	if b[0] == 1 {
		return len(b) > 3 && MsgType(b[3]) == FORWARD
	}
	return MsgType(b[1]) == FORWARD
}

// Append implements Message.
func (m Forward) Append(dst []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return dst, err
	}
	dst = append(dst, byte(3+len(m.NodeID)), byte(FORWARD), m.Radius)
	return append(append(dst, m.NodeID...), m.Message...), nil
}
