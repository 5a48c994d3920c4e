package mqttsn

// Message is any MQTT-SN message.
type Message interface {
	// Type is its message type.
	Type() MsgType
	// Append appends the whole datagram, or returns dst as it came and an error if
	// a field does not hold its value.
	Append(dst []byte) ([]byte, error)
}

// Decode reads a whole datagram. Byte slices of the message alias it.
func Decode(datagram []byte) (Message, error) {
	h, err := ParseHeader(datagram)
	if err != nil {
		return nil, err
	}
	body := datagram[h.Size:h.Length]
	switch h.Type {
	case ADVERTISE:
		return box(DecodeAdvertise(body))
	case SEARCHGW:
		return box(DecodeSearchgw(body))
	case GWINFO:
		return box(DecodeGwinfo(body))
	case CONNECT:
		return box(DecodeConnect(body))
	case CONNACK:
		return box(DecodeConnack(body))
	case WILLTOPICREQ:
		return box(DecodeWilltopicreq(body))
	case WILLTOPIC:
		return box(DecodeWilltopic(body))
	case WILLMSGREQ:
		return box(DecodeWillmsgreq(body))
	case WILLMSG:
		return box(DecodeWillmsg(body))
	case REGISTER:
		return box(DecodeRegister(body))
	case REGACK:
		return box(DecodeRegack(body))
	case PUBLISH:
		return box(DecodePublish(body))
	case PUBACK:
		return box(DecodePuback(body))
	case PUBCOMP:
		return box(DecodePubcomp(body))
	case PUBREC:
		return box(DecodePubrec(body))
	case PUBREL:
		return box(DecodePubrel(body))
	case SUBSCRIBE:
		return box(DecodeSubscribe(body))
	case SUBACK:
		return box(DecodeSuback(body))
	case UNSUBSCRIBE:
		return box(DecodeUnsubscribe(body))
	case UNSUBACK:
		return box(DecodeUnsuback(body))
	case PINGREQ:
		return box(DecodePingreq(body))
	case PINGRESP:
		return box(DecodePingresp(body))
	case DISCONNECT:
		return box(DecodeDisconnect(body))
	case WILLTOPICUPD:
		return box(DecodeWilltopicupd(body))
	case WILLTOPICRESP:
		return box(DecodeWilltopicresp(body))
	case WILLMSGUPD:
		return box(DecodeWillmsgupd(body))
	case WILLMSGRESP:
		return box(DecodeWillmsgresp(body))
	}
	return box(DecodeForward(body, datagram[h.Length:])) // FORWARD: all others are refused by ParseHeader
}

func box[M Message](m M, err error) (Message, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}
