package e2e

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/broker/sqlitestore"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestBrokerKilledUnderLoad kills a broker with --data again and again while publishers
// number their messages, and holds it to what it has acknowledged: at QoS 1 everything
// arrives at the persistent subscriber, in order; at QoS 2 exactly once, from publishers
// whose own exchanges were cut too; the retained message is never older than the last one
// acknowledged.
func TestBrokerKilledUnderLoad(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir, addr := t.TempDir(), freeAddr(t)
	b := start(t, "broker", "broker", "--data", dir, "--mqtt", addr, "--log-level", "warn",
		"--max-session-queue-bytes", "268435456", "--max-queue-bytes", "1073741824") // or what waits for the subscriber would be too much
	sub := &ledger{addr: addr, next: map[string]int{}, open: map[uint16]bool{}}
	if present := sub.subscribe(t); present {
		t.Fatal("session present at the beginning")
	}
	pubs := []*numberer{}
	for i := range 4 {
		pubs = append(pubs, &numberer{addr: addr, id: fmt.Sprintf("p1-%d", i), topic: fmt.Sprintf("q1/%d", i), qos: 1})
	}
	for i := range 2 {
		pubs = append(pubs, &numberer{addr: addr, id: fmt.Sprintf("p2-%d", i), topic: fmt.Sprintf("q2/%d", i), qos: 2})
	}
	pubs = append(pubs, &numberer{addr: addr, id: "retainer", topic: "kept", qos: 1, retain: true})
	for round := range rounds {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for _, p := range pubs {
			wg.Go(func() { p.run(stop) })
		}
		if round%3 != 2 { // else all of it waits for the subscriber over the kill
			wg.Go(func() { sub.run(stop) })
		}
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond) // load; how long does not matter
		b.kill()
		close(stop)
		wg.Wait()
		b.restart()
		if got, sent, acked := sub.retained(t), pubs[6].sent, pubs[6].acked; got < acked-1 || got >= sent {
			t.Errorf("round %d: %d is retained, %d were acknowledged of %d", round, got, acked, sent)
		}
	}
	// The rest without a kill.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, p := range pubs {
		p.last.Store(true)
		wg.Go(func() { p.run(stop) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	stopSub := make(chan struct{})
	var subbing sync.WaitGroup
	subbing.Go(func() { sub.run(stopSub) })
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Error("publishers are not done")
		close(stop)
		<-done
	}
	total := 0
	eventually(t, 60*time.Second, func() string {
		sub.mu.Lock()
		defer sub.mu.Unlock()
		total = 0
		for _, p := range pubs {
			total += p.sent
			if p.retain {
				continue
			}
			if got := sub.next[p.topic]; got != p.sent {
				return fmt.Sprintf("%s: %d of %d have arrived", p.topic, got, p.sent)
			}
		}
		return ""
	})
	time.Sleep(200 * time.Millisecond) // would anything come twice?
	close(stopSub)
	subbing.Wait()
	for _, e := range sub.errs {
		t.Error(e)
	}
	for _, p := range pubs {
		for _, e := range p.errs {
			t.Error(e)
		}
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	left := &leftover{}
	s, err := sqlitestore.Open(t.Context(), dir+"/"+sqlitestore.FileName)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Load(t.Context(), left), s.Close()); err != nil {
		t.Fatal(err)
	}
	if left.items != 1 || left.messages != 1 { // the retained one
		t.Errorf("%d items and %d messages are left in the store", left.items, left.messages)
	}
	t.Logf("%d messages in %d rounds, %d repeated at QoS 1", total, rounds, sub.repeats)
}

// leftover counts what is in a store.
type leftover struct{ items, messages int }

func (*leftover) Session(broker.StoredSession) error           { return nil }
func (*leftover) Subscription(broker.StoredSubscription) error { return nil }
func (*leftover) Received(broker.StoredReceived) error         { return nil }
func (*leftover) Will(broker.StoredWill) error                 { return nil }
func (l *leftover) Message(broker.StoredMessage) error         { l.messages++; return nil }
func (l *leftover) Item(broker.StoredItem) error               { l.items++; return nil }

// wire is a connection of a client that says exactly what the test says.
type wire struct {
	nc net.Conn
	r  *bufio.Reader
	w  []byte
}

// dialWire connects; it tries until the broker is there, or stop.
func dialWire(addr, id string, clean bool, stop <-chan struct{}) (w *wire, present bool, err error) {
	for {
		w, present, err = tryWire(addr, id, clean)
		if err == nil {
			return w, present, nil
		}
		select {
		case <-stop:
			return nil, false, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func tryWire(addr, id string, clean bool) (*wire, bool, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, false, err
	}
	w := &wire{nc: nc, r: bufio.NewReader(nc)}
	w.w, err = mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V311, ClientID: id, Clean: clean})
	if err == nil {
		err = w.flush()
	}
	_ = nc.SetReadDeadline(time.Now().Add(60 * time.Second))
	h, body, err2 := w.read()
	_ = nc.SetReadDeadline(time.Time{})
	if err = errors.Join(err, err2); err != nil || h.Type != mqtt.CONNACK {
		nc.Close()
		return nil, false, errors.Join(err, errors.New("no CONNACK"))
	}
	ack, err := mqtt.DecodeConnack(mqtt.V311, body)
	return w, ack.SessionPresent, err
}

func (w *wire) flush() error {
	_, err := w.nc.Write(w.w)
	w.w = w.w[:0]
	return err
}

func (w *wire) read() (mqtt.FixedHeader, []byte, error) {
	var b []byte
	for {
		c, err := w.r.ReadByte()
		if err != nil {
			return mqtt.FixedHeader{}, nil, err
		}
		b = append(b, c)
		h, n, err := mqtt.ParseFixedHeader(b)
		if err != nil || n > 0 {
			body := make([]byte, h.Length)
			_, err2 := io.ReadFull(w.r, body)
			return h, body, errors.Join(err, err2)
		}
	}
}

func id16(body []byte) uint16 { return uint16(body[0])<<8 | uint16(body[1]) }

// numberer publishes numbers, with what it has under way kept over connections.
type numberer struct {
	addr, id, topic string
	qos             byte
	retain          bool
	last            atomic.Bool // finish what is under way, and end

	sent, acked int
	open        []outgoing // under way, in order
	errs        []error
}

type outgoing struct {
	n        int
	id       uint16
	released bool
}

const window = 40

// run publishes until the connection or stop ends it; a kill ends the former.
func (p *numberer) run(stop <-chan struct{}) {
	w, present, err := dialWire(p.addr, p.id, p.qos == 1, stop)
	if err != nil {
		return
	}
	defer w.nc.Close()
	go func() { <-stop; w.nc.Close() }()
	if p.qos == 2 && !present { // nothing of it was ever stored
		p.open = slices.DeleteFunc(p.open, func(o outgoing) bool { return o.released })
	}
	for _, o := range p.open {
		if o.released {
			w.w = mqtt.AppendPubrel(w.w, mqtt.V311, mqtt.Pubrel{PacketID: o.id})
		} else {
			p.publish(w, o, true)
		}
	}
	for {
		for !p.last.Load() && len(p.open) < window {
			o := outgoing{n: p.sent, id: uint16(p.sent%60_000) + 1}
			p.sent++
			p.open = append(p.open, o)
			p.publish(w, o, false)
		}
		if len(p.open) == 0 || w.flush() != nil {
			return
		}
		for first := true; first || w.r.Buffered() > 0; first = false {
			h, body, err := w.read()
			if err != nil {
				return
			}
			p.answer(w, h.Type, id16(body))
		}
	}
}

func (p *numberer) publish(w *wire, o outgoing, dup bool) {
	w.w, _ = mqtt.AppendPublish(w.w, mqtt.V311, &mqtt.Publish{
		QoS: p.qos, PacketID: o.id, Dup: dup, Retain: p.retain, Topic: p.topic, Payload: strconv.AppendInt(nil, int64(o.n), 10)})
}

func (p *numberer) answer(w *wire, t mqtt.PacketType, id uint16) {
	i := slices.IndexFunc(p.open, func(o outgoing) bool { return o.id == id })
	switch {
	case i < 0:
		p.errs = append(p.errs, fmt.Errorf("%s: %s for %d, which is not under way", p.id, t, id))
	case t == mqtt.PUBREC:
		if !p.open[i].released {
			p.acked++
		}
		p.open[i].released = true
		w.w = mqtt.AppendPubrel(w.w, mqtt.V311, mqtt.Pubrel{PacketID: id})
	case t == mqtt.PUBACK:
		p.acked++
		p.open = slices.Delete(p.open, i, i+1)
	case t == mqtt.PUBCOMP:
		p.open = slices.Delete(p.open, i, i+1)
	}
}

// ledger is the subscriber, with what it has received kept over connections.
type ledger struct {
	addr string

	mu      sync.Mutex
	next    map[string]int  // by topic
	open    map[uint16]bool // of QoS 2, not released
	repeats int
	errs    []error
}

func (l *ledger) subscribe(t *testing.T) (present bool) {
	t.Helper()
	w, present, err := dialWire(l.addr, "sub", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	w.w, err = mqtt.AppendSubscribe(w.w, mqtt.V311, &mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "q1/#", QoS: 1}, {Filter: "q2/#", QoS: 2}}})
	if err := errors.Join(err, w.flush()); err != nil {
		t.Fatal(err)
	}
	if h, _, err := w.read(); err != nil || h.Type != mqtt.SUBACK {
		t.Fatal(h.Type, err)
	}
	return present
}

// retained asks another client's way for the retained number.
func (l *ledger) retained(t *testing.T) int {
	t.Helper()
	w, _, err := dialWire(l.addr, "asker", true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	_ = w.nc.SetReadDeadline(time.Now().Add(60 * time.Second))
	w.w, _ = mqtt.AppendSubscribe(w.w, mqtt.V311, &mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "kept"}}})
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	for {
		h, body, err := w.read()
		if err != nil {
			t.Fatalf("nothing is retained: %v", err)
		}
		if h.Type != mqtt.PUBLISH {
			continue
		}
		p, err := mqtt.DecodePublish(mqtt.V311, h.Flags, body)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(p.Payload))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// run takes what comes until the connection or stop ends it.
func (l *ledger) run(stop <-chan struct{}) {
	w, present, err := dialWire(l.addr, "sub", false, stop)
	if err != nil {
		return
	}
	defer w.nc.Close()
	go func() { <-stop; w.nc.Close() }()
	if !present {
		l.complain("the session is gone")
	}
	for {
		h, body, err := w.read()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrClosed) && !strings.Contains(err.Error(), "reset") {
				l.complain("read: %v", err)
			}
			return
		}
		switch h.Type {
		case mqtt.PUBLISH:
			p, err := mqtt.DecodePublish(mqtt.V311, h.Flags, body)
			if err != nil {
				l.complain("%v", err)
				return
			}
			l.take(p)
			if p.QoS == 2 {
				w.w = mqtt.AppendPubrec(w.w, mqtt.V311, mqtt.Pubrec{PacketID: p.PacketID})
			} else {
				w.w = mqtt.AppendPuback(w.w, mqtt.V311, mqtt.Puback{PacketID: p.PacketID})
			}
		case mqtt.PUBREL:
			l.mu.Lock()
			delete(l.open, id16(body))
			l.mu.Unlock()
			w.w = mqtt.AppendPubcomp(w.w, mqtt.V311, mqtt.Pubcomp{PacketID: id16(body)})
		}
		if w.r.Buffered() == 0 && w.flush() != nil {
			return
		}
	}
}

func (l *ledger) take(p mqtt.Publish) {
	n, err := strconv.Atoi(string(p.Payload))
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.QoS == 2 {
		if l.open[p.PacketID] {
			return // a repeat, known by its identifier
		}
		l.open[p.PacketID] = true
	}
	want := l.next[p.Topic]
	switch {
	case err != nil:
		l.errs = append(l.errs, err)
	case n == want:
		l.next[p.Topic]++
	case n < want && p.QoS == 1:
		l.repeats++
	default:
		l.errs = append(l.errs, fmt.Errorf("%s: got %d, want %d", p.Topic, n, want))
		l.next[p.Topic] = cmp.Or(n+1, want)
	}
}

func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	l.errs = append(l.errs, fmt.Errorf(format, args...))
	l.mu.Unlock()
}
