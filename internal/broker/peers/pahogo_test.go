package peers

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// goPeer is Paho's Go client for MQTT 3.1 and 3.1.1.
type goPeer struct {
	t       *testing.T
	c       paho.Client
	nc      net.Conn
	got     chan paho.Message
	present bool
}

type goOption func(*paho.ClientOptions)

func kept(o *paho.ClientOptions) { o.SetCleanSession(false) }

func lastWill(o *paho.ClientOptions) { o.SetWill("w", "gone", 1, false) }

func (s *server) goPeer(t *testing.T, v mqtt.Version, id string, more ...goOption) *goPeer {
	t.Helper()
	p := &goPeer{t: t, got: make(chan paho.Message, 100)}
	o := paho.NewClientOptions().AddBroker("tcp://" + s.addr()).SetClientID(id).SetProtocolVersion(uint(v)).
		SetAutoReconnect(false).SetConnectTimeout(patience).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { p.got <- m }).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			nc, err := net.Dial("tcp", s.addr())
			p.nc = nc
			return nc, err
		})
	for _, f := range more {
		f(o)
	}
	p.c = paho.NewClient(o)
	token := p.c.Connect().(*paho.ConnectToken)
	p.done(token)
	p.present = token.SessionPresent()
	t.Cleanup(func() { p.c.Disconnect(250) })
	return p
}

func (p *goPeer) done(token paho.Token) {
	p.t.Helper()
	if !token.WaitTimeout(patience) {
		p.t.Fatal("no answer")
	}
	check(p.t, token.Error())
}

func (p *goPeer) subscribe(filter string, qos byte) {
	p.t.Helper()
	token := p.c.Subscribe(filter, qos, nil).(*paho.SubscribeToken)
	p.done(token)
	if got := token.Result()[filter]; got != qos {
		p.t.Fatalf("granted %d for %d", got, qos)
	}
}

func (p *goPeer) publish(topic, payload string, qos byte, retain bool) {
	p.t.Helper()
	p.done(p.c.Publish(topic, qos, retain, payload))
}

func (p *goPeer) want(topic, payload string, qos byte, retain bool) {
	p.t.Helper()
	m := received(p.t, p.got)
	if m.Topic() != topic || string(m.Payload()) != payload || m.Qos() != qos || m.Retained() != retain {
		p.t.Fatalf("got %q = %.40q, QoS %d, retained %v; want %q = %.40q, %d, %v", m.Topic(), m.Payload(), m.Qos(), m.Retained(),
			topic, payload, qos, retain)
	}
}

// silent: what another publishes now comes next, so nothing came before.
func (p *goPeer) silent(other *goPeer) {
	p.t.Helper()
	p.subscribe("end", 1)
	other.publish("end", "end", 1, false)
	p.want("end", "end", 1, false)
}

func (p *goPeer) leave() { p.c.Disconnect(250) }

func TestPahoGo(t *testing.T) {
	versions(t, func(t *testing.T, s *server, v mqtt.Version) {
		for _, step := range []struct {
			name string
			run  func(t *testing.T, s *server, v mqtt.Version)
		}{
			{"QoS", goQoS}, {"retained", goRetained}, {"will", goWill}, {"session", goSession},
		} {
			t.Run(step.name, func(t *testing.T) { step.run(t, s, v) })
		}
	}, mqtt.V31, mqtt.V311)
}

func goQoS(t *testing.T, s *server, v mqtt.Version) {
	a, b := s.goPeer(t, v, "a"), s.goPeer(t, v, "b")
	a.subscribe("to/a/+", 2)
	b.subscribe("to/b/#", 2)
	for qos := range byte(3) {
		for _, size := range []int{0, 1, 100, 20_000} {
			payload := strings.Repeat("x", size)
			a.publish("to/b/x", payload, qos, false)
			b.want("to/b/x", payload, qos, false)
			b.publish("to/a/x", payload, qos, false)
			a.want("to/a/x", payload, qos, false)
		}
	}
	b.done(b.c.Unsubscribe("to/b/#"))
	a.publish("to/b/x", "no", 1, false)
	b.silent(a)
}

func goRetained(t *testing.T, s *server, v mqtt.Version) {
	a := s.goPeer(t, v, "a")
	for qos := range byte(3) {
		topic := fmt.Sprint("r/", qos)
		a.publish(topic, "kept", qos, true)
		b := s.goPeer(t, v, "b")
		b.subscribe("r/+", 2)
		b.want(topic, "kept", qos, true)
		a.publish(topic, "", qos, true)
		b.want(topic, "", qos, false)
		c := s.goPeer(t, v, "c")
		c.subscribe("r/+", 2)
		c.silent(a)
	}
}

func goWill(t *testing.T, s *server, v mqtt.Version) {
	watch := s.goPeer(t, v, "watch")
	watch.subscribe("w", 1)
	s.goPeer(t, v, "mortal", lastWill).leave()
	watch.silent(watch)
	check(t, s.goPeer(t, v, "mortal", lastWill).nc.Close())
	watch.want("w", "gone", 1, false)
}

func goSession(t *testing.T, s *server, v mqtt.Version) {
	a := s.goPeer(t, v, "a")
	away := s.goPeer(t, v, "away", kept)
	away.subscribe("s/#", 2)
	away.leave()
	for i := range 30 {
		a.publish("s/x", fmt.Sprint(i), byte(1+i%2), false)
	}
	away = s.goPeer(t, v, "away", kept)
	if v == mqtt.V311 && !away.present {
		t.Error("session not present")
	}
	byQoS := map[byte][]string{}
	for range 30 {
		m := received(t, away.got)
		byQoS[m.Qos()] = append(byQoS[m.Qos()], string(m.Payload()))
	}
	inOrder(t, byQoS)
	away.leave()
	fresh := s.goPeer(t, v, "away")
	if fresh.present {
		t.Error("session present after a clean start")
	}
	a.publish("s/x", "no", 1, false)
	fresh.silent(a)
}

// inOrder wants 0 to 29, the even ones at QoS 1, each QoS in its order; a client may
// hand on QoS 2 with PUBREL, after later ones of QoS 1.
func inOrder(t *testing.T, byQoS map[byte][]string) {
	t.Helper()
	for qos := byte(1); qos < 3; qos++ {
		var want []string
		for i := int(qos) - 1; i < 30; i += 2 {
			want = append(want, fmt.Sprint(i))
		}
		if !slices.Equal(byQoS[qos], want) {
			t.Errorf("QoS %d: %v, want %v", qos, byQoS[qos], want)
		}
	}
}

// TestPahoGoReconnects: Paho's own reconnecting goes on with its session.
func TestPahoGoReconnects(t *testing.T) {
	s, v := start(t), mqtt.V311
	a := s.goPeer(t, v, "a")
	again := make(chan struct{}, 9)
	b := s.goPeer(t, v, "b", kept, func(o *paho.ClientOptions) {
		o.SetAutoReconnect(true).SetMaxReconnectInterval(10 * time.Millisecond).SetOnConnectHandler(func(paho.Client) { again <- struct{}{} })
	})
	received(t, again)
	b.subscribe("x", 1)
	for i := range 5 {
		check(t, b.nc.(*net.TCPConn).CloseWrite()) // the broker closes the rest
		a.publish("x", fmt.Sprint(i), 1, false)
		received(t, again)
		for {
			m := received(t, b.got)
			if m.Duplicate() && string(m.Payload()) < fmt.Sprint(i) {
				continue // its acknowledgement was lost
			}
			if string(m.Payload()) != fmt.Sprint(i) {
				t.Fatalf("%s, want %d", m.Payload(), i)
			}
			break
		}
	}
}
