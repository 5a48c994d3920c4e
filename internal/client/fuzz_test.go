package client

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// sink is a connection that takes everything and brings nothing.
type sink struct{ net.Conn }

func (sink) Write(b []byte) (int, error)      { return len(b), nil }
func (sink) Read([]byte) (int, error)         { return 0, io.EOF }
func (sink) Close() error                     { return nil }
func (sink) LocalAddr() net.Addr              { return nil }
func (sink) SetDeadline(time.Time) error      { return nil }
func (sink) SetReadDeadline(time.Time) error  { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// FuzzReceive lets a server send anything: the client neither panics nor loses count of its queue.
func FuzzReceive(f *testing.F) {
	var all []byte
	for _, id := range []uint16{1, 2, 3, 60000} {
		all = mqtt.AppendPuback(all, mqtt.V311, mqtt.Puback{PacketID: id})
		all = mqtt.AppendPubrec(all, mqtt.V311, mqtt.Pubrec{PacketID: id})
		all = mqtt.AppendPubcomp(all, mqtt.V311, mqtt.Pubcomp{PacketID: id})
		all = mqtt.AppendPubrel(all, mqtt.V311, mqtt.Pubrel{PacketID: id})
	}
	for qos := range byte(3) {
		p := mqtt.Publish{QoS: qos, Topic: "a/b", Payload: []byte("x")}
		if qos > 0 {
			p.PacketID = 7
		}
		all, _ = mqtt.AppendPublish(all, mqtt.V311, &p)
	}
	all, _ = mqtt.AppendSuback(all, mqtt.V311, &mqtt.Suback{PacketID: idSubscribe, Codes: []byte{1, 0x80}})
	all = mqtt.AppendPingresp(all)
	f.Add(all)
	f.Add([]byte{0x30, 0xFF, 0xFF, 0xFF, 0xFF})
	f.Add([]byte{0x90, 2, 0xFF, 0xFF, 0x40, 2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) { receive(t, mqtt.V311, b) })
}

// FuzzReceive5 is FuzzReceive in MQTT 5.
func FuzzReceive5(f *testing.F) {
	text := &mqtt.Properties{ReasonString: "no", Present: mqtt.Present(mqtt.PropReasonString)}
	var all []byte
	for id, r := range []mqtt.Reason{mqtt.ReasonSuccess, mqtt.ReasonQuotaExceeded, mqtt.ReasonNotAuthorized} {
		all = mqtt.AppendPuback(all, mqtt.V5, mqtt.Puback{PacketID: uint16(id + 1), Reason: r, Properties: text})
		all = mqtt.AppendPubrec(all, mqtt.V5, mqtt.Pubrec{PacketID: uint16(id + 1), Reason: r})
	}
	all = mqtt.AppendPubcomp(all, mqtt.V5, mqtt.Pubcomp{PacketID: 2, Reason: mqtt.ReasonPacketIDNotFound})
	for _, topic := range []string{"a", ""} {
		all, _ = mqtt.AppendPublish(all, mqtt.V5, &mqtt.Publish{Topic: topic, Properties: &mqtt.Properties{TopicAlias: 1, SubscriptionIDs: []uint32{5},
			Present: mqtt.Present(mqtt.PropTopicAlias)}})
	}
	f.Add(all)
	bye, _ := mqtt.AppendDisconnect(nil, mqtt.V5, &mqtt.Disconnect{Reason: mqtt.ReasonServerMoved, Properties: &mqtt.Properties{ServerReference: "x",
		Present: mqtt.Present(mqtt.PropServerReference)}})
	f.Add(bye)
	auth, _ := mqtt.AppendAuth(nil, mqtt.V5, &mqtt.Auth{Reason: mqtt.ReasonContinueAuthentication, Properties: &mqtt.Properties{AuthMethod: "COUNT",
		AuthData: []byte("1"), Present: mqtt.Present(mqtt.PropAuthMethod, mqtt.PropAuthData)}})
	f.Add(auth)
	suback, _ := mqtt.AppendSuback(nil, mqtt.V5, &mqtt.Suback{PacketID: idSubscribe, Codes: []byte{1, 0x97}})
	f.Add(suback)
	f.Fuzz(func(t *testing.T, b []byte) { receive(t, mqtt.V5, b) })
}

// receive gives a client with three messages under way what a server sent.
func receive(t *testing.T, v mqtt.Version, b []byte) {
	t.Helper()
	c, err := New(Options{URL: "mqtt://h", ClientID: "M1", Version: v, TopicAliases: 3, Auth: &counting{}, Subscriptions: []Subscription{{Filter: "a", QoS: 1}, {Filter: "b", QoS: 1}}, OnMessage: func(*Message) {}})
	if err != nil {
		t.Fatal(err)
	}
	for qos := range byte(3) {
		_ = c.Publish(t.Context(), Message{Topic: "t", QoS: qos})
	}
	l := newLink(sink{})
	c.mu.Lock()
	c.link = l
	c.subs.online(0, false)
	c.subs.pump(c, l)
	c.kick(l)
	c.mu.Unlock()
	l.writers.Wait()
	used, _ := c.packets(l, b)
	if used > len(b) {
		t.Errorf("used %d of %d bytes", used, len(b))
	}
	c.mu.Lock()
	l.fail(io.EOF)
	c.mu.Unlock()
	l.writers.Wait()
	if s := c.Stats(); s.Queued < 0 || s.Queued > 2 || s.QueuedBytes < 0 || c.box.two < 0 {
		t.Errorf("%+v, %d", s, c.box.two)
	}
}
