package mqtt

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// good5 lists the packets of MQTT 5 with their annotated bytes.
var good5 = []struct {
	name   string
	v      Version
	hex    string
	packet any
}{
	{"CONNECT 5", V5,
		"10 0f 0004 4d515454 05" + // MQTT, level 5
			"02 003c 00" + // clean start, keep alive 60 s, no properties
			"0002 6d31", // m1
		Connect{Version: V5, Clean: true, KeepAlive: 60, ClientID: "m1"}},
	{"CONNECT 5 with every property", V5,
		"10 5c 0004 4d515454 05 46 0000" + // password without user name, will, clean
			"25" + // 37 bytes of properties
			"11 0000003c" + // session expiry interval 60 s
			"15 0001 58" + // authentication method X
			"16 0002 0001" + // authentication data
			"17 00" + // request problem information: no
			"19 01" + // request response information: yes
			"21 0014" + // receive maximum 20
			"22 000a" + // topic alias maximum 10
			"27 00010000" + // maximum packet size 65,536
			"26 0001 61 0002 6231" + // user property a: b1
			"0001 6d" + // client id m
			"1f" + // 31 bytes of will properties
			"01 01" + // payload format: text
			"02 0000000a" + // message expiry interval 10 s
			"03 0001 74" + // content type t
			"08 0001 72" + // response topic r
			"09 0001 ff" + // correlation data
			"18 00000005" + // will delay 5 s
			"26 0001 6b 0001 76" + // user property k: v
			"0001 77 0001 67" + // will topic w, will message g
			"0001 70", // password p
		Connect{Version: V5, Clean: true, ClientID: "m", HasPassword: true, Password: []byte("p"),
			Properties: &Properties{
				Present: Present(PropSessionExpiry, PropAuthMethod, PropAuthData, PropRequestProblemInfo,
					PropRequestResponseInfo, PropReceiveMaximum, PropTopicAliasMaximum, PropMaximumPacketSize),
				SessionExpiry: 60, AuthMethod: "X", AuthData: []byte{0, 1}, RequestResponseInfo: true,
				ReceiveMaximum: 20, TopicAliasMaximum: 10, MaximumPacketSize: 65536,
				UserProperties: []UserProperty{{"a", "b1"}}},
			Will: &Will{Topic: "w", Payload: []byte("g"), Properties: &Properties{
				Present: Present(PropPayloadFormat, PropMessageExpiry, PropContentType, PropResponseTopic,
					PropCorrelationData, PropWillDelay),
				PayloadFormat: 1, MessageExpiry: 10, ContentType: "t", ResponseTopic: "r",
				CorrelationData: []byte{255}, WillDelay: 5, UserProperties: []UserProperty{{"k", "v"}}}}}},
	{"CONNACK 5", V5, "20 03 01 00 00", Connack{SessionPresent: true}},
	{"CONNACK 5 with every property", V5,
		"20 45 00 00 42" +
			"11 ffffffff" + // session expiry: never
			"12 0002 6964" + // assigned client identifier id
			"13 001e" + // server keep alive 30 s
			"15 0001 58" + "16 0000" + // authentication method and data
			"1a 0001 72" + // response information r
			"1c 0001 73" + // server reference s
			"1f 0002 6f6b" + // reason string ok
			"21 ffff 22 0010" + // receive maximum, topic alias maximum
			"24 01 25 00" + // maximum QoS 1, no retained messages
			"27 00000400" + // maximum packet size 1,024
			"28 00 29 01 2a 00" + // wildcards no, subscription identifiers yes, shared no
			"26 0000 0001 31" + // user property, without a name
			"26 0000 0001 32", // the same name again
		Connack{Properties: &Properties{
			Present: Present(PropSessionExpiry, PropAssignedClientID, PropServerKeepAlive, PropAuthMethod, PropAuthData,
				PropResponseInfo, PropServerReference, PropReasonString, PropReceiveMaximum, PropTopicAliasMaximum,
				PropMaximumQoS, PropRetainAvailable, PropMaximumPacketSize, PropWildcardAvailable,
				PropSubscriptionIDAvailable, PropSharedAvailable),
			SessionExpiry: 0xffffffff, AssignedClientID: "id", ServerKeepAlive: 30, AuthMethod: "X", AuthData: []byte{},
			ResponseInfo: "r", ServerReference: "s", ReasonString: "ok", ReceiveMaximum: 65535, TopicAliasMaximum: 16,
			MaximumQoS: 1, MaximumPacketSize: 1024, SubscriptionIDAvailable: true,
			UserProperties: []UserProperty{{"", "1"}, {"", "2"}}}}},
	{"CONNACK 5 use another server", V5, "20 07 00 9c 04 1c 0001 73", Connack{
		Code: ServerUnavailable, Reason: ReasonUseAnotherServer,
		Properties: &Properties{Present: Present(PropServerReference), ServerReference: "s"}}},
	{"PUBLISH 5", V5, "32 09" + "0003 612f62" + "0102" + "00" + "2a", // no properties
		Publish{QoS: 1, Topic: "a/b", PacketID: 258, Payload: []byte{42}}},
	{"PUBLISH 5 with every property", V5,
		"30 24" + "0000" + "20" + // the topic is in the alias
			"01 01 02 00000e10" + // text, expires in an hour
			"03 0000 08 0001 72 09 0000" + // content type, response topic, correlation data
			"23 0007" + // topic alias 7
			"0b 01 0b ffffff7f" + // subscription identifiers
			"26 0000 0000" + // user property
			"68",
		Publish{Topic: "", Payload: []byte("h"), Properties: &Properties{
			Present: Present(PropPayloadFormat, PropMessageExpiry, PropContentType, PropResponseTopic,
				PropCorrelationData, PropTopicAlias),
			PayloadFormat: 1, MessageExpiry: 3600, ResponseTopic: "r", CorrelationData: []byte{}, TopicAlias: 7,
			SubscriptionIDs: []uint32{1, MaxLength}, UserProperties: []UserProperty{{}}}}},
	{"PUBACK 5 success", V5, "40 02 0001", Puback{PacketID: 1}},
	{"PUBACK 5 no matching subscribers", V5, "40 03 0001 10", Puback{PacketID: 1, Reason: ReasonNoMatchingSubscribers}},
	{"PUBACK 5 with a reason string", V5, "40 08 0001 87 04 1f 0001 6e", Puback{PacketID: 1, Reason: ReasonNotAuthorized,
		Properties: &Properties{Present: Present(PropReasonString), ReasonString: "n"}}},
	{"PUBREC 5", V5, "50 03 0002 97", Pubrec{PacketID: 2, Reason: ReasonQuotaExceeded}},
	{"PUBREL 5", V5, "62 03 0003 92", Pubrel{PacketID: 3, Reason: ReasonPacketIDNotFound}},
	{"PUBCOMP 5", V5, "70 09 0004 00 05 26 0000 0000", Pubcomp{PacketID: 4,
		Properties: &Properties{UserProperties: []UserProperty{{}}}}},
	{"SUBSCRIBE 5", V5, "82 10" + "000a" + "03 0b 8001" + // subscription identifier 128
		"0003 612f2b 2d" + // QoS 1, no local, retain as published, no retained messages
		"0001 23 12", // QoS 2, retained messages if new
		Subscribe{PacketID: 10, Properties: &Properties{SubscriptionIDs: []uint32{128}}, Subscriptions: []Subscription{
			{Filter: "a/+", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: RetainNever},
			{Filter: "#", QoS: 2, RetainHandling: RetainIfNew}}}},
	{"SUBACK 5", V5, "90 06" + "000a 00" + "01 8f 9e", Suback{PacketID: 10, Codes: []byte{1, 0x8f, 0x9e}}},
	{"UNSUBSCRIBE 5", V5, "a2 06" + "000b 00" + "0001 23", Unsubscribe{PacketID: 11, Filters: []string{"#"}}},
	{"UNSUBACK 5", V5, "b0 05" + "000b 00" + "00 11", Unsuback{PacketID: 11, Codes: []byte{0, 0x11}}},
	{"DISCONNECT 5", V5, "e0 00", Disconnect{}},
	{"DISCONNECT 5 with will", V5, "e0 01 04", Disconnect{Reason: ReasonDisconnectWithWill}},
	{"DISCONNECT 5 with properties", V5, "e0 0b 00 09 11 00000000 1f 0001 62", Disconnect{
		Properties: &Properties{Present: Present(PropSessionExpiry, PropReasonString), ReasonString: "b"}}},
	{"AUTH", V5, "f0 0a 18 08 15 0001 58 16 0001 79", Auth{Reason: ReasonContinueAuthentication,
		Properties: &Properties{Present: Present(PropAuthMethod, PropAuthData), AuthMethod: "X", AuthData: []byte("y")}}},
	{"AUTH success", V5, "f0 00", Auth{}},
}

// TestRefused5 has one failing input for each rule, and the reason code that the
// specification gives it.
func TestRefused5(t *testing.T) {
	const (
		connect = "0004 4d515454 05 02 003c "
		sub     = "0001 00 0001 61 "
	)
	tests := []struct {
		name   string
		hex    string
		want   error
		reason Reason
	}{
		{"length not minimal [MQTT-1.5.5-1]", "c0 80 00", ErrLength, ReasonMalformedPacket},
		{"flags [MQTT-2.1.3-1]", "c1 00", ErrFlags, ReasonMalformedPacket},
		{"CONNECT without properties", "10 0c" + connect + "0000", ErrLength, ReasonMalformedPacket},
		{"CONNECT property length not minimal [MQTT-1.5.5-1]", "10 0e" + connect + "8000 0000", ErrLength, ReasonMalformedPacket},
		{"CONNECT property length of five bytes", "10 11" + connect + "8080808001 0000", ErrLength, ReasonMalformedPacket},
		{"CONNECT property length beyond the packet", "10 0d" + connect + "03 0000", ErrTruncated, ReasonMalformedPacket},
		{"CONNECT unknown property (2.2.2.2)", "10 0f" + connect + "02 04 00 0000", ErrProperty, ReasonMalformedPacket},
		{"CONNECT property above all (2.2.2.2)", "10 0f" + connect + "02 ff01 0000", ErrProperty, ReasonMalformedPacket},
		{"CONNECT property of another packet (2.2.2.2)", "10 0f" + connect + "02 24 00 0000", ErrProperty, ReasonMalformedPacket},
		{"CONNECT will property among its own", "10 12" + connect + "05 18 00000000 0000", ErrProperty, ReasonMalformedPacket},
		{"CONNECT session expiry twice (3.1.2.11.2)", "10 17" + connect + "0a 1100000001 1100000001 0000", ErrPropertyTwice, ReasonProtocolError},
		{"CONNECT receive maximum 0 (3.1.2.11.3)", "10 10" + connect + "03 21 0000 0000", ErrValue, ReasonProtocolError},
		{"CONNECT maximum packet size 0 (3.1.2.11.4)", "10 12" + connect + "05 27 00000000 0000", ErrValue, ReasonProtocolError},
		{"CONNECT request problem information 2 (3.1.2.11.7)", "10 0f" + connect + "02 17 02 0000", ErrValue, ReasonProtocolError},
		{"CONNECT request response information 2 (3.1.2.11.6)", "10 0f" + connect + "02 19 02 0000", ErrValue, ReasonProtocolError},
		{"CONNECT data without method (3.1.2.11.10)", "10 10" + connect + "03 16 0000 0000", ErrValue, ReasonProtocolError},
		{"CONNECT property cut", "10 0f" + connect + "02 21 00 0000", ErrTruncated, ReasonMalformedPacket},
		{"CONNECT user property cut", "10 10" + connect + "03 26 0000 0000", ErrTruncated, ReasonMalformedPacket},
		{"CONNECT user property no UTF-8 [MQTT-1.5.7-1]", "10 13" + connect + "06 26 0001ff 0000 0000", ErrString, ReasonMalformedPacket},
		{"CONNECT reserved flag [MQTT-3.1.2-3]", "10 0d 0004 4d515454 05 03 003c 00 0000", ErrFlags, ReasonMalformedPacket},
		{"CONNECT will QoS 3 [MQTT-3.1.2-12]", "10 0d 0004 4d515454 05 1e 003c 00 0000", ErrQoS, ReasonMalformedPacket},
		{"CONNECT will retain without will [MQTT-3.1.2-13]", "10 0d 0004 4d515454 05 22 003c 00 0000", ErrFlags, ReasonMalformedPacket},
		{"CONNECT will response topic with wildcard", "10 17 0004 4d515454 05 06 003c 00 0000 04 08 0001 23 0001 77 0000", ErrValue, ReasonProtocolError},
		{"CONNECT will topic with wildcard", "10 13 0004 4d515454 05 06 003c 00 0000 00 0001 23 0000", ErrTopic, ReasonTopicNameInvalid},
		{"CONNECT protocol name [MQTT-3.1.2-1]", "10 0d 0004 4d515455 05 02 003c 00 0000", ErrProtocolName, ReasonUnsupportedVersion},
		{"CONNECT level 6 [MQTT-3.1.2-2]", "10 0d 0004 4d515454 06 02 003c 00 0000", ErrUnsupported, ReasonUnsupportedVersion},
		{"CONNACK flags [MQTT-3.2.2-1]", "20 03 02 00 00", ErrFlags, ReasonMalformedPacket},
		{"CONNACK session with refusal [MQTT-3.2.2-6]", "20 03 01 87 00", ErrFlags, ReasonMalformedPacket},
		{"CONNACK reason [MQTT-3.2.2-8]", "20 03 00 8d 00", ErrCode, ReasonProtocolError},
		{"CONNACK maximum QoS 2 (3.2.2.3.4)", "20 05 00 00 02 24 02", ErrValue, ReasonProtocolError},
		{"CONNACK retain available 2 (3.2.2.3.5)", "20 05 00 00 02 25 02", ErrValue, ReasonProtocolError},
		{"PUBLISH QoS 3 [MQTT-3.3.1-4]", "36 06 0001 61 0001 00", ErrQoS, ReasonMalformedPacket},
		{"PUBLISH packet id 0 [MQTT-2.2.1-3]", "32 06 0001 61 0000 00", ErrPacketID, ReasonProtocolError},
		{"PUBLISH neither topic nor alias (3.3.2.1)", "30 03 0000 00", ErrNoTopic, ReasonProtocolError},
		{"PUBLISH topic alias 0 [MQTT-3.3.2-8]", "30 07 0001 61 03 23 0000", ErrTopicAlias, ReasonTopicAliasInvalid},
		{"PUBLISH topic alias twice (3.3.2.3.4)", "30 0a 0001 61 06 23 0001 23 0001", ErrPropertyTwice, ReasonProtocolError},
		{"PUBLISH payload format 2 (3.3.2.3.2)", "30 06 0001 61 02 01 02", ErrValue, ReasonProtocolError},
		{"PUBLISH payload format twice", "30 08 0001 61 04 01 01 01 01", ErrPropertyTwice, ReasonProtocolError},
		{"PUBLISH response topic with wildcard [MQTT-3.3.2-14]", "30 08 0001 61 04 08 0001 2b", ErrValue, ReasonProtocolError},
		{"PUBLISH response topic no UTF-8 [MQTT-3.3.2-13]", "30 08 0001 61 04 08 0001 ff", ErrString, ReasonMalformedPacket},
		{"PUBLISH subscription identifier 0 (3.3.2.3.8)", "30 06 0001 61 02 0b 00", ErrValue, ReasonProtocolError},
		{"PUBLISH subscription identifier not minimal", "30 07 0001 61 03 0b 8100", ErrLength, ReasonMalformedPacket},
		{"PUBLISH wildcard [MQTT-3.3.2-2]", "30 04 0001 23 00", ErrTopic, ReasonTopicNameInvalid},
		{"PUBLISH without property length", "30 03 0001 61", ErrTruncated, ReasonMalformedPacket},
		{"PUBACK reason [MQTT-3.4.2-1]", "40 03 0001 92", ErrCode, ReasonProtocolError},
		{"PUBREC reason [MQTT-3.5.2-1]", "50 03 0001 04", ErrCode, ReasonProtocolError},
		{"PUBREL reason [MQTT-3.6.2-1]", "62 03 0001 80", ErrCode, ReasonProtocolError},
		{"PUBCOMP reason [MQTT-3.7.2-1]", "70 03 0001 80", ErrCode, ReasonProtocolError},
		{"PUBACK trailing byte", "40 05 0001 00 00 00", ErrTrailing, ReasonMalformedPacket},
		{"PUBACK property twice", "40 0a 0001 00 06 1f 0000 1f 0000", ErrPropertyTwice, ReasonProtocolError},
		{"SUBSCRIBE without properties", "82 03 0001 01", ErrTruncated, ReasonMalformedPacket},
		{"SUBSCRIBE nothing [MQTT-3.8.3-2]", "82 03 0001 00", ErrEmpty, ReasonProtocolError},
		{"SUBSCRIBE subscription identifier 0 (3.8.2.1.2)", "82 09 0001 02 0b00 0001 61 00", ErrValue, ReasonProtocolError},
		{"SUBSCRIBE two subscription identifiers (3.8.2.1.2)", "82 0b 0001 04 0b01 0b02 0001 61 00", ErrPropertyTwice, ReasonProtocolError},
		{"SUBSCRIBE QoS 3 (3.8.3.1)", "82 07" + sub + "03", ErrQoS, ReasonProtocolError},
		{"SUBSCRIBE retain handling 3 (3.8.3.1)", "82 07" + sub + "30", ErrValue, ReasonProtocolError},
		{"SUBSCRIBE reserved bits [MQTT-3.8.3-5]", "82 07" + sub + "40", ErrFlags, ReasonMalformedPacket},
		{"SUBSCRIBE no local on a shared one [MQTT-3.8.3-4]", "82 10 0001 00 000a 2473686172652f672f61 04", ErrValue, ReasonProtocolError},
		{"SUBSCRIBE id 0 [MQTT-2.2.1-3]", "82 07 0000 00 0001 61 00", ErrPacketID, ReasonProtocolError},
		{"SUBSCRIBE empty filter [MQTT-4.7.3-1]", "82 07 0001 00 0000 01 00", ErrTopic, ReasonTopicFilterInvalid},
		{"SUBSCRIBE cut inside the filter", "82 07 0001 00 0005 61 00", ErrTruncated, ReasonMalformedPacket},
		{"SUBSCRIBE cut inside the properties", "82 04 0001 02 0b", ErrTruncated, ReasonMalformedPacket},
		{"SUBACK reason [MQTT-3.9.3-2]", "90 04 0001 00 11", ErrCode, ReasonProtocolError},
		{"UNSUBSCRIBE nothing [MQTT-3.10.3-2]", "a2 03 0001 00", ErrEmpty, ReasonProtocolError},
		{"UNSUBACK reason [MQTT-3.11.3-2]", "b0 04 0001 00 01", ErrCode, ReasonProtocolError},
		{"UNSUBACK nothing", "b0 03 0001 00", ErrLength, ReasonMalformedPacket},
		{"DISCONNECT reason [MQTT-3.14.2-1]", "e0 01 01", ErrCode, ReasonProtocolError},
		{"DISCONNECT flags [MQTT-3.14.1-1]", "e1 00", ErrFlags, ReasonMalformedPacket},
		{"AUTH flags [MQTT-3.15.1-1]", "f1 00", ErrFlags, ReasonMalformedPacket},
		{"AUTH reason [MQTT-3.15.2-1]", "f0 01 01", ErrCode, ReasonProtocolError},
		{"AUTH without method (3.15.2.2.2)", "f0 01 18", ErrValue, ReasonProtocolError},
	}
	for _, tt := range tests {
		p, _, err := decodeAny(V5, unhex(t, tt.hex))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v; want %v", tt.name, p, err, tt.want)
		} else if got := ReasonOf(err); got != tt.reason {
			t.Errorf("%s: %v gives %s, want %s", tt.name, err, got, tt.reason)
		}
	}
}

func TestEncodersRefuse5(t *testing.T) {
	long := strings.Repeat("x", 65536)
	user := func(name string) *Properties { return &Properties{UserProperties: []UserProperty{{Name: name}}} }
	tests := []struct {
		name string
		p    any
		want error
	}{
		{"CONNECT property of another packet", Connect{Version: V5, Properties: &Properties{Present: Present(PropTopicAlias), TopicAlias: 1}}, ErrProperty},
		{"CONNECT property that is none", Connect{Version: V5, Properties: &Properties{Present: 1 << 60}}, ErrProperty},
		{"CONNECT will property too long", Connect{Version: V5, Will: &Will{Topic: "w", Properties: user(long)}}, ErrTooLong},
		{"CONNACK reason", Connack{Reason: ReasonNoSubscriptionExisted}, ErrCode},
		{"CONNACK property", Connack{Properties: &Properties{Present: Present(PropReceiveMaximum)}}, ErrValue},
		{"CONNACK too long", Connack{Properties: user(long)}, ErrTooLong},
		{"PUBLISH no topic", Publish{}, ErrNoTopic},
		{"PUBLISH alias 0", Publish{Topic: "a", Properties: &Properties{Present: Present(PropTopicAlias)}}, ErrTopicAlias},
		{"PUBLISH response topic", Publish{Topic: "a", Properties: &Properties{Present: Present(PropResponseTopic), ResponseTopic: "#"}}, ErrValue},
		{"PUBLISH correlation data", Publish{Topic: "a", Properties: &Properties{Present: Present(PropCorrelationData), CorrelationData: []byte(long)}}, ErrTooLong},
		{"PUBLISH subscription identifier", Publish{Topic: "a", Properties: &Properties{SubscriptionIDs: []uint32{MaxLength + 1}}}, ErrValue},
		{"PUBLISH text", Publish{Topic: "a", Properties: user("\x00")}, ErrString},
		{"SUBSCRIBE two identifiers", Subscribe{PacketID: 1, Properties: &Properties{SubscriptionIDs: []uint32{1, 2}}, Subscriptions: []Subscription{{Filter: "a"}}}, ErrPropertyTwice},
		{"SUBSCRIBE retain handling", Subscribe{PacketID: 1, Subscriptions: []Subscription{{Filter: "a", RetainHandling: 3}}}, ErrValue},
		{"SUBSCRIBE shared and no local", Subscribe{PacketID: 1, Subscriptions: []Subscription{{Filter: "$share/g/a", NoLocal: true}}}, ErrValue},
		{"SUBACK code", Suback{PacketID: 1, Codes: []byte{0x11}}, ErrCode},
		{"SUBACK property", Suback{PacketID: 1, Codes: []byte{0}, Properties: user(long)}, ErrTooLong},
		{"UNSUBSCRIBE identifier", Unsubscribe{PacketID: 1, Filters: []string{"a"}, Properties: &Properties{SubscriptionIDs: []uint32{1}}}, ErrProperty},
		{"UNSUBACK nothing", Unsuback{PacketID: 1}, ErrEmpty},
		{"UNSUBACK id", Unsuback{Codes: []byte{0}}, ErrPacketID},
		{"DISCONNECT reason", Disconnect{Reason: ReasonGrantedQoS1}, ErrCode},
		{"AUTH method", Auth{Reason: ReasonContinueAuthentication}, ErrValue},
		{"AUTH data alone", Connect{Version: V5, Properties: &Properties{Present: Present(PropAuthData)}}, ErrValue},
	}
	for _, tt := range tests {
		if b, err := encodeAny(V5, tt.p); !errors.Is(err, tt.want) || len(b) != 0 {
			t.Errorf("%s: %d bytes, %v; want %v", tt.name, len(b), err, tt.want)
		}
	}
	if _, err := AppendAuth(nil, V311, &Auth{}); !errors.Is(err, ErrType) {
		t.Errorf("AUTH before MQTT 5: %v", err)
	}
}

// TestAckWithout: an acknowledgement goes out whatever is wrong with the rest.
func TestAckWithout(t *testing.T) {
	bad := &Properties{Present: Present(PropTopicAlias)}
	got := AppendPuback(nil, V5, Puback{PacketID: 1, Reason: ReasonServerBusy, Properties: bad})
	got = AppendPubrel(got, V5, Pubrel{PacketID: 1, Reason: ReasonServerBusy})
	got = AppendPubcomp(got, V311, Pubcomp{PacketID: 1, Reason: ReasonPacketIDNotFound})
	if want := unhex(t, "4003 0001 80 6203 0001 92 7002 0001"); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// TestOlderVersionsSayLess: what only MQTT 5 knows is not sent to older peers.
func TestOlderVersionsSayLess(t *testing.T) {
	props := &Properties{Present: Present(PropReasonString), ReasonString: "x", UserProperties: []UserProperty{{"a", "b"}}}
	for _, tt := range []struct {
		p   any
		hex string
	}{
		{Connect{Version: V311, Clean: true, Properties: props}, "10 0c 0004 4d515454 04 02 0000 0000"},
		{Connack{Reason: ReasonNotAuthorized, Properties: props}, "20 02 00 05"},
		{Publish{Topic: "a", Properties: props}, "30 03 0001 61"},
		{Puback{PacketID: 1, Reason: ReasonNotAuthorized, Properties: props}, "40 02 0001"},
		{Subscribe{PacketID: 1, Subscriptions: []Subscription{{Filter: "a", QoS: 1, NoLocal: true, RetainHandling: 2}}, Properties: props}, "82 06 0001 0001 61 01"},
		{Suback{PacketID: 1, Codes: []byte{1}, Properties: props}, "90 03 0001 01"},
		{Unsubscribe{PacketID: 1, Filters: []string{"a"}, Properties: props}, "a2 05 0001 0001 61"},
		{Unsuback{PacketID: 1, Codes: []byte{0x11}, Properties: props}, "b0 02 0001"},
		{Disconnect{Reason: ReasonServerBusy, Properties: props}, "e0 00"},
	} {
		if got, err := encodeAny(V311, tt.p); err != nil || !bytes.Equal(got, unhex(t, tt.hex)) {
			t.Errorf("%T: %x, %v, want %s", tt.p, got, err, tt.hex)
		}
	}
}

// TestReasons holds the table to its uses.
func TestReasons(t *testing.T) {
	for r := range reasons {
		if r.String() == "" || r.String() == Reason(0x77).String() {
			t.Errorf("%#x has no name", byte(r))
		}
	}
	if got := Reason(0x77).String(); got != "reason code 0x77" {
		t.Error(got)
	}
	for c := Accepted; c <= NotAuthorized; c++ {
		if got := c.Reason().ReturnCode(); got != c {
			t.Errorf("%s came back as %s", c, got)
		}
	}
	if ReasonOf(errors.New("other")) != ReasonUnspecifiedError || ReasonOf(&VersionError{}) != ReasonUnsupportedVersion {
		t.Error("reason of other errors")
	}
	var p *PacketError
	if _, err := DecodeConnect(unhex(t, "0004 4d515454 05 03 003c 00 0000")); !errors.As(err, &p) || p.Version != V5 {
		t.Errorf("version of a bad CONNECT: %+v", p)
	}
}

// TestForward: a message keeps the publisher's properties in their order.
func TestForward(t *testing.T) {
	in := unhex(t, "26 0001 61 0001 62"+"02 0000000a"+"03 0001 74"+"23 0001"+"26 0001 61 0001 63"+"01 01")
	forwardable := AppendForwardable(nil, in)
	if want := unhex(t, "26 0001 61 0001 62"+"03 0001 74"+"26 0001 61 0001 63"+"01 01"); !bytes.Equal(forwardable, want) {
		t.Fatalf("%x, want %x", forwardable, want)
	}
	f := Forward{
		Publish:     Publish{QoS: 1, Dup: true, Retain: true, PacketID: 9, Topic: "a", Payload: []byte("p")},
		Forwardable: forwardable, HasExpiry: true, Expiry: 7, TopicAlias: 3, SubscriptionIDs: []uint32{1, 300},
	}
	b := AppendForward(nil, V5, &f)
	h, n, err := ParseFixedHeader(b)
	if err != nil || len(b) != f.Size(V5) || n+h.Length != len(b) {
		t.Fatalf("%x: %+v, %v, size %d", b, h, err, f.Size(V5))
	}
	got, err := DecodePublish(V5, h.Flags, b[n:])
	want := f.Publish
	want.Properties = &Properties{
		Present:     Present(PropMessageExpiry, PropTopicAlias, PropContentType, PropPayloadFormat),
		ContentType: "t", PayloadFormat: 1, MessageExpiry: 7, TopicAlias: 3, SubscriptionIDs: []uint32{1, 300},
		UserProperties: []UserProperty{{"a", "b"}, {"a", "c"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	old := AppendForward(nil, V311, &f)
	plain, _ := AppendPublish(nil, V311, &f.Publish)
	if !bytes.Equal(old, plain) || len(old) != f.Size(V311) {
		t.Errorf("to MQTT 3.1.1: %x, want %x", old, plain)
	}
	again, err := AppendProperties(nil, PUBLISH, want.Properties)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := DecodeProperties(PUBLISH, again); err != nil || !reflect.DeepEqual(p, want.Properties) {
		t.Errorf("properties came back as %+v, %v", p, err)
	}
}

func TestNoAllocation5(t *testing.T) {
	b, _ := AppendPublish(nil, V5, &Publish{QoS: 1, PacketID: 9, Topic: "up/meter/M1/reading", Payload: make([]byte, 60)})
	full := unhex(t, "0001 61 0001"+"13"+"02 0000000a"+"03 0001 74"+"23 0001"+"26 0001 61 0001 63"+"00")
	dst := make([]byte, 0, 256)
	f := Forward{Publish: Publish{QoS: 1, PacketID: 9, Topic: "up/meter/M1/reading", Payload: b}}
	n := testing.AllocsPerRun(100, func() {
		h, n, _ := ParseFixedHeader(b)
		if _, err := ParsePublish(V5, h.Flags, b[n:n+h.Length]); err != nil {
			t.Error(err)
		}
		v, err := ParsePublish(V5, 2, full)
		if err != nil {
			t.Error(err)
		}
		dst = AppendForwardable(dst[:0], v.Properties)
		dst = AppendForward(dst[:0], V5, &f)
		dst = AppendPuback(dst, V5, Puback{PacketID: 7, Reason: ReasonNoMatchingSubscribers})
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
