package meter

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/wattbus/wattbus/internal/record"
)

// t0 is the end of a half hour, and of a day.
const t0 = 1_543_622_400 // 2018-12-01T00:00:00Z

const half = 1800

func newTestCore(at uint32, edit func(*config)) *core {
	c := config{id: "M1", caps: record.CapBreaker, sources: [2]Source{line(3600), nil}, interval: 30, history: Memory45Days}
	if edit != nil {
		edit(&c)
	}
	return newCore(c, State{}, false, at)
}

func decode[T any](t *testing.T, m message, d func([]byte) (T, error)) T {
	t.Helper()
	typ, err := record.Validate(m.event, m.payload)
	if err != nil {
		t.Fatalf("%s: %v", m.event, err)
	}
	if want := byte(1); typ == record.TypeLocation && m.qos != 0 || typ != record.TypeLocation && m.qos != want {
		t.Errorf("%s goes at QoS %d", m.event, m.qos)
	}
	v, err := d(m.payload)
	if err != nil {
		t.Fatalf("%s: %v", m.event, err)
	}
	return v
}

// send gives the core a command and returns its answers.
func (m *core) send(t *testing.T, at uint32, event string, payload []byte) []message {
	t.Helper()
	fx, err := m.receive(at, event, payload)
	if err != nil {
		t.Fatal(err)
	}
	if fx.answer == nil {
		return nil
	}
	var out []message
	for i := range m.answers(fx.answer) {
		out = append(out, m.answer(fx.answer, i))
	}
	return out
}

func (m *core) cmd(t *testing.T, at uint32, c record.Command) []message {
	t.Helper()
	return m.send(t, at, "cmd", c.Append(nil))
}

func (m *core) resultOf(t *testing.T, at uint32, c record.Command) record.Result {
	t.Helper()
	out := m.cmd(t, at, c)
	r := decode(t, out[len(out)-1], record.DecodeResult)
	if r.Command != c.ID || r.Opcode != c.Opcode {
		t.Errorf("result %+v answers another command than %+v", r, c)
	}
	return r
}

// Contract, section 2, Location: the sequence grows by one with every attempt, location and will carry it.
func TestRegistration(t *testing.T) {
	m := newTestCore(t0, nil)
	for want := uint32(1); want < 4; want++ {
		lost := decode(t, m.attempt(t0+want), record.DecodeLost)
		if lost.Sequence != want || lost.Time != t0+want {
			t.Errorf("will %+v, want sequence %d, the time of the connection", lost, want)
		}
		loc := decode(t, m.location(t0+10), record.DecodeLocation)
		if loc.Sequence != want || loc.Interval != 30 || loc.Capabilities != record.CapBreaker || loc.Oldest != t0-Memory45Days {
			t.Errorf("location %+v", loc)
		}
	}
	ack := func(seq uint32, interval uint16) effects {
		fx, err := m.receive(t0+20, "location-ack", record.LocationAck{Header: record.Header{Time: t0 + 999}, Sequence: seq, Interval: interval}.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		return fx
	}
	if fx := ack(2, 15); fx.registered || m.acked || m.st.Interval != 30 {
		t.Error("the answer to an earlier registration counts")
	}
	if fx := ack(3, 0); !fx.registered || !m.acked || m.st.Interval != 30 || m.st.Offset != 0 {
		t.Errorf("%+v: an acknowledged interval of 0 keeps the device's own, its clock stays", fx)
	}
	if fx := ack(3, 15); !fx.registered || m.st.Interval != 15 || !fx.timing || m.next != t0+900 {
		t.Errorf("%+v: the interval of the acknowledgement is not taken", fx)
	}
	if fx := ack(3, 7); fx.timing || m.st.Interval != 15 {
		t.Error("an interval that is no divisor of a day is taken")
	}
	// A wiped device: the centre has 41, so the next attempt is 42.
	if fx := ack(41, 30); !fx.reconnect || fx.registered || m.st.Interval != 15 {
		t.Errorf("%+v: a higher sequence makes the device connect anew, nothing else", fx)
	}
	if lost := decode(t, m.attempt(t0+30), record.DecodeLost); lost.Sequence != 42 || m.acked {
		t.Errorf("will %+v, want sequence 42", lost)
	}
}

// TestGreatestSequence: it stays there; beginning again at 0 would make every registration an old one.
func TestGreatestSequence(t *testing.T) {
	m := newTestCore(t0, nil)
	m.st.Sequence = math.MaxUint32 - 1
	for range 3 {
		if lost := decode(t, m.attempt(t0), record.DecodeLost); lost.Sequence != math.MaxUint32 {
			t.Fatalf("sequence %d, want %d", lost.Sequence, uint32(math.MaxUint32))
		}
	}
}

func TestOldest(t *testing.T) {
	fresh := newTestCore(t0+100, func(c *config) { c.history = 0 })
	if loc := decode(t, fresh.location(t0+100), record.DecodeLocation); loc.Oldest != t0 {
		t.Errorf("a new meter's oldest interval is %d, want the running one", loc.Oldest)
	}
	if loc := decode(t, fresh.location(t0+50*86400), record.DecodeLocation); loc.Oldest != t0+5*86400 {
		t.Errorf("after 50 days the oldest interval is %d", loc.Oldest)
	}
	fresh.setInterval(60)
	if loc := decode(t, fresh.location(t0+100), record.DecodeLocation); loc.Oldest%3600 != 0 {
		t.Errorf("oldest %d is not aligned to the interval", loc.Oldest)
	}
}

// Contract, section 2, Intervals: aligned in UTC, time is the end of the interval, the registers are as of that instant.
func TestPeriodicReadings(t *testing.T) {
	m := newTestCore(t0+100, nil)
	if m.next != t0+half || len(m.due(t0+half-1)) != 0 {
		t.Fatalf("first reading at %d, want %d", m.next, t0+half)
	}
	out := m.due(t0 + half + 3)
	if len(out) != 1 || len(m.due(t0+half+3)) != 0 {
		t.Fatalf("%d readings at the end of the interval", len(out))
	}
	r := decode(t, out[0], record.DecodeReading)
	if r.Time != t0+half || r.Import != t0+half || r.Sequence != 1 || r.Power != 3600 || r.Voltage < 2200 || r.Voltage > 2400 || r.Flags != 0 {
		t.Errorf("%+v", r)
	}
	out = m.due(t0 + 4*half) // the clock jumped
	for i, o := range out {
		if r := decode(t, o, record.DecodeReading); r.Time != t0+uint32(i+2)*half || r.Sequence != uint16(i+2) {
			t.Errorf("reading %d: %+v", i, r)
		}
	}
	if len(out) != 3 {
		t.Errorf("%d readings, want 3", len(out))
	}
	if out = m.due(t0 + 1000*half); len(out) != backlog || decode(t, out[backlog-1], record.DecodeReading).Time != t0+1000*half {
		t.Errorf("%d readings after a long jump, want the last %d", len(out), backlog)
	}
}

// Contract, section 2, Commands: what each opcode does and refuses.
func TestCommands(t *testing.T) {
	const now = t0 + 100
	exp := uint32(now + 60)
	cmd := func(op record.Opcode, expiry, a uint32) record.Command {
		return record.Command{ID: 7, Opcode: op, Expiry: expiry, A: a}
	}
	open := func(m *core) { m.setBreaker(record.BreakerOpen) }
	ready := func(m *core) { m.setBreaker(record.BreakerReady) }
	unsync := func(m *core) { m.st.Unsynchronised = true }
	for _, c := range []struct {
		name    string
		prepare func(*core)
		config  func(*config)
		cmd     record.Command
		outcome record.Outcome
		detail  uint32
		breaker record.Breaker
	}{
		{"ping", nil, nil, cmd(record.OpPing, 0, 0), record.Done, 0, record.BreakerClosed},
		{"ping, expired", nil, nil, cmd(record.OpPing, now-1, 0), record.Expired, 0, record.BreakerClosed},
		{"ping, in the second of its expiry", nil, nil, cmd(record.OpPing, now, 0), record.Done, 0, record.BreakerClosed},
		{"ping, unsynchronised, cannot judge", unsync, nil, cmd(record.OpPing, now-1, 0), record.Done, 0, record.BreakerClosed},
		{"disconnect", nil, nil, cmd(record.OpDisconnect, exp, 0), record.Done, 0, record.BreakerOpen},
		{"disconnect, open already", open, nil, cmd(record.OpDisconnect, exp, 0), record.Done, 0, record.BreakerOpen},
		{"disconnect, armed", ready, nil, cmd(record.OpDisconnect, exp, 0), record.Done, 0, record.BreakerOpen},
		{"disconnect without expiry", nil, nil, cmd(record.OpDisconnect, 0, 0), record.Refused, record.DetailNoExpiry, record.BreakerClosed},
		{"disconnect, unsynchronised", unsync, nil, cmd(record.OpDisconnect, exp, 0), record.Refused, record.DetailClock, record.BreakerClosed},
		{"disconnect, expired", nil, nil, cmd(record.OpDisconnect, now-1, 0), record.Expired, 0, record.BreakerClosed},
		{"disconnect, no breaker", nil, func(c *config) { c.caps = 0 }, cmd(record.OpDisconnect, exp, 0), record.NotSupported, 0, record.BreakerNone},
		{"reconnect", open, nil, cmd(record.OpReconnect, exp, 0), record.Done, 0, record.BreakerClosed},
		{"reconnect, armed before", ready, nil, cmd(record.OpReconnect, exp, 0), record.Done, 0, record.BreakerClosed},
		{"arm", open, nil, cmd(record.OpReconnect, exp, 1), record.Done, 0, record.BreakerReady},
		{"arm, closed already", nil, nil, cmd(record.OpReconnect, exp, 1), record.Done, 0, record.BreakerClosed},
		{"reconnect, bad parameter", open, nil, cmd(record.OpReconnect, exp, 2), record.Refused, record.DetailValue, record.BreakerOpen},
		{"reconnect without expiry", open, nil, cmd(record.OpReconnect, 0, 0), record.Refused, record.DetailNoExpiry, record.BreakerOpen},
		{"reconnect, unsynchronised", func(m *core) { open(m); unsync(m) }, nil, cmd(record.OpReconnect, exp, 0), record.Refused, record.DetailClock, record.BreakerOpen},
		{"interval", nil, nil, cmd(record.OpSetInterval, 0, 15), record.Done, 0, record.BreakerClosed},
		{"interval 0", nil, nil, cmd(record.OpSetInterval, 0, 0), record.Refused, record.DetailValue, record.BreakerClosed},
		{"interval 7", nil, nil, cmd(record.OpSetInterval, 0, 7), record.Refused, record.DetailValue, record.BreakerClosed},
		{"interval above a day", nil, nil, cmd(record.OpSetInterval, 0, 65536+15), record.Refused, record.DetailValue, record.BreakerClosed},
		{"clock", unsync, nil, cmd(record.OpSetClock, 0, now+5), record.Done, 0, record.BreakerClosed},
		{"clock before 2000", nil, nil, cmd(record.OpSetClock, 0, 12), record.Refused, record.DetailValue, record.BreakerClosed},
		{"clock after 2100", nil, nil, cmd(record.OpSetClock, 0, 1<<32-1), record.Refused, record.DetailValue, record.BreakerClosed},
		{"profile of an export register it has not", nil, nil, record.Command{ID: 7, Opcode: record.OpProfile, Channel: 1}, record.NotSupported, 0, record.BreakerClosed},
		{"profile of a channel that is none", nil, nil, record.Command{ID: 7, Opcode: record.OpProfile, Channel: 9}, record.Refused, record.DetailValue, record.BreakerClosed},
		{"profile of a span without end", nil, nil, record.Command{ID: 7, Opcode: record.OpProfile, A: 1, B: now}, record.Refused, record.DetailValue, record.BreakerClosed},
		{"reserved opcode", nil, nil, cmd(12, 0, 0), record.NotSupported, 0, record.BreakerClosed},
		{"groups as a command", nil, nil, cmd(record.OpGroups, 0, 0), record.NotSupported, 0, record.BreakerClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newTestCore(now, c.config)
			if c.prepare != nil {
				c.prepare(m)
			}
			r := m.resultOf(t, now, c.cmd)
			if r.Outcome != c.outcome || r.Detail != c.detail || r.Breaker != c.breaker {
				t.Errorf("%s, detail %d, breaker %s; want %s, %d, %s", r.Outcome, r.Detail, r.Breaker, c.outcome, c.detail, c.breaker)
			}
			if wantOpen := c.breaker == record.BreakerOpen || c.breaker == record.BreakerReady; (r.Flags&record.FlagBreakerOpen != 0) != wantOpen {
				t.Errorf("flags %b", r.Flags)
			}
			if len(m.st.Executed) != 1 {
				t.Errorf("%d commands remembered", len(m.st.Executed))
			}
			// The repeat: the same answer, later, whatever has happened since; nothing is executed.
			before := m.st.clone()
			again := m.resultOf(t, now+30, c.cmd)
			if again != r || !reflect.DeepEqual(before, m.st.clone()) {
				t.Errorf("the repeat is answered by %+v, first %+v, or changed the state", again, r)
			}
		})
	}
}

// At least the last 64 ids, over restarts.
func TestRemembers64(t *testing.T) {
	m := newTestCore(t0, nil)
	for id := range uint64(70) {
		m.cmd(t, t0, record.Command{ID: id, Opcode: record.OpDisconnect + record.Opcode(id%2), Expiry: t0 + 60})
	}
	m = newCore(config{id: "M1", caps: record.CapBreaker, sources: [2]Source{line(1)}}, m.st.clone(), true, t0)
	for id := uint64(6); id < 70; id++ {
		fx, err := m.receive(t0, "cmd", record.Command{ID: id, Opcode: record.OpPing}.Append(nil))
		if err != nil || !fx.again {
			t.Errorf("command %d is executed twice", id)
		}
	}
}

// A read is answered by a reading of the moment, then by the result with its sequence.
func TestRead(t *testing.T) {
	m := newTestCore(t0, nil)
	m.due(t0 + half)
	c := record.Command{ID: 3, Opcode: record.OpRead}
	out := m.cmd(t, t0+half+77, c)
	if len(out) != 2 {
		t.Fatalf("%d messages", len(out))
	}
	reading, result := decode(t, out[0], record.DecodeReading), decode(t, out[1], record.DecodeResult)
	if reading.Time != t0+half+77 || reading.Import != t0+half+77 || reading.Sequence != 2 || result.Detail != 2 || result.Outcome != record.Done {
		t.Errorf("reading %+v, result %+v", reading, result)
	}
	m.setBreaker(record.BreakerOpen)
	m.due(t0 + 3*half)
	if again := m.cmd(t, t0+3*half, c); !reflect.DeepEqual(again, out) {
		t.Errorf("the repeat is answered by %v, first %v", again, out)
	}
	// While the breaker is open a read is answered; the register stands still.
	out = m.cmd(t, t0+3*half+5, record.Command{ID: 4, Opcode: record.OpRead})
	reading = decode(t, out[0], record.DecodeReading)
	if reading.Import != t0+half+77 || reading.Power != 0 || reading.Flags != record.FlagBreakerOpen {
		t.Errorf("reading with an open breaker: %+v", reading)
	}
}

// Contract, section 2, Load profile.
func TestProfile(t *testing.T) {
	both := func(c *config) { c.sources[1] = line(360) }
	const now = t0 + 10*half + 5
	for _, c := range []struct {
		name     string
		config   func(*config)
		channel  record.Channel
		from, to uint32
		starts   []uint32 // of the parts
		counts   []uint8
		detail   uint32
	}{
		{"the last six hours", nil, 0, 0, 0, []uint32{t0 - 2*half}, []uint8{12}, 12},
		{"one slot", nil, 0, t0, t0 + half, []uint32{t0}, []uint8{1}, 1},
		{"slots that start in the span", nil, 0, t0 + 1, t0 + 2*half + 1, []uint32{t0 + half}, []uint8{2}, 2},
		{"cut off at the last finished slot", nil, 0, t0 + 8*half, t0 + 99*half, []uint32{t0 + 8*half}, []uint8{2}, 2},
		{"empty", nil, 0, t0, t0, nil, nil, 0},
		{"in the future", nil, 0, t0 + 20*half, t0 + 22*half, nil, nil, 0},
		{"backwards", nil, 0, t0 + 2*half, t0, nil, nil, 0},
		{"several parts", nil, 0, t0 - 20*half, t0 + 10*half, []uint32{t0 - 20*half, t0 - 8*half, t0 + 4*half}, []uint8{12, 12, 6}, 30},
		{"all of one channel", nil, record.ChannelAll, t0, t0 + half, []uint32{t0}, []uint8{1}, 1},
		{"all of two channels", both, record.ChannelAll, t0 - 13*half, t0, []uint32{t0 - 13*half, t0 - half, t0 - 13*half, t0 - half}, []uint8{12, 1, 12, 1}, 26},
		{"export", both, record.ChannelExport, t0, t0 + 2*half, []uint32{t0}, []uint8{2}, 2},
		{"partly older than the memory", func(c *config) { c.history = 4 * 3600 }, 0, t0 - half, t0 + 4*half, []uint32{t0 - half}, []uint8{5}, 2},
		{"wholly older", func(c *config) { c.history = 0 }, 0, t0 - half, t0, []uint32{t0 - half}, []uint8{1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newTestCore(now, c.config)
			cmd := record.Command{ID: 9, Opcode: record.OpProfile, Channel: c.channel, A: c.from, B: c.to}
			out := m.cmd(t, now, cmd)
			if len(out) != len(c.starts)+1 {
				t.Fatalf("%d messages, want %d parts and a result", len(out), len(c.starts))
			}
			r := decode(t, out[len(out)-1], record.DecodeResult)
			if r.Detail != c.detail || r.Outcome != record.Done {
				t.Errorf("%s, %d slots, want %d", r.Outcome, r.Detail, c.detail)
			}
			values := uint32(0)
			for i, o := range out[:len(out)-1] {
				p := decode(t, o, record.DecodeProfile)
				if p.Time != c.starts[i] || p.Count != c.counts[i] || p.Part != uint16(i+1) || p.Parts != uint16(len(c.starts)) || p.Command != 9 || p.Slot != 30 {
					t.Errorf("part %d: %+v", i, p)
				}
				rate := uint32(half)
				if p.Channel == record.ChannelExport {
					rate /= 10
				}
				reg := p.Register
				for k, v := range p.Values {
					at := p.Time + uint32(k)*half
					switch {
					case k >= int(p.Count) || at < m.st.First:
						if v != record.NoValue {
							t.Errorf("part %d, value %d: %d, want none", i, k, v)
						}
					case v != rate:
						t.Errorf("part %d, value %d: %d, want %d", i, k, v, rate)
					default:
						reg += uint64(v)
						values++
					}
				}
				if end := p.Time + uint32(p.Count)*half; values > 0 && reg != m.curve.register(int(p.Channel), end) {
					t.Errorf("part %d: its register and values lead to %d, want %d", i, reg, m.curve.register(int(p.Channel), end))
				}
			}
			if values != c.detail {
				t.Errorf("%d values, result says %d", values, c.detail)
			}
			m.setInterval(15)
			m.setBreaker(record.BreakerOpen)
			if again := m.cmd(t, now+5000, cmd); !reflect.DeepEqual(again, out) {
				t.Error("the repeat is answered otherwise")
			}
		})
	}
}

func TestGroups(t *testing.T) {
	m := newTestCore(t0, nil)
	g := record.Groups{ID: 5, Expiry: t0 + 10, Count: 3, Groups: [8]uint32{12, 0, 12}}
	out := m.send(t, t0, "groups", g.Append(nil))
	r := decode(t, out[0], record.DecodeResult)
	if len(out) != 1 || r.Opcode != record.OpGroups || r.Outcome != record.Done || !reflect.DeepEqual(m.st.Groups, []uint32{12}) {
		t.Errorf("%+v, groups %v", r, m.st.Groups)
	}
	g = record.Groups{ID: 6, Expiry: t0 - 1, Count: 1, Groups: [8]uint32{77}}
	if r := decode(t, m.send(t, t0, "groups", g.Append(nil))[0], record.DecodeResult); r.Outcome != record.Expired || len(m.st.Groups) != 1 {
		t.Errorf("expired: %+v, groups %v", r, m.st.Groups)
	}
	m.send(t, t0, "groups", record.Groups{ID: 7}.Append(nil))
	m.send(t, t0, "groups", record.Groups{ID: 5, Count: 1, Groups: [8]uint32{12}}.Append(nil)) // a repeat of the first one
	if len(m.st.Groups) != 0 {
		t.Errorf("groups %v after leaving all", m.st.Groups)
	}
}

// While the breaker is open no periodic reading is sent, registers stand still, intervals are 0, partial ones pro rata.
func TestBreaker(t *testing.T) {
	m := newTestCore(t0, nil)
	m.cmd(t, t0+600, record.Command{ID: 1, Opcode: record.OpDisconnect, Expiry: t0 + 700})
	if out := m.due(t0 + 3*half); len(out) != 0 {
		t.Errorf("%d readings while the breaker is open", len(out))
	}
	if loc := decode(t, m.location(t0+3*half), record.DecodeLocation); loc.Flags != record.FlagBreakerOpen {
		t.Errorf("flags %b", loc.Flags)
	}
	m.cmd(t, t0+3*half+1200, record.Command{ID: 2, Opcode: record.OpReconnect, A: 1, Expiry: t0 + 9999})
	if _, ok := m.closeBreaker(t0 + 3*half + 1500); !ok {
		t.Fatal("a person cannot close the armed breaker")
	}
	if _, ok := m.closeBreaker(t0 + 3*half + 1500); ok {
		t.Error("a closed breaker was closed")
	}
	for i, want := range []uint32{600, 0, 0, 300, half} {
		if got := m.curve.interval(0, t0+uint32(i)*half, t0+uint32(i+1)*half); got != want {
			t.Errorf("interval %d: %d Wh, want %d", i, got, want)
		}
	}
	out := m.due(t0 + 4*half)
	if len(out) != 1 || decode(t, out[0], record.DecodeReading).Import != t0+900 {
		t.Errorf("%d readings after the breaker was closed", len(out))
	}
}

// An interval that ended with the breaker open gets no reading, also when the breaker is closed before it would be sent.
func TestNoReadingMadeUpFor(t *testing.T) {
	m := newTestCore(t0, nil)
	m.setBreaker(record.BreakerOpen)
	m.cmd(t, t0+half+1, record.Command{ID: 2, Opcode: record.OpReconnect, Expiry: t0 + 9999})
	if out := m.due(t0 + half + 2); len(out) != 0 || m.next != t0+2*half {
		t.Errorf("%d readings, next at %d", len(out), m.next)
	}
}

func TestPower(t *testing.T) {
	m := newTestCore(t0, nil)
	gasp := decode(t, m.powerLost(t0+900), record.DecodePower)
	if gasp.Kind != record.PowerLost || gasp.Time != t0+900 || gasp.Flags != record.FlagBattery || gasp.Sequence != 1 {
		t.Errorf("last gasp %+v", gasp)
	}
	if out := m.due(t0 + 2*half); len(out) != 0 {
		t.Error("readings without power")
	}
	back, ok := m.powerRestored(t0 + 2*half + 900)
	if p := decode(t, back, record.DecodePower); !ok || p.Kind != record.PowerRestored || p.OnBattery != 2*half || p.Sequence != 2 || p.Flags != 0 {
		t.Errorf("%v, %+v", ok, p)
	}
	if _, ok := m.powerRestored(t0 + 2*half + 900); ok {
		t.Error("power restored twice")
	}
	if got := m.curve.interval(0, t0, t0+3*half); got != half {
		t.Errorf("%d Wh in three intervals with one and a half of power", got)
	}
}

// The clock: a synchronised one ignores a location-ack's time, another one takes it; going back changes no interval.
func TestClock(t *testing.T) {
	m := newTestCore(t0, func(c *config) { c.unsynchronised = true })
	m.attempt(t0)
	if loc := decode(t, m.location(t0), record.DecodeLocation); loc.Flags != record.FlagClockUnsynchronised {
		t.Errorf("flags %b", loc.Flags)
	}
	fx, err := m.receive(t0+5, "location-ack", record.LocationAck{Header: record.Header{Time: t0 + 65}, Sequence: 1}.Append(nil))
	if err != nil || !fx.timing || m.st.Unsynchronised || m.st.Offset != 60 || m.tell(t0+5) != t0+65 {
		t.Errorf("%v %+v: offset %d", err, fx, m.st.Offset)
	}
	m.cmd(t, t0+5, record.Command{ID: 1, Opcode: record.OpSetClock, A: t0 + 5})
	if m.st.Offset != 0 || m.next != t0+half || m.nextDue() != t0+half {
		t.Errorf("offset %d, next %d", m.st.Offset, m.next)
	}
	m.due(t0 + 3*half)
	before := m.curve.interval(0, t0+2*half, t0+3*half)
	m.cmd(t, t0+3*half, record.Command{ID: 2, Opcode: record.OpSetClock, A: t0 + 2*half + 10})
	m.cmd(t, t0+3*half+1, record.Command{ID: 3, Opcode: record.OpDisconnect, Expiry: t0 + 9*half})
	if got := m.curve.interval(0, t0+2*half, t0+3*half); got != before {
		t.Errorf("an interval that was told changed from %d to %d", before, got)
	}
	if m.nextDue() != t0+4*half-10 {
		t.Errorf("next reading at business time %d", m.nextDue())
	}
}

func TestRejected(t *testing.T) {
	m := newTestCore(t0, nil)
	good := record.Command{ID: 1, Opcode: record.OpPing}.Append(nil)
	sealed := append([]byte{record.VersionSealed}, good[1:]...)
	for name, c := range map[string]struct {
		event string
		b     []byte
	}{
		"empty": {"cmd", nil}, "short": {"cmd", good[:31]}, "long": {"cmd", append(good[:32:32], 0)}, "sealed": {"cmd", sealed},
		"wrong event": {"groups", good}, "unknown event": {"x-foo", good}, "upward": {"reading", record.Reading{}.Append(nil)},
		"too many groups": {"groups", func() []byte { b := record.Groups{}.Append(nil); b[20] = 9; return b }()},
	} {
		if fx, err := m.receive(t0, c.event, c.b); err == nil || fx.answer != nil || len(m.st.Executed) != 0 {
			t.Errorf("%s: %+v, %v", name, fx, err)
		}
	}
}

// Random commands, losses of power, restarts and pauses: the registers never fall, every interval keeps its value once it is
// over, intervals add up to register differences, the sequence never repeats, and a command is executed once.
func TestProperty(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		cfg := config{id: "M1", caps: record.CapBreaker, sources: [2]Source{line(r.Uint64N(5000)), line(r.Uint64N(500))}, interval: 30, history: 86400}
		now := uint32(t0)
		m := newCore(cfg, State{}, false, now)
		var kept State
		keep := func() {
			if b := m.save(); b != nil {
				if err := kept.Apply(b); err != nil {
					t.Fatal(err)
				}
				m.saved()
			}
		}
		keep()
		told := map[uint32][2]uint32{} // interval -> values
		lastSeq, lastReg := uint32(0), [2]uint64{}
		for id := range uint64(150) {
			now += r.Uint32N(2500)
			switch r.IntN(9) {
			case 0, 1:
				m.cmd(t, now, record.Command{ID: id, Opcode: record.OpDisconnect, Expiry: now})
			case 2, 3:
				m.cmd(t, now, record.Command{ID: id, Opcode: record.OpReconnect, A: r.Uint32N(2), Expiry: now})
			case 4:
				if m.st.PowerLost == 0 {
					m.powerLost(now)
				}
			case 5:
				m.powerRestored(now)
			case 6:
				m.closeBreaker(now)
			case 7:
				lost := decode(t, m.attempt(now), record.DecodeLost)
				if lost.Sequence <= lastSeq {
					t.Fatalf("seed %d: sequence %d after %d", seed, lost.Sequence, lastSeq)
				}
				lastSeq = lost.Sequence
			case 8: // kill -9, either before or after the change was kept
				if r.IntN(2) == 0 {
					keep()
				}
				m = newCore(cfg, kept.clone(), true, now)
				if m.st.Sequence < lastSeq {
					m.st.Sequence = lastSeq // such an attempt was never made: CONNECT waits for the store
				}
				if id > 0 {
					m.powerRestored(now)
				}
			}
			keep()
			for ch := range 2 {
				reg := m.curve.register(ch, now)
				if reg < lastReg[ch] {
					t.Fatalf("seed %d: register of channel %d fell from %d to %d", seed, ch, lastReg[ch], reg)
				}
				lastReg[ch] = reg
			}
			for at := uint32(t0); at+half <= now; at += half {
				v := [2]uint32{m.curve.interval(0, at, at+half), m.curve.interval(1, at, at+half)}
				if was, ok := told[at]; ok && was != v {
					t.Fatalf("seed %d: interval at %d changed from %d to %d", seed, at, was, v)
				}
				told[at] = v
			}
		}
		for ch := range 2 {
			sum, end := uint64(0), alignDown(now, half)
			for _, v := range told {
				sum += uint64(v[ch])
			}
			if diff := m.curve.register(ch, end) - m.curve.register(ch, t0); diff != sum {
				t.Fatalf("seed %d: channel %d: intervals add up to %d, registers to %d", seed, ch, sum, diff)
			}
		}
	}
}

func TestManyCuts(t *testing.T) {
	m := newTestCore(t0, nil)
	now := uint32(t0)
	for range MaxCuts + 50 {
		m.powerLost(now)
		m.powerRestored(now + 1)
		now += 20
	}
	if len(m.st.Cuts) > MaxCuts || m.st.First <= t0 {
		t.Errorf("%d cuts, first interval %d", len(m.st.Cuts), m.st.First)
	}
	m.powerLost(now + 50*86400)
	if len(m.st.Cuts) != 1 {
		t.Errorf("%d cuts after 50 days", len(m.st.Cuts))
	}
	var s State
	if err := s.Apply(m.st.Snapshot(nil)); err != nil {
		t.Error(err)
	}
}
