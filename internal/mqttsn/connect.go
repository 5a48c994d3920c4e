package mqttsn

// ProtocolID is that of MQTT-SN 1.2 (5.3.8); 2 is a draft of MQTT-SN 2.0.
const ProtocolID = 1

// MaxClientID is how long the specification lets a client id be, in characters
// (5.3.1). It is not checked here: there are clients with longer ones.
const MaxClientID = 23

// Connect sets up a connection (MQTT-SN 1.2, 5.4.4).
type Connect struct {
	Will     bool   // prompt for will topic and will message
	Clean    bool   // forget subscriptions, topic ids and the will
	Duration uint16 // keep-alive in seconds; 0: none
	ClientID string
}

// Type implements Message.
func (Connect) Type() MsgType { return CONNECT }

// DecodeConnect reads the body of a CONNECT. ErrProtocolID is the error of one that
// is of another version of the protocol.
func DecodeConnect(body []byte) (Connect, error) {
	c := cursor{b: body, t: CONNECT}
	flags := c.u8("flags")
	m := Connect{Will: flags&flagWill != 0, Clean: flags&flagClean != 0}
	if id := c.u8("protocol id"); c.err == nil && id != ProtocolID {
		c.fail("protocol id", ErrProtocolID)
	}
	m.Duration = c.u16("duration")
	m.ClientID = c.name("client id")
	return m, c.end()
}

// Append implements Message.
func (m Connect) Append(dst []byte) ([]byte, error) {
	if err := checkName(CONNECT, "client id", m.ClientID); err != nil {
		return dst, err
	}
	dst = appendHeader(dst, CONNECT, 4+len(m.ClientID))
	dst = append(dst, flagIf(m.Will, flagWill)|flagIf(m.Clean, flagClean), ProtocolID)
	return append(appendU16(dst, m.Duration), m.ClientID...), nil
}
