package broker

import (
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestGoodbye: the reasons with which the broker ends connections.
func TestGoodbye(t *testing.T) {
	for _, tt := range []struct {
		name string
		send []byte
		want mqtt.Reason
	}{
		{"malformed", []byte{0xc0, 1, 0}, mqtt.ReasonMalformedPacket},
		{"a second CONNECT [MQTT-3.1.0-2]", []byte("\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"), mqtt.ReasonProtocolError},
		{"of a server", []byte{0xd0, 0}, mqtt.ReasonProtocolError},
		{"AUTH unasked", []byte{0xf0, 0}, mqtt.ReasonProtocolError},
		{"topic alias 0", []byte("\x30\x07\x00\x01a\x03\x23\x00\x00"), mqtt.ReasonTopicAliasInvalid},
		{"topic alias not set", []byte("\x30\x06\x00\x00\x03\x23\x00\x01"), mqtt.ReasonTopicAliasInvalid},
		{"wildcard in a topic", []byte("\x30\x04\x00\x01#\x00"), mqtt.ReasonTopicNameInvalid},
		{"filter", []byte("\x82\x09\x00\x01\x00\x00\x03#/a\x00"), mqtt.ReasonTopicFilterInvalid},
		{"server reference from a client", []byte("\xe0\x05\x00\x03\x1c\x00\x00"), mqtt.ReasonProtocolError},
		{"too large", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, mqtt.ReasonPacketTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, Options{})
			p, _ := s.connect5(t, "p", nil)
			p.send(tt.send, make([]byte, 100)) // what comes behind is not read, and is no reset
			if bye := p.wantGoodbye(tt.want); bye.Properties == nil || bye.Properties.ReasonString == "" {
				t.Error("without a word")
			}
		})
	}
}

func TestGoodbyeOfTheServer(t *testing.T) {
	s := start(t, Options{})
	// Another connection of the client, and the end of the broker.
	old, _ := s.connect5(t, "p", nil)
	p, _ := s.connect5(t, "p", nil)
	old.wantGoodbye(mqtt.ReasonSessionTakenOver)
	mute := s.clean(t, "3.1.1")
	s.stop()
	p.wantGoodbye(mqtt.ReasonServerShuttingDown)
	mute.wantClosed()
}

// TestGoodbyeWhereItDoesNotFit: words are left out, then all of it.
func TestGoodbyeWhereItDoesNotFit(t *testing.T) {
	s := start(t, Options{})
	for _, size := range []uint32{20, 3, 2} {
		p := s.dial(t)
		p.v = mqtt.V5
		p.send(mqtt.Connect{Version: mqtt.V5, Clean: true, ClientID: "p",
			Properties: props(mqtt.Properties{MaximumPacketSize: size}, mqtt.PropMaximumPacketSize)})
		if size < 8 { // not even CONNACK does
			p.wantClosed()
			continue
		}
		if _, ok := p.read().(mqtt.Connack); !ok {
			t.Fatal("no CONNACK")
		}
		p.send(bare(mqtt.PINGRESP))
		if bye := p.wantGoodbye(mqtt.ReasonProtocolError); bye.Properties != nil {
			t.Errorf("%+v", bye)
		}
	}
}

// TestRedirect: a client is sent to another server, at CONNECT and later.
func TestRedirect(t *testing.T) {
	s := start(t, Options{Redirect: func(l *Login) (mqtt.Reason, string) {
		if l.ClientID == "elsewhere" {
			return mqtt.ReasonServerMoved, "other:1883"
		}
		return mqtt.ReasonSuccess, ""
	}})
	to := props(mqtt.Properties{ServerReference: "other:1883"}, mqtt.PropServerReference)
	p := s.dial(t)
	p.v = mqtt.V5
	p.send(mqtt.Connect{Version: mqtt.V5, Clean: true, ClientID: "elsewhere"})
	p.want(mqtt.Connack{Code: mqtt.ServerUnavailable, Reason: mqtt.ReasonServerMoved, Properties: to})
	p.wantClosed()
	old := s.dial(t)
	old.send(mqtt.Connect{Version: mqtt.V311, Clean: true, ClientID: "elsewhere"})
	old.want(mqtt.Connack{Code: mqtt.ServerUnavailable})
	old.wantClosed()

	p, _ = s.connect5(t, "here", nil)
	s.clean(t, "old")
	for id, want := range map[string]bool{"old": false, "nobody": false, "here": true} {
		if got := s.Redirect(id, mqtt.ReasonUseAnotherServer, "other:1883"); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
	p.want(mqtt.Disconnect{Reason: mqtt.ReasonUseAnotherServer, Properties: to})
	p.wantClosed()
	eventually(t, "it to be counted", func() bool { return s.Stats().Disconnects["redirect"] == 1 })
}
