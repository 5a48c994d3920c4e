package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

func TestHandle(t *testing.T) {
	s := start(t, Options{})
	var mu sync.Mutex
	var got []string
	remove := s.Handle("up/#", func(m *Inbound) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf("%s %s %d %v %q %s", m.Topic, m.Payload, m.QoS, m.Retain, m.ClientID, m.Version))
	})
	p := s.clean(t, "p")
	p.send(pub(1, 1, "up/a", "1"), pub(2, 2, "up/b", "2"), pub(0, 0, "up/c", "3"), pub(0, 0, "other", "4"))
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Pubrec{PacketID: 2})
	p.quiet()
	if n, err := s.Publish("up/d", []byte("5"), 1, true); n != 0 || err != nil {
		t.Error(n, err)
	}
	if _, err := s.PublishAs("me", "up/d", nil, 0, false); err != nil {
		t.Error(err)
	}
	remove()
	p.send(pub(1, 3, "up/e", "6"))
	p.want(mqtt.Puback{PacketID: 3})
	want := []string{`up/a 1 1 false "p" 3.1.1`, `up/b 2 2 false "p" 3.1.1`, `up/c 3 0 false "p" 3.1.1`, `up/d 5 1 true "" 3.1.1`, `up/d  0 false "me" 3.1.1`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
}

// TestLongTopic: a topic that is not copied while nobody keeps it stays what it was for all that keep it: a queue, what is
// retained, a handler, an access list.
func TestLongTopic(t *testing.T) {
	t.Run("free", func(t *testing.T) { longTopics(t, nil) })
	t.Run("access list", func(t *testing.T) { longTopics(t, &remembering{}) })
}

// remembering is an access list that allows everything and keeps what it was asked.
type remembering struct {
	mu    sync.Mutex
	asked []string
}

func (r *remembering) Authenticate(*Login) (Access, mqtt.ReturnCode) { return r, mqtt.Accepted }
func (r *remembering) Subscribe(string) bool                         { return true }
func (r *remembering) Publish(topic string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, topic)
	return true
}

func longTopics(t *testing.T, list *remembering) {
	var o Options
	if list != nil {
		o.Auth = list
	}
	s := start(t, o)
	var kept []string
	var mu sync.Mutex
	s.Handle("handled/#", func(m *Inbound) {
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, m.Topic)
	})
	away, _ := s.connect(t, mqtt.Connect{ClientID: "away", Version: mqtt.V311})
	away.subscribe(1, "queued/#")
	_ = away.nc.Close()
	var want []string
	from := s.clean(t, "from")
	for i, first := range []string{"queued", "handled", "retained", "nobody"} {
		for n := range 3 {
			name := fmt.Sprintf("%s/%d/%s", first, n, strings.Repeat(string(rune('a'+3*i+n)), 2*internMax))
			want = append(want, name)
			p := pub(1, uint16(len(want)), name, "x")
			p.Retain = first == "retained"
			from.send(p)
		}
	}
	for i := range want {
		from.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(kept, want[3:6]) {
		t.Errorf("a handler kept %.80q", kept)
	}
	if list != nil {
		list.mu.Lock()
		defer list.mu.Unlock()
		if !slices.Equal(list.asked, want) {
			t.Errorf("the access list kept %.80q", list.asked)
		}
	}
	away, _ = s.connect(t, mqtt.Connect{ClientID: "away", Version: mqtt.V311})
	for i, name := range want[:3] {
		m, ok := away.read().(mqtt.Publish)
		if !ok || m.Topic != name {
			t.Fatalf("message %d that waited has topic %.80q", i, m.Topic)
		}
		away.send(mqtt.Puback{PacketID: m.PacketID})
	}
	late := s.clean(t, "late")
	late.subscribe(0, "retained/#")
	var retained []string
	for range 3 {
		retained = append(retained, late.read().(mqtt.Publish).Topic)
	}
	slices.Sort(retained)
	if !slices.Equal(retained, want[6:9]) {
		t.Errorf("retained are %.80q", retained)
	}
}

func TestPublishRefuses(t *testing.T) {
	b, err := New(Options{MaxPacketSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish("a/#", nil, 0, false); !errors.Is(err, topic.ErrName) {
		t.Error(err)
	}
	if _, err := b.Publish("a", nil, 3, false); !errors.Is(err, mqtt.ErrQoS) {
		t.Error(err)
	}
	if _, err := b.Publish("a", make([]byte, 11), 0, false); !errors.Is(err, mqtt.ErrTooLong) {
		t.Error(err)
	}
}

// TestHandlerPanics: the connection of the publisher ends, its message is not
// acknowledged, and comes again; nobody else notices.
func TestHandlerPanics(t *testing.T) {
	s := start(t, Options{})
	neighbour := s.clean(t, "neighbour")
	neighbour.subscribe(1, "up/#")
	fail := true
	s.Handle("up/bad", func(*Inbound) {
		if fail {
			fail = false
			panic("a fault")
		}
	})
	p, _ := s.connect(t, mqtt.Connect{ClientID: "p"})
	p.send(pub(2, 1, "up/bad", "x"))
	p.wantClosed()
	neighbour.want(pub(1, 1, "up/bad", "x"))
	neighbour.quiet()
	p, _ = s.connect(t, mqtt.Connect{ClientID: "p"})
	p.send(again(pub(2, 1, "up/bad", "x")))
	p.want(mqtt.Pubrec{PacketID: 1})
	neighbour.want(pub(1, 2, "up/bad", "x")) // twice rather than never
	if n := s.Stats().Disconnects["fault"]; n != 1 {
		t.Errorf("%d faults", n)
	}
}

// TestPublishFromHandler: a handler may publish, also to who published.
func TestPublishFromHandler(t *testing.T) {
	s := start(t, Options{})
	s.Handle("ask/+", func(m *Inbound) {
		if _, err := s.Publish("answer/"+m.ClientID, m.Payload, 1, false); err != nil {
			t.Error(err)
		}
	})
	p := s.clean(t, "p")
	p.subscribe(1, "answer/p")
	p.send(pub(1, 5, "ask/x", "?"))
	seen := map[string]bool{}
	for range 2 {
		seen[fmt.Sprintf("%T", p.read())] = true
	}
	if !seen["mqtt.Publish"] || !seen["mqtt.Puback"] {
		t.Errorf("got %v", seen)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{MaxInflight: 65_536}, {MaxPacketSize: -1}, {MaxQueueBytes: -1}, {StallTimeout: -1}} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := New(Options{SessionExpiry: -1}); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Options{Registerer: reg})
	s.clean(t, "p").send(pub(1, 1, "a", "x"))
	eventually(t, "the count", func() bool { return s.Stats().Acked == 1 })
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if got["wattbus_broker_connections"] != 1 || got["wattbus_broker_messages_acknowledged_total"] != 1 || len(got) != 19 {
		t.Errorf("%v", got)
	}
}
