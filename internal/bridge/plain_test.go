package bridge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
)

func rulesOf(t *testing.T, lines ...string) (rs []Rule) {
	t.Helper()
	for _, l := range lines {
		r, err := ParseRule(l)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

func newPlain(t *testing.T, local *node, v mqtt.Version, status, upstream string, lines ...string) (*Bridge, func()) {
	t.Helper()
	b, err := NewPlain(Options{ID: "site", Local: local.Broker, Upstreams: []string{upstream}, Version: v, MinBackoff: 5 * time.Millisecond,
		MaxBackoff: 20 * time.Millisecond}, rulesOf(t, lines...), status)
	if err != nil {
		t.Fatal(err)
	}
	return b, background(t, b.Run)
}

// listener is a client that remembers what it hears.
type listener struct {
	*client.Client
	mu  sync.Mutex
	got []string
}

func listenTo(t *testing.T, url, id string, filters ...string) *listener {
	t.Helper()
	l := &listener{}
	ready := make(chan struct{})
	up := sync.OnceFunc(func() { close(ready) }) // after a connection that was cut what it said comes twice
	o := client.Options{URL: url, ClientID: id, Clean: true, OnMessage: func(m *client.Message) {
		if m.Topic == "self/"+id {
			up()
			return
		}
		if strings.Contains(m.Topic, "self/") { // another listener's, over the bridge
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, fmt.Sprintf("%s=%s q%d %v", m.Topic, m.Payload, m.QoS, m.Retain))
	}}
	for _, f := range append(filters, "self/"+id) {
		o.Subscriptions = append(o.Subscriptions, client.Subscription{Filter: f, QoS: 2})
	}
	l.Client, _ = newClient(t, o)
	l.say(t, "self/"+id, "", 1, false)
	<-ready
	return l
}

func (l *listener) say(t *testing.T, topic, payload string, qos byte, retain bool) {
	t.Helper()
	if err := l.Publish(t.Context(), client.Message{Topic: topic, Payload: []byte(payload), QoS: qos, Retain: retain}); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (l *listener) heard() []string { l.mu.Lock(); defer l.mu.Unlock(); return slices.Clone(l.got) }

func (l *listener) want(t *testing.T, lines ...string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); len(l.heard()) < len(lines) && time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
	}
	if got := l.heard(); !slices.Equal(got, lines) {
		t.Errorf("heard %q, want %q", got, lines)
	}
}

// foreign runs a test against each server and version that a plain bridge may meet.
func foreign(t *testing.T, test func(t *testing.T, url string, v mqtt.Version)) {
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5} {
		t.Run("mosquitto/"+v.String(), func(t *testing.T) {
			addr := freeAddr(t)
			mosquitto(t, addr)
			test(t, "mqtt://"+addr, v)
		})
		t.Run("wattbus/"+v.String(), func(t *testing.T) { test(t, newNode(t, "").url(), v) })
	}
}

// TestPlainBridge: topics are mapped both ways, the lower QoS counts, RETAIN passes, and nothing turns round.
func TestPlainBridge(t *testing.T) {
	foreign(t, func(t *testing.T, url string, v mqtt.Version) {
		local := newNode(t, "")
		// Before the bridge: a listener that comes while something retained does may get it twice.
		here := listenTo(t, local.url(), "here", "same/#", "here/#", "x/#")
		there := listenTo(t, url, "there", "#")
		b, stop := newPlain(t, local, v, "bridge/site/state", url, "first/# out 0 same/ other/", "# both 1 same/", "cmd/# in 2 here/ there/", "v out 2 here/ there/")
		eventually(t, "connected", func() bool { return b.Stats().Connected })
		eventually(t, "status", func() bool { return len(there.heard()) == 1 })
		if got := there.heard()[0]; !strings.HasPrefix(got, "bridge/site/state=1 q1") {
			t.Error(got)
		}
		// here --PUBLISH--> bridge --PUBLISH--> there
		here.say(t, "same/a", "1", 2, false)
		here.say(t, "same/first/a", "2", 1, false)
		here.say(t, "here/v", "3", 2, false)
		here.say(t, "x/y", "stays", 1, false)
		there.want(t, there.heard()[0], "a=1 q1 false", "other/first/a=2 q0 false", "there/v=3 q2 false")
		// there --PUBLISH--> bridge --PUBLISH--> here
		there.say(t, "b", "4", 2, false)
		there.say(t, "there/cmd/x", "5", 2, false) // of the two rules for it the first one counts
		here.want(t, "same/a=1 q2 false", "same/first/a=2 q1 false", "here/v=3 q2 false", "x/y=stays q1 false", "same/b=4 q1 false", "same/there/cmd/x=5 q1 false")
		here.say(t, "same/kept", "6", 1, true)
		eventually(t, "all of it", func() bool { return b.Stats().Up == 4 && b.Stats().Acked == 3 })
		time.Sleep(50 * time.Millisecond) // for what would turn round
		if s := b.Stats(); s.Up != 4 || s.Down != 2 {
			t.Errorf("%+v", s)
		}
		late := listenTo(t, url, "late", "kept", "bridge/#")
		late.want(t, "kept=6 q1 true", "bridge/site/state=1 q1 true")
		stop()
		eventually(t, "status", func() bool { g := there.heard(); return strings.HasPrefix(g[len(g)-1], "bridge/site/state=0") })
	})
}

// TestPlainBridgeDoesNotTurnRound: everything is bridged both ways, and each message comes once.
func TestPlainBridgeDoesNotTurnRound(t *testing.T) {
	foreign(t, func(t *testing.T, url string, v mqtt.Version) {
		local := newNode(t, "")
		b, _ := newPlain(t, local, v, "", url, "# both 1")
		here, there := listenTo(t, local.url(), "here", "#"), listenTo(t, url, "there", "#")
		eventually(t, "connected", func() bool { return b.Stats().Connected && local.Stats().Connections == 1 })
		probe := func() bool { // until the bridge's subscription stands
			there.say(t, "probe", "", 1, false)
			return slices.Contains(here.heard(), "probe= q1 false")
		}
		eventually(t, "messages come down", probe)
		for i := range 50 {
			here.say(t, fmt.Sprintf("h/%d", i), "h", 1, false)
			there.say(t, fmt.Sprintf("t/%d", i), "t", 1, false)
		}
		count := func(l *listener, prefix string) (n int) {
			for _, s := range l.heard() {
				if strings.HasPrefix(s, prefix) {
					n++
				}
			}
			return n
		}
		eventually(t, "all of it", func() bool { return count(here, "t/") >= 50 && count(there, "h/") >= 50 })
		time.Sleep(50 * time.Millisecond)
		for _, n := range []int{count(here, "h/"), count(here, "t/"), count(there, "h/"), count(there, "t/")} {
			if n != 50 {
				t.Errorf("%d messages, want 50: here %q", n, here.heard())
			}
		}
	})
}

// TestNoBridgeBit: at a server that refuses the bridge bit the bridge does without where nothing can turn round, and stays away where
// something could.
func TestNoBridgeBit(t *testing.T) {
	for rule, want := range map[string]bool{"# out 1": true, "# both 1 \"\" site/": false} {
		up, err := broker.New(broker.Options{Auth: noBridges{}})
		if err != nil {
			t.Fatal(err)
		}
		n := serveNode(t, up)
		local := newNode(t, "")
		b, _ := newPlain(t, local, mqtt.V311, "", n, rule)
		if want {
			eventually(t, "connected without the bit", func() bool { return b.Stats().Connected })
			continue
		}
		eventually(t, "refused", func() bool { return strings.Contains(b.Stats().Error, "unacceptable protocol version") })
		if b.Stats().Connects != 0 {
			t.Errorf("%+v", b.Stats())
		}
	}
}

// noBridges refuses bridges as a server does that does not know them.
type noBridges struct{}

func (noBridges) Authenticate(l *broker.Login) (broker.Access, mqtt.ReturnCode) {
	if l.Bridge {
		return nil, mqtt.UnacceptableVersion
	}
	return nil, mqtt.Accepted
}

func TestPlainOptionsAreChecked(t *testing.T) {
	local := newNode(t, "")
	o := Options{ID: "site", Local: local.Broker, Upstreams: []string{"mqtt://h"}}
	if _, err := NewPlain(o, nil, ""); err == nil {
		t.Error("no rules accepted")
	}
	if _, err := NewPlain(o, []Rule{{Pattern: "#"}}, ""); err == nil {
		t.Error("a rule without a direction accepted")
	}
	if _, err := NewPlain(o, rulesOf(t, "#"), "a/#"); err == nil {
		t.Error("a status topic with a wildcard accepted")
	}
	o.Batch.Count = 2
	if _, err := NewPlain(o, rulesOf(t, "#"), ""); err == nil {
		t.Error("batches accepted")
	}
}

// TestPlainBridgeCarriesProperties: in MQTT 5 the properties of a message go with it, both ways.
func TestPlainBridgeCarriesProperties(t *testing.T) {
	up, local := newNode(t, ""), newNode(t, "")
	b, _ := newPlain(t, local, mqtt.V5, "", up.url(), "q/# out 1", "a/# in 1")
	eventually(t, "connected", func() bool { return b.Stats().Connected && up.Stats().Subscriptions == 2 })
	props := &mqtt.Properties{ResponseTopic: "a/1", CorrelationData: []byte("77"), UserProperties: []mqtt.UserProperty{{Name: "n", Value: "v"}},
		Present: mqtt.Present(mqtt.PropResponseTopic, mqtt.PropCorrelationData)}
	for from, w := range map[*node]struct {
		to    *node
		topic string
	}{local: {up, "q/1"}, up: {local, "a/1"}} {
		got := make(chan *mqtt.Properties, 1)
		w.to.Handle(w.topic, func(m *broker.Inbound) {
			p := *m.Properties()
			p.CorrelationData = slices.Clone(p.CorrelationData)
			got <- &p
		})
		if _, err := from.Send(&broker.Message{Topic: w.topic, QoS: 1, Properties: props}); err != nil {
			t.Fatal(err)
		}
		if p := <-got; p.ResponseTopic != "a/1" || string(p.CorrelationData) != "77" || len(p.UserProperties) != 2 ||
			p.UserProperties[0].Name != "n" || p.UserProperties[1].Name != viaProperty {
			t.Errorf("%s: %+v", w.topic, p)
		}
	}
}

// TestPlainBridgeToItself ends, and says why.
func TestPlainBridgeToItself(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5} {
		local := newNode(t, "")
		b, err := NewPlain(Options{ID: "site", Local: local.Broker, Upstreams: []string{local.url()}, Version: v}, rulesOf(t, "# out 1"), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Run(t.Context()); !errors.Is(err, ErrSelf) || !strings.Contains(err.Error(), local.url()) {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// TestRingOfPlainBridges: of three brokers each passes everything on to the next; a message goes round once.
func TestRingOfPlainBridges(t *testing.T) {
	var nodes []*node
	for range 3 {
		nodes = append(nodes, newNode(t, ""))
	}
	var bridges []*Bridge
	for i, n := range nodes {
		b, _ := newPlain(t, n, mqtt.V5, "", nodes[(i+1)%3].url(), "# both 1")
		bridges = append(bridges, b)
	}
	eventually(t, "all connected", func() bool {
		for _, b := range bridges {
			if !b.Stats().Connected {
				return false
			}
		}
		return true
	})
	l := listenTo(t, nodes[0].url(), "l", "a")
	dropped := func() (n uint64) {
		for _, b := range bridges {
			n += b.Stats().Dropped["loop"]
		}
		return n
	}
	before := dropped()
	l.say(t, "a", "x", 1, false)
	eventually(t, "the end of it", func() bool {
		return dropped() > before && bridges[0].Stats().Queued+bridges[1].Stats().Queued+bridges[2].Stats().Queued == 0
	})
	time.Sleep(50 * time.Millisecond) // would it go on?
	if n := len(l.heard()); n > 3 {   // itself, and round in either direction
		t.Errorf("heard %d times", n)
	}
}

// TestMarked: a bridge knows its own mark, and the end of a long way.
func TestMarked(t *testing.T) {
	p, ok := marked(nil, "a")
	if p, ok = marked(p, "b"); !ok || len(p.UserProperties) != 2 {
		t.Errorf("%+v", p)
	}
	if _, ok := marked(p, "a"); ok {
		t.Error("passed on twice")
	}
	for i := range maxVia - 2 {
		if p, ok = marked(p, fmt.Sprint(i)); !ok {
			t.Fatalf("%d bridges", i+2)
		}
	}
	if _, ok := marked(p, "c"); ok {
		t.Error("a way without an end")
	}
}
