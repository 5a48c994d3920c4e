package gateway

import (
	"testing"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// FuzzGateway lets three peers say anything in any order. Nothing panics, and the books agree in the end.
//
// The input is a list of datagrams: an octet that says who sends it and what else happens, one for its length, and its octets.
func FuzzGateway(f *testing.F) {
	var whole []byte
	for i, m := range []mqttsn.Message{
		mqttsn.Connect{ClientID: "M1", Duration: 60, Will: true}, mqttsn.Willtopic{Topic: "w"}, mqttsn.Willmsg{Payload: []byte("x")},
		mqttsn.Subscribe{QoS: 1, MsgID: 1, Topic: "#"}, mqttsn.Register{MsgID: 2, Topic: "a/b"}, mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 3},
		mqttsn.Regack{TopicID: 2, MsgID: 1}, mqttsn.Puback{TopicID: 1, MsgID: 1}, mqttsn.Publish{QoS: 2, TopicID: 1, MsgID: 4},
		mqttsn.Pubrel{MsgID: 4}, mqttsn.Disconnect{Duration: 60}, mqttsn.Pingreq{ClientID: "M1"}, mqttsn.Willtopicupd{}, mqttsn.Disconnect{},
	} {
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte{byte(i), byte(len(b))}, b...))
		whole = append(append(whole, byte(i%4*16), byte(len(b))), b...)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, in []byte) {
		br, err := broker.New(broker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := New(Options{Links: []Link{{Conn: newAir()}}, Server: InProcess{Broker: br}, Predefined: table{}, MaxClients: 3, MaxTopics: 4})
		if err != nil {
			t.Fatal(err)
		}
		l := g.links[0]
		for len(in) > 2 && len(in) >= 2+int(in[1]) {
			who, b := in[0], in[2:2+int(in[1])]
			in = in[2+int(in[1]):]
			g.receive(peer{l, where('a' + who%3)}, b)
			switch who >> 4 % 4 {
			case 1:
				if _, err := br.Publish("a/b", b, who>>6%3, false); err != nil {
					t.Fatal(err)
				}
			case 2: // time has come for everyone
				g.mu.Lock()
				for _, c := range g.clients {
					if c.out != nil {
						c.out.at = 0
					}
					g.expired(c, g.now())
				}
				g.mu.Unlock()
			case 3:
				for _, c := range []string{"M1", "M2"} {
					if l, _, err := br.Open(broker.LocalOptions{ClientID: c}); err == nil {
						l.Close(false)
					}
				}
			}
			g.working.Wait()
			g.settle()
			l.buf, l.out = l.buf[:0], l.out[:0]
		}
		g.working.Wait()
		g.settle()
		g.mu.Lock()
		defer g.mu.Unlock()
		for at, c := range g.peers {
			if c.at != at || g.clients[c.id] != c {
				t.Fatalf("%s is not at %v", c.id, at)
			}
		}
		states := [states]int64{}
		for id, c := range g.clients {
			if c.id != id || c.gone || c.session == nil && c.state.connected() || c.session != nil && !c.state.connected() || c.opening {
				t.Fatalf("%s: %+v", id, c)
			}
			if c.counted {
				states[c.state]++
			}
		}
		for i := range states {
			if n := g.n.states[i].Load(); n != states[i] {
				t.Fatalf("%s: %d counted, %d there", state(i), n, states[i])
			}
		}
		for i, c := range g.due {
			if int(c.place) != i || g.clients[c.id] != c {
				t.Fatalf("%s stands at %d of the deadlines, not at %d", c.id, i, c.place)
			}
		}
		if len(g.clients) > 3 {
			t.Fatalf("%d clients", len(g.clients))
		}
	})
}
