package conformance

import (
	"errors"
	"fmt"
)

// The properties of MQTT 5, 2.2.2.2.
const (
	propPayloadFormat    = 0x01
	propMessageExpiry    = 0x02
	propContentType      = 0x03
	propResponseTopic    = 0x08
	propCorrelation      = 0x09
	propSubscriptionID   = 0x0b
	propSessionExpiry    = 0x11
	propAssignedID       = 0x12
	propServerKeepAlive  = 0x13
	propAuthMethod       = 0x15
	propAuthData         = 0x16
	propRequestProblem   = 0x17
	propWillDelay        = 0x18
	propRequestResponse  = 0x19
	propResponseInfo     = 0x1a
	propServerReference  = 0x1c
	propReasonString     = 0x1f
	propReceiveMaximum   = 0x21
	propTopicAliasMax    = 0x22
	propTopicAlias       = 0x23
	propMaximumQoS       = 0x24
	propRetainAvailable  = 0x25
	propUserProperty     = 0x26
	propMaximumPacket    = 0x27
	propWildcardAvail    = 0x28
	propSubscriptionIDOK = 0x29
	propSharedAvail      = 0x2a
)

func user(key, value string) []byte { return join(u8(propUserProperty), str(key), str(value)) }

// prop is one property: a number, a string or binary, or a pair.
type prop struct {
	id    byte
	n     uint32
	s, s2 string
}

type props []prop

// all gives the properties with the identifier.
func (ps props) all(id byte) (found props) {
	for _, p := range ps {
		if p.id == id {
			found = append(found, p)
		}
	}
	return found
}

// number gives the value of a property, or what stands for its absence.
func (ps props) number(id byte, absent uint32) uint32 {
	if found := ps.all(id); len(found) > 0 {
		return found[0].n
	}
	return absent
}

func (ps props) text(id byte) string {
	if found := ps.all(id); len(found) > 0 {
		return found[0].s
	}
	return ""
}

func decodeProps(b []byte) (ps props, rest []byte, err error) {
	size, b, ok := takeVarint(b)
	if !ok || len(b) < size {
		return nil, nil, errors.New("property length")
	}
	b, rest = b[:size], b[size:]
	for len(b) > 0 {
		p := prop{id: b[0]}
		b = b[1:]
		need := 0
		switch p.id {
		case propPayloadFormat, propRequestProblem, propRequestResponse, propMaximumQoS, propRetainAvailable, propWildcardAvail,
			propSubscriptionIDOK, propSharedAvail:
			need = 1
		case propServerKeepAlive, propReceiveMaximum, propTopicAliasMax, propTopicAlias:
			need = 2
		case propMessageExpiry, propSessionExpiry, propWillDelay, propMaximumPacket:
			need = 4
		case propSubscriptionID:
			var n int
			if n, b, ok = takeVarint(b); !ok {
				return nil, nil, errors.New("subscription identifier")
			}
			p.n = uint32(n)
		case propUserProperty:
			if p.s, b, ok = takeString(b); ok {
				p.s2, b, ok = takeString(b)
			}
		case propContentType, propResponseTopic, propCorrelation, propAssignedID, propAuthMethod, propAuthData, propResponseInfo,
			propServerReference, propReasonString:
			p.s, b, ok = takeString(b)
		default:
			return nil, nil, fmt.Errorf("property %#02x", p.id)
		}
		if !ok || len(b) < need {
			return nil, nil, fmt.Errorf("property %#02x ends early", p.id)
		}
		for _, c := range b[:need] {
			p.n = p.n<<8 | uint32(c)
		}
		b = b[need:]
		ps = append(ps, p)
	}
	return ps, rest, nil
}

func takeVarint(b []byte) (n int, rest []byte, ok bool) {
	for i := 0; i < 4 && i < len(b); i++ {
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

func takeString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 2 || len(b) < 2+int(b[0])<<8+int(b[1]) {
		return "", nil, false
	}
	n := 2 + int(b[0])<<8 + int(b[1])
	return string(b[2:n]), b[n:], true
}
