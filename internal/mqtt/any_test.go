package mqtt

import "fmt"

// bare is a packet without a body.
type bare struct{ t PacketType }

// decodeAny reads one packet, as a server or client that allows every type would.
func decodeAny(v Version, b []byte) (p any, size int, err error) {
	h, n, err := ParseFixedHeader(b)
	if err != nil || n == 0 {
		return nil, 0, err
	}
	if err := h.Check(v); err != nil {
		return nil, 0, err
	}
	if len(b)-n < h.Length {
		return nil, 0, nil
	}
	body := b[n : n+h.Length]
	size = n + h.Length
	switch h.Type {
	case CONNECT:
		p, err = DecodeConnect(body)
	case CONNACK:
		p, err = DecodeConnack(v, body)
	case PUBLISH:
		p, err = DecodePublish(v, h.Flags, body)
	case PUBACK:
		p, err = DecodePuback(v, body)
	case PUBREC:
		p, err = DecodePubrec(v, body)
	case PUBREL:
		p, err = DecodePubrel(v, body)
	case PUBCOMP:
		p, err = DecodePubcomp(v, body)
	case SUBSCRIBE:
		p, err = DecodeSubscribe(v, body)
	case SUBACK:
		p, err = DecodeSuback(v, body)
	case UNSUBSCRIBE:
		p, err = DecodeUnsubscribe(v, body)
	case UNSUBACK:
		p, err = DecodeUnsuback(v, body)
	case DISCONNECT:
		p, err = DecodeDisconnect(v, body)
	case AUTH:
		p, err = DecodeAuth(v, body)
	default:
		p = bare{h.Type}
	}
	return p, size, err
}

// encodeAny is the way back.
func encodeAny(v Version, p any) ([]byte, error) {
	switch p := p.(type) {
	case Connect:
		return AppendConnect(nil, &p)
	case Connack:
		return AppendConnack(nil, v, &p)
	case Publish:
		return AppendPublish(nil, v, &p)
	case Puback:
		return AppendPuback(nil, v, p), nil
	case Pubrec:
		return AppendPubrec(nil, v, p), nil
	case Pubrel:
		return AppendPubrel(nil, v, p), nil
	case Pubcomp:
		return AppendPubcomp(nil, v, p), nil
	case Subscribe:
		return AppendSubscribe(nil, v, &p)
	case Suback:
		return AppendSuback(nil, v, &p)
	case Unsubscribe:
		return AppendUnsubscribe(nil, v, &p)
	case Unsuback:
		return AppendUnsuback(nil, v, &p)
	case bare:
		switch p.t {
		case PINGREQ:
			return AppendPingreq(nil), nil
		case PINGRESP:
			return AppendPingresp(nil), nil
		}
	case Disconnect:
		return AppendDisconnect(nil, v, &p)
	case Auth:
		return AppendAuth(nil, v, &p)
	}
	return nil, fmt.Errorf("no encoder for %T", p)
}
