package mqtt

import (
	"errors"
	"fmt"
	"slices"
)

// Reason is the reason code of MQTT 5: the result of what a packet asked for, or
// why a connection ends (MQTT 5, 2.4). Below 0x80 it is success.
type Reason byte

// The reason codes. ReasonSuccess also stands for normal disconnection and for a
// granted QoS of 0.
const (
	ReasonSuccess                    Reason = 0x00
	ReasonGrantedQoS1                Reason = 0x01
	ReasonGrantedQoS2                Reason = 0x02
	ReasonDisconnectWithWill         Reason = 0x04
	ReasonNoMatchingSubscribers      Reason = 0x10
	ReasonNoSubscriptionExisted      Reason = 0x11
	ReasonContinueAuthentication     Reason = 0x18
	ReasonReauthenticate             Reason = 0x19
	ReasonUnspecifiedError           Reason = 0x80
	ReasonMalformedPacket            Reason = 0x81
	ReasonProtocolError              Reason = 0x82
	ReasonImplementationSpecific     Reason = 0x83
	ReasonUnsupportedVersion         Reason = 0x84
	ReasonClientIDNotValid           Reason = 0x85
	ReasonBadUsernameOrPassword      Reason = 0x86
	ReasonNotAuthorized              Reason = 0x87
	ReasonServerUnavailable          Reason = 0x88
	ReasonServerBusy                 Reason = 0x89
	ReasonBanned                     Reason = 0x8a
	ReasonServerShuttingDown         Reason = 0x8b
	ReasonBadAuthenticationMethod    Reason = 0x8c
	ReasonKeepAliveTimeout           Reason = 0x8d
	ReasonSessionTakenOver           Reason = 0x8e
	ReasonTopicFilterInvalid         Reason = 0x8f
	ReasonTopicNameInvalid           Reason = 0x90
	ReasonPacketIDInUse              Reason = 0x91
	ReasonPacketIDNotFound           Reason = 0x92
	ReasonReceiveMaximumExceeded     Reason = 0x93
	ReasonTopicAliasInvalid          Reason = 0x94
	ReasonPacketTooLarge             Reason = 0x95
	ReasonMessageRateTooHigh         Reason = 0x96
	ReasonQuotaExceeded              Reason = 0x97
	ReasonAdministrativeAction       Reason = 0x98
	ReasonPayloadFormatInvalid       Reason = 0x99
	ReasonRetainNotSupported         Reason = 0x9a
	ReasonQoSNotSupported            Reason = 0x9b
	ReasonUseAnotherServer           Reason = 0x9c
	ReasonServerMoved                Reason = 0x9d
	ReasonSharedNotSupported         Reason = 0x9e
	ReasonConnectionRateExceeded     Reason = 0x9f
	ReasonMaximumConnectTime         Reason = 0xa0
	ReasonSubscriptionIDNotSupported Reason = 0xa1
	ReasonWildcardNotSupported       Reason = 0xa2
)

// in is a set of packet types.
func in(types ...PacketType) (set uint16) {
	for _, t := range types {
		set |= 1 << t
	}
	return set
}

var (
	allAcks  = in(CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT)
	pubAcks  = in(PUBACK, PUBREC)
	goodbyes = in(CONNACK, DISCONNECT)
)

// reasons is table 2-6 of MQTT 5: what a code is called and which packets carry it.
var reasons = map[Reason]struct {
	name string
	in   uint16
}{
	ReasonSuccess: {"success", allAcks | in(PUBREL, PUBCOMP, AUTH)},
	// Table 2-6 has them in SUBACK alone.
	ReasonGrantedQoS1:                {"granted QoS 1", in(SUBACK)},
	ReasonGrantedQoS2:                {"granted QoS 2", in(SUBACK)},
	ReasonDisconnectWithWill:         {"disconnect with will message", in(DISCONNECT)},
	ReasonNoMatchingSubscribers:      {"no matching subscribers", pubAcks},
	ReasonNoSubscriptionExisted:      {"no subscription existed", in(UNSUBACK)},
	ReasonContinueAuthentication:     {"continue authentication", in(AUTH)},
	ReasonReauthenticate:             {"re-authenticate", in(AUTH)},
	ReasonUnspecifiedError:           {"unspecified error", allAcks},
	ReasonMalformedPacket:            {"malformed packet", goodbyes},
	ReasonProtocolError:              {"protocol error", goodbyes},
	ReasonImplementationSpecific:     {"implementation specific error", allAcks},
	ReasonUnsupportedVersion:         {"unsupported protocol version", in(CONNACK)},
	ReasonClientIDNotValid:           {"client identifier not valid", in(CONNACK)},
	ReasonBadUsernameOrPassword:      {"bad user name or password", in(CONNACK)},
	ReasonNotAuthorized:              {"not authorized", allAcks},
	ReasonServerUnavailable:          {"server unavailable", in(CONNACK)},
	ReasonServerBusy:                 {"server busy", goodbyes},
	ReasonBanned:                     {"banned", in(CONNACK)},
	ReasonServerShuttingDown:         {"server shutting down", in(DISCONNECT)},
	ReasonBadAuthenticationMethod:    {"bad authentication method", goodbyes},
	ReasonKeepAliveTimeout:           {"keep alive timeout", in(DISCONNECT)},
	ReasonSessionTakenOver:           {"session taken over", in(DISCONNECT)},
	ReasonTopicFilterInvalid:         {"topic filter invalid", in(SUBACK, UNSUBACK, DISCONNECT)},
	ReasonTopicNameInvalid:           {"topic name invalid", pubAcks | goodbyes},
	ReasonPacketIDInUse:              {"packet identifier in use", pubAcks | in(SUBACK, UNSUBACK)},
	ReasonPacketIDNotFound:           {"packet identifier not found", in(PUBREL, PUBCOMP)},
	ReasonReceiveMaximumExceeded:     {"receive maximum exceeded", in(DISCONNECT)},
	ReasonTopicAliasInvalid:          {"topic alias invalid", in(DISCONNECT)},
	ReasonPacketTooLarge:             {"packet too large", goodbyes},
	ReasonMessageRateTooHigh:         {"message rate too high", in(DISCONNECT)},
	ReasonQuotaExceeded:              {"quota exceeded", pubAcks | goodbyes | in(SUBACK)},
	ReasonAdministrativeAction:       {"administrative action", in(DISCONNECT)},
	ReasonPayloadFormatInvalid:       {"payload format invalid", pubAcks | goodbyes},
	ReasonRetainNotSupported:         {"retain not supported", goodbyes},
	ReasonQoSNotSupported:            {"QoS not supported", goodbyes},
	ReasonUseAnotherServer:           {"use another server", goodbyes},
	ReasonServerMoved:                {"server moved", goodbyes},
	ReasonSharedNotSupported:         {"shared subscriptions not supported", in(SUBACK, DISCONNECT)},
	ReasonConnectionRateExceeded:     {"connection rate exceeded", goodbyes},
	ReasonMaximumConnectTime:         {"maximum connect time", in(DISCONNECT)},
	ReasonSubscriptionIDNotSupported: {"subscription identifiers not supported", in(SUBACK, DISCONNECT)},
	ReasonWildcardNotSupported:       {"wildcard subscriptions not supported", in(SUBACK, DISCONNECT)},
}

// String gives the name of the specification, in lower case.
func (r Reason) String() string {
	if e, ok := reasons[r]; ok {
		return e.name
	}
	return fmt.Sprintf("reason code %#02x", byte(r))
}

// Failed reports whether the code says that what was asked for was not done.
func (r Reason) Failed() bool { return r >= 0x80 }

// AllowedIn reports whether a packet of type t may carry the code.
func (r Reason) AllowedIn(t PacketType) bool {
	if r == ReasonSuccess { // nearly every one; spares the look-up
		return t <= AUTH && (allAcks|in(PUBREL, PUBCOMP, AUTH))&(1<<t) != 0
	}
	e, ok := reasons[r]
	return ok && t <= AUTH && e.in&(1<<t) != 0
}

// ReturnCode is the nearest return code of CONNACK in MQTT 3.1.1.
func (r Reason) ReturnCode() ReturnCode {
	switch {
	case !r.Failed():
		return Accepted
	case r == ReasonUnsupportedVersion:
		return UnacceptableVersion
	case r == ReasonClientIDNotValid:
		return IdentifierRejected
	case r == ReasonBadUsernameOrPassword:
		return BadUsernameOrPassword
	case r == ReasonNotAuthorized, r == ReasonBanned, r == ReasonBadAuthenticationMethod:
		return NotAuthorized
	}
	return ServerUnavailable
}

// Reason is the reason code that says the same in MQTT 5.
func (c ReturnCode) Reason() Reason {
	switch c {
	case Accepted:
		return ReasonSuccess
	case UnacceptableVersion:
		return ReasonUnsupportedVersion
	case IdentifierRejected:
		return ReasonClientIDNotValid
	case ServerUnavailable:
		return ReasonServerUnavailable
	case BadUsernameOrPassword:
		return ReasonBadUsernameOrPassword
	case NotAuthorized:
		return ReasonNotAuthorized
	}
	return ReasonUnspecifiedError
}

// ReasonOf is the reason code with which to end the connection of a peer whose
// packet gave err: what cannot be read is malformed, what can be read and is not
// allowed is a protocol error (MQTT 5, 4.13), unless a code says more. An err that
// is not of this package gives ReasonUnspecifiedError.
func ReasonOf(err error) Reason {
	var p *PacketError
	if !errors.As(err, &p) {
		if errors.Is(err, ErrUnsupported) {
			return ReasonUnsupportedVersion
		}
		return ReasonUnspecifiedError
	}
	is := func(errs ...error) bool {
		return slices.ContainsFunc(errs, func(e error) bool { return errors.Is(p.Err, e) })
	}
	switch {
	case is(ErrPropertyTwice, ErrValue, ErrEmpty, ErrPacketID, ErrCode, ErrNoTopic),
		is(ErrQoS) && p.Type == SUBSCRIBE: // MQTT 5, 3.8.3.1
		return ReasonProtocolError
	case is(ErrTopicAlias): // MQTT 5, 3.3.2.3.4
		return ReasonTopicAliasInvalid
	case is(ErrTopic) && (p.Type == SUBSCRIBE || p.Type == UNSUBSCRIBE):
		return ReasonTopicFilterInvalid
	case is(ErrTopic):
		return ReasonTopicNameInvalid
	case is(ErrProtocolName, ErrUnsupported): // [MQTT-3.1.2-1], [MQTT-3.1.2-2]
		return ReasonUnsupportedVersion
	}
	return ReasonMalformedPacket // also of a QoS of 3 elsewhere [MQTT-3.1.2-12], [MQTT-3.3.1-4]
}
