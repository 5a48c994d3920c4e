package mqtt

import "math/bits"

// numberSize is how many bytes a number of each kind takes.
var numberSize = [...]int{kindFlag: 1, kindU16: 2, kindU32: 4}

func (s PropertySet) first() Property { return Property(bits.TrailingZeros64(uint64(s))) }

// text gives the field of a property that is a string.
func (p *Properties) text(id Property) *string {
	switch id {
	case PropContentType:
		return &p.ContentType
	case PropResponseTopic:
		return &p.ResponseTopic
	case PropAssignedClientID:
		return &p.AssignedClientID
	case PropAuthMethod:
		return &p.AuthMethod
	case PropResponseInfo:
		return &p.ResponseInfo
	case PropServerReference:
		return &p.ServerReference
	}
	return &p.ReasonString
}

// binary gives the field of a property that is bytes.
func (p *Properties) binary(id Property) *[]byte {
	if id == PropAuthData {
		return &p.AuthData
	}
	return &p.CorrelationData
}

// number gives the value of a property that is a number or a flag.
func (p *Properties) number(id Property) uint32 {
	switch id {
	case PropPayloadFormat:
		return uint32(p.PayloadFormat)
	case PropMessageExpiry:
		return p.MessageExpiry
	case PropSessionExpiry:
		return p.SessionExpiry
	case PropServerKeepAlive:
		return uint32(p.ServerKeepAlive)
	case PropWillDelay:
		return p.WillDelay
	case PropReceiveMaximum:
		return uint32(p.ReceiveMaximum)
	case PropTopicAliasMaximum:
		return uint32(p.TopicAliasMaximum)
	case PropTopicAlias:
		return uint32(p.TopicAlias)
	case PropMaximumQoS:
		return uint32(p.MaximumQoS)
	case PropMaximumPacketSize:
		return p.MaximumPacketSize
	}
	if f := p.flag(id); f != nil && *f {
		return 1
	}
	return 0
}

func (p *Properties) setNumber(id Property, v uint32) {
	switch id {
	case PropPayloadFormat:
		p.PayloadFormat = byte(v)
	case PropMessageExpiry:
		p.MessageExpiry = v
	case PropSessionExpiry:
		p.SessionExpiry = v
	case PropServerKeepAlive:
		p.ServerKeepAlive = uint16(v)
	case PropWillDelay:
		p.WillDelay = v
	case PropReceiveMaximum:
		p.ReceiveMaximum = uint16(v)
	case PropTopicAliasMaximum:
		p.TopicAliasMaximum = uint16(v)
	case PropTopicAlias:
		p.TopicAlias = uint16(v)
	case PropMaximumQoS:
		p.MaximumQoS = byte(v)
	case PropMaximumPacketSize:
		p.MaximumPacketSize = v
	default:
		if f := p.flag(id); f != nil {
			*f = v == 1
		}
	}
}

// flag gives the field of a property that is yes or no.
func (p *Properties) flag(id Property) *bool {
	switch id {
	case PropRequestProblemInfo:
		return &p.RequestProblemInfo
	case PropRequestResponseInfo:
		return &p.RequestResponseInfo
	case PropRetainAvailable:
		return &p.RetainAvailable
	case PropWildcardAvailable:
		return &p.WildcardAvailable
	case PropSubscriptionIDAvailable:
		return &p.SubscriptionIDAvailable
	case PropSharedAvailable:
		return &p.SharedAvailable
	}
	return nil
}
