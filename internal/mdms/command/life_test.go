package command

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

func TestNothingIsSentBeforeItIsKept(t *testing.T) {
	w := newWorld("M1")
	id := w.create(t, on("M1", api.CommandDisconnect))
	w.wantState(t, id, api.CommandQueued)
	w.e.Tick(w.wall)
	if len(w.sends) != 0 {
		t.Fatalf("%d messages went out before Changed", len(w.sends))
	}
	got := w.commit()
	if len(got) != 1 {
		t.Fatalf("%d messages, want 1", len(got))
	}
	d := got[0]
	if d.Target != topic.Device || d.Kind != topic.Meter || d.ID != "M1" || d.Event != "cmd" || d.QoS != 1 {
		t.Errorf("sent %+v", d)
	}
	m := sentCommand(t, d)
	if m.ID != id || m.Opcode != record.OpDisconnect || m.Expiry != uint32(w.business.Unix())+60 || m.Time != uint32(w.business.Unix()) {
		t.Errorf("sent %+v", m)
	}
	w.wantState(t, id, api.CommandSent)
	// M1 --result done--> centre
	if a := w.result("M1", id, record.OpDisconnect, record.Done, 0); a != Applied {
		t.Errorf("answer %d, want Applied", a)
	}
	w.wantState(t, id, api.CommandDone)
	if a := w.result("M1", id, record.OpDisconnect, record.Done, 0); a != Repeated {
		t.Errorf("answer to the repeat %d, want Repeated", a)
	}
	if got := w.after(time.Minute); len(got) != 0 {
		t.Errorf("sent after the result: %+v", got)
	}
	c := stored(t, w.store[id])
	if c.State != api.CommandDone || len(c.History) != 3 || w.store[id].Open || c.Result == nil || c.Result.Outcome != "done" {
		t.Errorf("stored %+v", c)
	}
	if n := len(w.events); n != 3 || w.events[0].Source != "/C1/C7/meter/M1" || w.events[0].Type != "wattbus.command.v1" {
		t.Errorf("%d events, the first %+v", n, w.events[0])
	}
}

// A meter that sleeps fetches its command when it wakes: the centre says when, keeps it alive until then, and does not send it
// again before the meter has had its chance.
func TestSleepingMeter(t *testing.T) {
	w := newWorld("M1")
	nap := 5 * time.Minute
	w.o.Asleep = func(*cim.EndDevice) time.Duration { return nap }
	w.e = New(w.o)
	id := w.create(t, on("M1", api.CommandDisconnect))
	if n := len(w.commit()); n != 1 {
		t.Fatalf("%d messages", n)
	}
	c := w.get(t, id)
	wakes := w.wall.Add(nap)
	if c.QueuedUntil == nil || !c.QueuedUntil.Equal(wakes) || !c.Expires.Equal(wakes.Add(DefaultExpiry)) ||
		c.History[1].Detail != "the meter sleeps: queued until 2026-01-02T03:09:05Z" {
		t.Errorf("%+v", c)
	}
	for ; nap > 0; nap -= time.Second {
		if got := w.after(time.Second); len(got) != 0 {
			t.Fatalf("sent again %s before it wakes", nap)
		}
	}
	if got := w.after(fetched + time.Second); len(got) != 1 {
		t.Errorf("%d repeats when it has been awake", len(got))
	}
	if c := w.get(t, id); c.QueuedUntil != nil {
		t.Errorf("queued until %s", c.QueuedUntil)
	}
	w.result("M1", id, record.OpDisconnect, record.Done, 0)
	w.wantState(t, id, api.CommandDone)
	// Its author does not want to wait so long.
	nap = 5 * time.Minute
	req := on("M1", api.CommandPing)
	req.ExpiresIn = 60
	id = w.create(t, req)
	w.commit()
	if c := w.get(t, id); !strings.Contains(c.History[1].Detail, "when the command has expired") {
		t.Errorf("%+v", c.History)
	}
}

// TestSleepingMeterMoves: a command went down to where a meter slept a moment before it registers elsewhere. It goes there at once,
// not after the sleep that is over.
func TestSleepingMeterMoves(t *testing.T) {
	for _, before := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
		w := newWorld("M1")
		nap := 5 * time.Minute
		w.o.Asleep = func(*cim.EndDevice) time.Duration { return nap }
		w.e = New(w.o)
		w.create(t, on("M1", api.CommandPing))
		if n := len(w.commit()); n != 1 {
			t.Fatalf("%d messages", n)
		}
		w.after(before)
		nap = 0 // until it says anew that it sleeps
		w.e.Wake(w.devices["M1"])
		if got := w.after(FirstRepeat); len(got) != 1 {
			t.Errorf("registers %s behind the command: %d messages", before, len(got))
		}
	}
}

func TestRepeats(t *testing.T) {
	w := newWorld("M1")
	req := on("M1", api.CommandPing)
	req.ExpiresIn = 300
	id := w.create(t, req)
	var at []int
	for s := 0; s <= 400; s++ {
		if s > 0 {
			w.pass(time.Second)
		}
		if len(w.commit()) > 0 {
			at = append(at, s)
		}
	}
	want := []int{0, 2, 6, 14, 30, 62, 122, 182, 242}
	if len(at) != len(want) {
		t.Fatalf("sent at %v, want %v", at, want)
	}
	for i := range at {
		if at[i] != want[i] {
			t.Fatalf("sent at %v, want %v", at, want)
		}
	}
	w.wantState(t, id, api.CommandExpired)
	c := w.get(t, id)
	if end := c.History[len(c.History)-1].Time.Sub(c.Created); end != 300*time.Second {
		t.Errorf("expired after %v, want 300 s", end)
	}
	if c.Sends != len(want) {
		t.Errorf("sends %d, want %d", c.Sends, len(want))
	}
}

func TestOutcomes(t *testing.T) {
	for _, tc := range []struct {
		outcome record.Outcome
		detail  uint32
		state   string
		reason  string
	}{
		{record.Done, 0, api.CommandDone, ""},
		{record.Refused, record.DetailClock, api.CommandRefused, "clock"},
		{record.Refused, record.DetailNoExpiry, api.CommandRefused, "expiry"},
		{record.Refused, 77, api.CommandRefused, "detail 77"},
		{record.Refused, record.DetailValue, api.CommandRefused, "parameter"},
		{record.Failed, 3, api.CommandFailed, "detail 3"},
		{record.Failed, 0, api.CommandFailed, "tried"},
		{record.Failed, record.DetailUnfinished, api.CommandFailed, "power"},
		{record.Expired, 0, api.CommandExpired, "expired"},
		{record.NotSupported, 0, api.CommandRefused, "support"},
	} {
		for _, deliveredFirst := range []bool{false, true} {
			w := newWorld("M1")
			id := w.create(t, on("M1", api.CommandReconnect))
			w.commit()
			if deliveredFirst {
				w.result("M1", id, record.OpReconnect, record.Delivered, 0)
				w.wantState(t, id, api.CommandDelivered)
				if got := w.after(50 * time.Second); len(got) != 0 {
					t.Errorf("outcome 5 did not stop the repeats")
				}
			}
			w.result("M1", id, record.OpReconnect, tc.outcome, tc.detail)
			w.wantState(t, id, tc.state)
			if r := w.get(t, id).Result; !strings.Contains(r.Reason, tc.reason) || r.Outcome != tc.outcome.String() {
				t.Errorf("result %+v, want outcome %q and a reason with %q", r, tc.outcome, tc.reason)
			}
		}
	}
}

// TestCannotBeArmed: a device with a breaker that does not support a reconnection cannot arm it.
func TestCannotBeArmed(t *testing.T) {
	w := newWorld("M1")
	req := on("M1", api.CommandReconnect)
	req.Params.Arm = true
	id := w.create(t, req)
	w.commit()
	w.e.OnResult(w.devices["M1"], record.Result{Command: id, Opcode: record.OpReconnect, Outcome: record.NotSupported, Breaker: record.BreakerOpen})
	w.wantState(t, id, api.CommandRefused)
	if r := w.get(t, id).Result; !strings.Contains(r.Reason, "armed") {
		t.Errorf("reason %q", r.Reason)
	}
}

func TestDeliveredExpires(t *testing.T) {
	w := newWorld("M1")
	id := w.create(t, on("M1", api.CommandPing))
	w.commit()
	w.result("M1", id, record.OpPing, record.Delivered, 0)
	w.after(66 * time.Second)
	w.wantState(t, id, api.CommandExpired)
	// The late result is told, but does not bring it back.
	if a := w.result("M1", id, record.OpPing, record.Done, 0); a != Applied {
		t.Errorf("first late result: %d, want Applied", a)
	}
	if a := w.result("M1", id, record.OpPing, record.Done, 0); a != Repeated {
		t.Errorf("second late result: %d, want Repeated", a)
	}
	c := w.get(t, id)
	if c.State != api.CommandExpired || c.Result == nil || !strings.HasPrefix(c.History[len(c.History)-1].Detail, "late result") {
		t.Errorf("got %+v", c)
	}
}

func TestForeignAndUnknownResults(t *testing.T) {
	w := newWorld("M1", "M2")
	id := w.create(t, on("M1", api.CommandDisconnect))
	w.commit()
	if a := w.result("M2", id, record.OpDisconnect, record.Done, 0); a != Repeated {
		t.Errorf("result of another meter: %d", a)
	}
	if a := w.result("M1", id, record.OpReconnect, record.Done, 0); a != Repeated {
		t.Errorf("result with another opcode: %d", a)
	}
	if a := w.result("M1", id+100, record.OpProfile, record.Done, 0); a != NotOurs {
		t.Errorf("result of no command: %d", a)
	}
	w.wantState(t, id, api.CommandSent)
	if s := w.e.Stats(); s.Foreign != 1 || s.Mismatched != 1 || s.Unknown != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestClockSpeeds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		speed  float64
		paused bool
		wire   int64 // seconds after now
	}{{"real", 1, false, 60}, {"fast", 60, false, 3600}, {"paused", 1, true, 60}, {"slow", 0.5, false, 30}, {"crawling", 0.001, false, 1}} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld("M1")
			w.speed, w.paused = tc.speed, tc.paused
			id := w.create(t, on("M1", api.CommandDisconnect))
			m := sentCommand(t, w.commit()[0])
			if got := int64(m.Expiry) - w.business.Unix(); got != tc.wire {
				t.Errorf("expiry on the wire %d s from now, want %d", got, tc.wire)
			}
			w.after(59 * time.Second)
			w.wantState(t, id, api.CommandSent)
			w.after(time.Second)
			w.wantState(t, id, api.CommandExpired)
		})
	}
}

func TestExpiryOnTheWireIsNeverNone(t *testing.T) {
	w := newWorld("M1")
	for _, tc := range []struct {
		business time.Time
		speed    float64
		want     uint32
	}{
		{time.Unix(0, 0), 1e-9, 1},
		{time.Unix(1<<32-2, 0), 1, 1<<32 - 1},
		{time.Unix(1e9, 0), 1e6, 1<<32 - 1}, // a month at this speed overflows
	} {
		w.business, w.speed = tc.business, tc.speed
		if got := w.e.wireExpiry(MaxExpiry); got != tc.want {
			t.Errorf("at %v and speed %g: %d, want %d", tc.business, tc.speed, got, tc.want)
		}
	}
}

func TestBusinessClockRunsAhead(t *testing.T) {
	w := newWorld("M1")
	req := on("M1", api.CommandDisconnect)
	req.ExpiresIn = 3600
	id := w.create(t, req)
	w.commit()
	w.business = w.business.Add(2 * time.Hour)
	if got := w.after(2 * time.Second); len(got) != 0 {
		t.Fatalf("sent after its expiry: %+v", got)
	}
	w.after(6 * time.Second)
	w.wantState(t, id, api.CommandExpired)
}

func TestOneInFlightInOrder(t *testing.T) {
	w := newWorld("M1", "M2")
	a := w.create(t, on("M1", api.CommandReconnect))
	b := w.create(t, on("M1", api.CommandDisconnect))
	c := w.create(t, on("M1", api.CommandPing))
	other := w.create(t, on("M2", api.CommandPing))
	got := w.commit()
	if len(got) != 2 || sentCommand(t, got[0]).ID != a || sentCommand(t, got[1]).ID != other {
		t.Fatalf("sent %+v, want the first of each meter", got)
	}
	w.wantState(t, b, api.CommandQueued)
	w.result("M1", a, record.OpReconnect, record.Done, 0)
	if got = w.commit(); len(got) != 1 || sentCommand(t, got[0]).ID != b {
		t.Fatalf("sent %+v, want the second", got)
	}
	if _, err := w.e.Cancel(b, "bob"); err != nil {
		t.Fatal(err)
	}
	if got = w.commit(); len(got) != 1 || sentCommand(t, got[0]).ID != c {
		t.Fatalf("sent %+v, want the third", got)
	}
	cb := w.get(t, b)
	if cb.State != api.CommandCancelled || !strings.Contains(cb.History[len(cb.History)-1].Detail, "already sent") {
		t.Errorf("cancelled: %+v", cb)
	}
	if _, err := w.e.Cancel(b, "bob"); problem(t, err).Status != 409 {
		t.Errorf("second cancel: %v", err)
	}
	if _, err := w.e.Cancel(999, "bob"); problem(t, err).Status != 404 {
		t.Errorf("cancel of nothing: %v", err)
	}
}

func TestSendErrorsAreRepeated(t *testing.T) {
	w := newWorld("M1", "M2")
	w.fail = errors.New("bus is down")
	id := w.create(t, on("M1", api.CommandPing))
	all := w.create(t, below("C1", api.CommandRead))
	w.commit()
	w.wantState(t, id, api.CommandQueued)
	w.wantState(t, all, api.CommandQueued)
	w.fail = nil
	if got := w.after(2 * time.Second); len(got) != 2 {
		t.Errorf("%d messages, want 2", len(got))
	}
	w.wantState(t, id, api.CommandSent)
	w.wantState(t, all, api.CommandSent)
}

func TestSetClockSendsTheTimeOfTheRepeat(t *testing.T) {
	w := newWorld("M1")
	w.create(t, on("M1", api.CommandClock))
	for range 3 {
		got := w.after(10 * time.Second)
		if m := sentCommand(t, got[0]); m.A != uint32(w.business.Unix()) || m.A != m.Time {
			t.Errorf("sets %d at %d", m.A, w.business.Unix())
		}
	}
}

func TestWake(t *testing.T) {
	w := newWorld("M1")
	req := on("M1", api.CommandPing)
	req.ExpiresIn = 3600
	w.create(t, req)
	w.commit()
	for range 10 {
		w.after(time.Minute)
	}
	w.after(10 * time.Second)
	w.e.Wake(w.devices["M1"])
	if got := w.commit(); len(got) != 1 {
		t.Errorf("%d messages after the registration, want 1", len(got))
	}
	w.e.Wake(w.devices["M1"])
	if got := w.commit(); len(got) != 0 {
		t.Errorf("%d messages after a second registration at once, want none", len(got))
	}
}
