package meter

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
)

// fakeLink is a connection without a network: what is sent lands in a list, with room for so many unacknowledged messages.
type fakeLink struct {
	o     client.Options
	again chan struct{}
	dead  chan struct{}

	mu   sync.Mutex
	sent []sent
	open []client.Message // unacknowledged
	room int
}

type sent struct {
	at time.Time
	m  client.Message
}

func newFakeLink(o client.Options) *fakeLink {
	return &fakeLink{o: o, again: make(chan struct{}, 1), dead: make(chan struct{}), room: 1 << 30}
}

func (l *fakeLink) Run(ctx context.Context) error {
	for {
		l.o.Will()
		l.record(*l.o.Birth())
		l.o.OnConnect(false)
		select {
		case <-ctx.Done():
			return nil
		case <-l.dead:
			<-ctx.Done()
			return nil
		case <-l.again:
			l.o.OnDisconnect(nil)
		}
	}
}

func (l *fakeLink) record(m client.Message) {
	l.sent = append(l.sent, sent{time.Now(), m})
}

func (l *fakeLink) TryPublish(m client.Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.QoS > 0 && len(l.open) >= l.room {
		return false
	}
	l.record(m)
	if m.QoS > 0 {
		l.open = append(l.open, m)
	}
	return true
}

func (l *fakeLink) acknowledge() {
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for _, m := range open {
		m.Acked()
	}
}

func (l *fakeLink) Flush(context.Context) error            { return nil }
func (l *fakeLink) Subscribe(...client.Subscription) error { return nil }
func (l *fakeLink) Unsubscribe(...string) error            { return nil }
func (l *fakeLink) Reconnect()                             { l.again <- struct{}{} }
func (l *fakeLink) Kill()                                  { close(l.dead) }
func (l *fakeLink) Resume()                                {}

func (l *fakeLink) of(suffix string) (out []sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sent {
		if s.m.Topic == "up/meter/M1/"+suffix {
			out = append(out, s)
		}
	}
	return out
}

func (l *fakeLink) deliver(event string, payload []byte) {
	l.o.OnMessage(&client.Message{Topic: "dn/meter/M1/" + event, Payload: payload, QoS: 1})
}

// inBubble runs an agent on a fake link in a bubble of synthetic time.
func inBubble(t *testing.T, edit func(*Options), test func(t *testing.T, a *Agent, l *fakeLink)) {
	synctest.Test(t, func(t *testing.T) {
		var l *fakeLink
		o := Options{ID: "M1", Clock: clock.New(time.Unix(t0+100, 0), 1), Source: line(3600), History: 45 * 24 * time.Hour,
			Connect: func(o client.Options) (Link, error) { l = newFakeLink(o); return l, nil }}
		if edit != nil {
			edit(&o)
		}
		a, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := a.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		test(t, a, l)
		cancel()
		wg.Wait()
	})
}

// Contract, section 2, Location: repeated after 2 s, doubling to 5 min, with jitter, until the acknowledgement.
func TestLocationIsRepeated(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, a *Agent, l *fakeLink) {
		time.Sleep(time.Hour)
		synctest.Wait()
		sent := l.of("location")
		if len(sent) < 18 || len(sent) > 26 {
			t.Errorf("sent %d times in an hour", len(sent))
		}
		want := 2 * time.Second
		for i := 1; i < len(sent); i++ {
			if d := sent[i].at.Sub(sent[i-1].at); d < want*3/4 || d > want*5/4 {
				t.Errorf("repetition %d after %s, want %s ± a quarter", i, d, want)
			}
			if loc, err := record.DecodeLocation(sent[i].m.Payload); err != nil || loc.Sequence != 1 || sent[i].m.QoS != 0 {
				t.Errorf("%+v, %v", loc, err)
			}
			want = min(2*want, 5*time.Minute)
		}
		l.deliver("location-ack", record.LocationAck{Sequence: 1}.Append(nil))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(l.of("location")); n != len(sent) || !a.Status().Registered {
			t.Errorf("%d repetitions after the acknowledgement", n-len(sent))
		}
		// On the next connection it begins anew.
		l.deliver("location-ack", record.LocationAck{Sequence: 5}.Append(nil))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		after := l.of("location")[len(sent):]
		if len(after) != 2 {
			t.Fatalf("sent %d times in 3 s of the new connection", len(after))
		}
		if loc, _ := record.DecodeLocation(after[1].m.Payload); loc.Sequence != 6 {
			t.Errorf("%+v", loc)
		}
	})
}

// Readings go out at the ends of intervals, spread over the wall time that Options.Spread says, at any speed of the clock.
func TestReadingsAreSpread(t *testing.T) {
	var clk *clock.Clock
	inBubble(t, func(o *Options) { o.Spread = 2 * time.Second; o.Clock.SetSpeed(10); clk = o.Clock }, func(t *testing.T, a *Agent, l *fakeLink) {
		time.Sleep(time.Hour + 2*time.Second) // ten hours, and the spread
		synctest.Wait()
		sent := l.of("reading")
		if len(sent) != 20 {
			t.Fatalf("%d readings in ten hours", len(sent))
		}
		late := map[time.Duration]bool{}
		for i, s := range sent {
			r, _ := record.DecodeReading(s.m.Payload)
			end := time.Unix(int64(r.Time), 0)
			if r.Time != t0+uint32(i+1)*half {
				t.Errorf("reading %d is of %d", i, r.Time)
			}
			wall := clk.Now().Sub(end)/10 - time.Since(s.at)
			if wall < -time.Millisecond || wall > 2*time.Second+time.Millisecond {
				t.Errorf("reading %d goes out %s after its interval", i, wall)
			}
			late[wall.Truncate(100*time.Millisecond)] = true
		}
		if len(late) < 5 {
			t.Errorf("readings are not spread: %v", late)
		}
		clk.Pause()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(l.of("reading")); n != 20 {
			t.Errorf("%d readings while the clock stands", n-20)
		}
	})
}

// Contract, section 2, Commands: an answer that takes long says "delivered, still working" (outcome 5), once; so does a repeat
// that comes meanwhile. Then parts go on, and the result comes last.
func TestLongAnswer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, a *Agent, l *fakeLink) {
		l.room = 10
		cmd := record.Command{ID: 8, Opcode: record.OpProfile, A: t0 - 30*86400, B: t0}.Append(nil)
		l.deliver("cmd", cmd)
		for range 6 {
			time.Sleep(500 * time.Millisecond)
			l.acknowledge()
			synctest.Wait()
		}
		l.deliver("cmd", cmd)
		for range 50 {
			l.acknowledge()
			synctest.Wait()
		}
		var outcomes []record.Outcome
		for _, s := range l.of("result") {
			r, _ := record.DecodeResult(s.m.Payload)
			outcomes = append(outcomes, r.Outcome)
		}
		if len(outcomes) != 2 || outcomes[0] != record.Delivered || outcomes[1] != record.Done {
			t.Errorf("outcomes %v", outcomes)
		}
		parts := l.of("profile")
		if len(parts) != 120 {
			t.Errorf("%d parts", len(parts))
		}
		for i, s := range parts {
			if p, err := record.DecodeProfile(s.m.Payload); err != nil || int(p.Part) != i+1 {
				t.Errorf("part %d: %+v, %v", i+1, p, err)
			}
		}
	})
}

// Everything in an agent is bounded: commands that come faster than answers go are dropped and counted, nothing is stuck.
func TestBounds(t *testing.T) {
	inBubble(t, func(o *Options) { o.Clock.SetSpeed(3600) }, func(t *testing.T, a *Agent, l *fakeLink) {
		l.mu.Lock()
		l.room = 0
		l.mu.Unlock()
		for id := range uint64(1000) {
			l.deliver("cmd", record.Command{ID: id, Opcode: record.OpPing}.Append(nil))
			if id%10 == 0 {
				synctest.Wait()
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		a.mu.Lock()
		if len(a.jobs) > maxJobs || len(a.inbox) > maxInbox || len(a.out) > maxOut {
			t.Errorf("%d answers, %d commands, %d messages wait", len(a.jobs), len(a.inbox), len(a.out))
		}
		a.mu.Unlock()
		if a.Stats().Dropped == 0 {
			t.Error("nothing was dropped")
		}
		l.mu.Lock()
		l.room = 1000
		l.mu.Unlock()
		a.nudge()
		synctest.Wait()
		if n := len(l.of("result")); n != maxJobs+maxInbox {
			t.Errorf("%d answers, want %d", n, maxJobs+maxInbox)
		}
	})
}

func TestScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New(time.Unix(t0, 0), 10)
		s := NewScheduler(c)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		var mu sync.Mutex
		var rung []int
		at := func(i int) *alarm { return newAlarm(func() { mu.Lock(); rung = append(rung, i); mu.Unlock() }) }
		alarms := []*alarm{at(0), at(1), at(2), at(3)}
		s.set(alarms[3], time.Unix(t0+3000, 0))
		synctest.Wait()
		s.set(alarms[2], time.Unix(t0+200, 0)) // earlier than the one waited for
		s.set(alarms[1], time.Unix(t0+100, 0))
		s.set(alarms[0], time.Unix(t0+50, 0))
		s.set(alarms[0], time.Unix(t0+250, 0)) // later after all
		s.clear(alarms[3])
		s.clear(alarms[3])
		time.Sleep(9 * time.Second)
		synctest.Wait()
		mu.Lock()
		if len(rung) != 0 {
			t.Errorf("%v rang too early", rung)
		}
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(rung) != 3 || rung[0] != 1 || rung[1] != 2 || rung[2] != 0 {
			t.Errorf("rang %v, want 1 2 0", rung)
		}
		cancel()
		wg.Wait()
	})
}
