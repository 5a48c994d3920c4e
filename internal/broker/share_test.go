package broker

import (
	"fmt"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// say publishes n messages "0", "1", … to the topic.
func (s *server) say(t *testing.T, topic string, qos byte, n int) {
	t.Helper()
	for i := range n {
		if got, err := s.Publish(topic, fmt.Append(nil, i), qos, false); err != nil || got != 1 {
			t.Fatalf("message %d: %d receivers, %v", i, got, err)
		}
	}
}

// TestShareGoesOn: when a member's session ends, another one gets what it has not been
// sent and, at QoS 1, what it has not acknowledged. Nothing is lost.
func TestShareGoesOn(t *testing.T) {
	s := start(t, Options{})
	one, _ := s.connect5(t, "one", props(mqtt.Properties{ReceiveMaximum: 2}, mqtt.PropReceiveMaximum))
	one.subscribe(1, "$share/g/a/+")
	s.say(t, "a/x", 1, 5)
	// broker --PUBLISH 0, 1--> one; 2, 3 and 4 wait for it
	one.want(pub(1, 1, "a/x", "0"), pub(1, 2, "a/x", "1"))
	one.send(mqtt.Puback{PacketID: 1})
	one.want(pub(1, 3, "a/x", "2"))
	two := s.clean(t, "two") // MQTT 3.1.1 shares, too
	two.subscribe(1, "$share/g/a/+")
	two.quiet()
	_ = one.nc.Close()
	for i := range 4 {
		two.want(pub(1, uint16(i+1), "a/x", fmt.Sprint(i+1)))
	}
	// two leaves as well: there is nobody any more, and nothing left behind.
	_ = two.nc.Close()
	eventually(t, "an empty broker", func() bool {
		st := s.Stats()
		return st.Sessions == 0 && st.QueuedBytes == 0 && st.Subscriptions == 0
	})
	if n := s.Stats().Dropped["session_ended"]; n != 4 {
		t.Errorf("%d counted as lost", n)
	}
	if len(s.shares) != 0 {
		t.Errorf("%d groups are left", len(s.shares))
	}
}

// TestShareWaits: a member that comes back gets what it was given, in order; one that is
// away gets nothing new while another is there.
func TestShareWaits(t *testing.T) {
	s := start(t, Options{})
	one, _ := s.connect(t, mqtt.Connect{ClientID: "one"})
	one.subscribe(1, "$share/g/a")
	s.say(t, "a", 1, 2)
	one.want(pub(1, 1, "a", "0"), pub(1, 2, "a", "1"))
	_ = one.nc.Close()
	eventually(t, "gone", func() bool { return s.Stats().Connections == 0 })
	s.say(t, "a", 1, 1) // nobody else is there
	two := s.clean(t, "two")
	two.subscribe(1, "$share/g/a")
	s.say(t, "a", 1, 3)
	for i := range 3 {
		two.want(pub(1, uint16(i+1), "a", fmt.Sprint(i)))
	}
	one, _ = s.connect(t, mqtt.Connect{ClientID: "one"})
	one.want(again(pub(1, 1, "a", "0")), again(pub(1, 2, "a", "1")), pub(1, 3, "a", "0"))
	one.quiet()
}

// TestShareTurns: members take turns, groups and plain subscriptions get all.
func TestShareTurns(t *testing.T) {
	s := start(t, Options{})
	var members []*peer
	for i := range 3 {
		p := s.clean(t, fmt.Sprint("m", i))
		p.subscribe(0, "$share/g/a")
		members = append(members, p)
	}
	both := s.clean(t, "both")
	both.subscribe(0, "a", "$share/h/a")
	for i := range 6 {
		if n, err := s.Publish("a", fmt.Append(nil, i), 0, false); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		both.want(pub(0, 0, "a", fmt.Sprint(i)), pub(0, 0, "a", fmt.Sprint(i)))
	}
	for _, p := range members {
		p.read()
		p.read()
		p.quiet()
	}
	p := members[0]
	p.send(mqtt.Unsubscribe{PacketID: 4, Filters: []string{"$share/g/a"}})
	p.want(mqtt.Unsuback{PacketID: 4})
	for range 4 {
		if _, err := s.Publish("a", nil, 0, false); err != nil {
			t.Fatal(err)
		}
	}
	p.quiet()
}

// TestShareAccess: the list is asked about the filter, not about the name of the group.
func TestShareAccess(t *testing.T) {
	s := start(t, Options{Auth: acl{}})
	p, _ := s.connect(t, mqtt.Connect{Clean: true, ClientID: "p", HasUsername: true, Username: "u", HasPassword: true, Password: []byte("yes")})
	p.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "$share/open/secret/#"}, {Filter: "$share/secret/open/#"}}})
	p.want(mqtt.Suback{PacketID: 1, Codes: []byte{mqtt.SubackFailure, 0}})
}
