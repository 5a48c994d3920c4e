package conformance

import (
	"errors"
	"fmt"
)

// The protocol levels.
const (
	v311 = 4
	v5   = 5
)

// Packet types, MQTT 3.1.1, 2.2.1.
const (
	typeConnect = 1 + iota
	typeConnack
	typePublish
	typePuback
	typePubrec
	typePubrel
	typePubcomp
	typeSubscribe
	typeSuback
	typeUnsubscribe
	typeUnsuback
	typePingreq
	typePingresp
	typeDisconnect
	typeAuth
)

var names = [16]string{"packet type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}

var (
	pingreq    = []byte{typePingreq << 4, 0}
	disconnect = []byte{typeDisconnect << 4, 0}
)

// packet is one as it came: first byte and what follows the fixed header.
type packet struct {
	head byte
	body []byte
}

func (q packet) String() string { return fmt.Sprintf("%s %02x %x", names[q.head>>4], q.head, q.body) }

// frame puts a fixed header before its parts.
func frame(head byte, parts ...[]byte) []byte {
	body := join(parts...)
	return join([]byte{head}, varint(len(body)), body)
}

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func varint(n int) []byte {
	var b []byte
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func u16(n uint16) []byte  { return []byte{byte(n >> 8), byte(n)} }
func u32(n uint32) []byte  { return join(u16(uint16(n>>16)), u16(uint16(n))) }
func str(s string) []byte  { return join(u16(uint16(len(s))), []byte(s)) }
func u8(bs ...byte) []byte { return bs }

// section is the properties of a packet of MQTT 5, nothing before it.
func section(v byte, props []byte) []byte {
	if v != v5 {
		return nil
	}
	return join(varint(len(props)), props)
}

// ackOf is a packet of nothing but an identifier; in MQTT 5 that means success.
func ackOf(kind byte, id uint16) []byte {
	head := kind << 4
	if kind == typePubrel {
		head |= 2
	}
	return frame(head, u16(id))
}

// connect is a CONNECT.
type connect struct {
	id        string
	clean     bool
	keepAlive uint16
	expiry    uint32 // MQTT 5: session expiry, s
	props     []byte // MQTT 5: more
	will      *will
	user      string // "": none
	password  string // "": none
}

type will struct {
	publish
	delay uint32 // MQTT 5, s
}

func (c connect) encode(v byte) []byte {
	var flags byte
	if c.clean {
		flags |= 2
	}
	props := c.props
	if c.expiry > 0 {
		props = join(props, u8(propSessionExpiry), u32(c.expiry))
	}
	payload := str(c.id)
	if w := c.will; w != nil {
		flags |= 4 | w.qos<<3
		if w.retain {
			flags |= 0x20
		}
		wp := w.props
		if w.delay > 0 {
			wp = join(wp, u8(propWillDelay), u32(w.delay))
		}
		payload = join(payload, section(v, wp), str(w.topic), str(w.payload))
	}
	if c.user != "" {
		flags |= 0x80
		payload = join(payload, str(c.user))
	}
	if c.password != "" {
		flags |= 0x40
		payload = join(payload, str(c.password))
	}
	return connectBytes(v, "MQTT", v, flags, c.keepAlive, props, payload)
}

// connectBytes is a CONNECT with a payload that need not fit its flags.
func connectBytes(v byte, name string, level, flags byte, keepAlive uint16, props, payload []byte) []byte {
	return frame(typeConnect<<4, str(name), u8(level, flags), u16(keepAlive), section(v, props), payload)
}

type connack struct {
	present bool
	code    byte
	props   props
}

func decodeConnack(v byte, q packet) (connack, error) {
	if q.head != typeConnack<<4 || len(q.body) < 2 || v != v5 && len(q.body) != 2 || q.body[0] > 1 {
		return connack{}, fmt.Errorf("malformed: %v", q)
	}
	c := connack{present: q.body[0] == 1, code: q.body[1]}
	if v == v5 {
		var rest []byte
		var err error
		if c.props, rest, err = decodeProps(q.body[2:]); err != nil || len(rest) > 0 {
			return connack{}, fmt.Errorf("malformed: %v, %w", q, err)
		}
	}
	return c, nil
}

// publish is a PUBLISH.
type publish struct {
	dup, retain bool
	qos         byte
	topic       string
	id          uint16
	props       []byte // MQTT 5, as sent
	payload     string

	got props // MQTT 5, as received
}

func (m publish) String() string {
	return fmt.Sprintf("PUBLISH %q = %.40q, QoS %d, dup %v, retain %v, id %d, %v", m.topic, m.payload, m.qos, m.dup, m.retain, m.id, m.got)
}

func (m publish) encode(v byte) []byte {
	head := byte(typePublish<<4) | m.qos<<1
	if m.dup {
		head |= 8
	}
	if m.retain {
		head |= 1
	}
	var id []byte
	if m.qos > 0 {
		id = u16(m.id)
	}
	return frame(head, str(m.topic), id, section(v, m.props), []byte(m.payload))
}

func decodePublish(v byte, q packet) (publish, error) {
	m := publish{dup: q.head&8 != 0, retain: q.head&1 != 0, qos: q.head >> 1 & 3}
	bad := fmt.Errorf("malformed: %v", q)
	b := q.body
	if len(b) < 2 || len(b) < 2+int(b[0])<<8+int(b[1]) || m.qos == 3 || m.dup && m.qos == 0 {
		return m, bad
	}
	n := 2 + int(b[0])<<8 + int(b[1])
	m.topic, b = string(b[2:n]), b[n:]
	if m.qos > 0 {
		if len(b) < 2 || b[0] == 0 && b[1] == 0 {
			return m, bad
		}
		m.id, b = uint16(b[0])<<8|uint16(b[1]), b[2:]
	}
	if v == v5 {
		var err error
		if m.got, b, err = decodeProps(b); err != nil {
			return m, errors.Join(bad, err)
		}
	}
	m.payload = string(b)
	return m, nil
}

// subscribe is a SUBSCRIBE with the same options for each filter.
type subscribe struct {
	id      uint16
	options byte
	filters []string
	props   []byte
}

func (s subscribe) encode(v byte) []byte {
	var payload []byte
	for _, f := range s.filters {
		payload = join(payload, str(f), u8(s.options))
	}
	return frame(typeSubscribe<<4|2, u16(s.id), section(v, s.props), payload)
}

func unsubscribe(v byte, id uint16, filters ...string) []byte {
	var payload []byte
	for _, f := range filters {
		payload = join(payload, str(f))
	}
	return frame(typeUnsubscribe<<4|2, u16(id), section(v, nil), payload)
}

// reply is any packet that answers by identifier.
type reply struct {
	id    uint16
	code  byte   // PUBACK, PUBREC, PUBREL, PUBCOMP of MQTT 5
	codes []byte // SUBACK; UNSUBACK of MQTT 5
	props props
}

func decodeReply(v byte, q packet) (reply, error) {
	kind := q.head >> 4
	want := kind << 4
	if kind == typePubrel {
		want |= 2
	}
	if len(q.body) < 2 || q.head != want {
		return reply{}, fmt.Errorf("malformed: %v", q)
	}
	r := reply{id: uint16(q.body[0])<<8 | uint16(q.body[1])}
	b := q.body[2:]
	var err error
	switch {
	case kind == typeSuback && v != v5:
		r.codes = b
	case v != v5:
		if len(b) > 0 {
			err = errors.New("too long")
		}
	case kind == typeSuback || kind == typeUnsuback:
		r.props, r.codes, err = decodeProps(b)
	case len(b) > 0:
		r.code = b[0]
		if len(b) > 1 {
			r.props, b, err = decodeProps(b[1:])
			if len(b) > 0 && err == nil {
				err = errors.New("too long")
			}
		}
	}
	if err != nil {
		return reply{}, fmt.Errorf("malformed: %v: %w", q, err)
	}
	return r, nil
}
