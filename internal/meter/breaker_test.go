package meter

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/record"
)

// TestControlModes holds the state machine against the table of the standard: which letter leads from where to where, and
// which letters each mode has (DLMS class 70, disconnect control).
func TestControlModes(t *testing.T) {
	letters := []struct {
		name     string
		by       Trigger
		from, to record.Breaker
	}{
		{"a", RemoteReconnect, record.BreakerOpen, record.BreakerClosed}, {"b", RemoteDisconnect, record.BreakerClosed, record.BreakerOpen},
		{"c", RemoteDisconnect, record.BreakerReady, record.BreakerOpen}, {"d", RemoteArm, record.BreakerOpen, record.BreakerReady},
		{"e", ManualReconnect, record.BreakerReady, record.BreakerClosed}, {"f", ManualDisconnect, record.BreakerClosed, record.BreakerReady},
		{"g", LocalDisconnect, record.BreakerClosed, record.BreakerReady}, {"h", LocalReconnect, record.BreakerReady, record.BreakerClosed},
	}
	modes := map[string]string{"any": "abcdefgh", "0": "", "1": "bcdefg", "2": "abcefg", "3": "bcdeg", "4": "abceg", "5": "bcdefgh", "6": "bcdegh"}
	for name, has := range modes {
		mode, err := ParseControlMode(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range letters {
			to, ok := mode.next(l.from, l.by)
			if ok != strings.Contains(has, l.name) || ok && to != l.to {
				t.Errorf("mode %s, %s: %v, %v", name, l.name, to, ok)
			}
		}
		// A button does nothing where the breaker is not in the state that its letter leads from.
		for _, b := range []record.Breaker{record.BreakerOpen, record.BreakerClosed} {
			if _, ok := mode.next(b, ManualReconnect); ok {
				t.Errorf("mode %s: the button closes a breaker that is %v", name, b)
			}
		}
		if _, ok := mode.next(record.BreakerOpen, LocalReconnect); ok {
			t.Errorf("mode %s: the meter itself closes an open breaker", name)
		}
	}
	for _, bad := range []string{"7", "-1", "10", "all"} {
		if _, err := ParseControlMode(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// order makes a breaker command.
func order(id uint64, op record.Opcode, expiry, a uint32) record.Command {
	return record.Command{ID: id, Opcode: op, Expiry: expiry, A: a}
}

func TestControlModeOfCommands(t *testing.T) {
	for name, tc := range map[string]struct{ direct, armed record.Outcome }{
		"any": {record.Done, record.Done}, "0": {record.Refused, record.Refused}, "3": {record.Refused, record.Done}, "4": {record.Done, record.Refused},
	} {
		mode, _ := ParseControlMode(name)
		c := config{id: "M1", caps: record.CapBreaker, mode: mode, sources: [2]Source{line(1)}, interval: 30}
		for a, want := range map[uint32]record.Outcome{0: tc.direct, 1: tc.armed} {
			m := newCore(c, State{}, false, t0)
			if got := m.command(t0, order(1, record.OpDisconnect, t0+60, 0), nil).answer; (got.Outcome == record.Done) != (name != "0") || name == "0" && got.Detail != record.DetailMode {
				t.Errorf("mode %s: disconnection: %+v", name, got)
			}
			got := m.command(t0, order(2, record.OpReconnect, t0+60, a), nil).answer
			if got.Outcome != want || want == record.Refused && got.Detail != record.DetailMode {
				t.Errorf("mode %s, reconnection with %d: %+v", name, a, got)
			}
			if a == 1 && want == record.Done {
				if got.Breaker != record.BreakerReady {
					t.Errorf("mode %s: armed, it is %v", name, got.Breaker)
				}
				if _, ok := m.closeBreaker(t0); !ok || m.st.Breaker != record.BreakerClosed {
					t.Errorf("mode %s: the button does not close it", name)
				}
			}
		}
	}
}

// TestNoneTwice: however many commands come in between, in whatever order copies of them arrive, and however the clock is set
// and the meter restarted, it carries out each breaker command once at most, and none after its expiry.
func TestNoneTwice(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := config{id: "M1", caps: record.CapBreaker, sources: [2]Source{line(1)}, interval: 30}
		m := newCore(c, State{}, false, t0)
		at := uint32(t0)
		ran := map[uint64]int{}
		var sent []record.Command
		for id := uint64(1); id < 400; id++ {
			at += r.Uint32N(20)
			expiry := at + r.Uint32N(3000)
			switch r.IntN(10) {
			case 0, 1, 2, 3:
				sent = append(sent, order(id, record.OpDisconnect+record.Opcode(r.IntN(2)), expiry, 0))
			case 4:
				sent = append(sent, record.Command{ID: id, Opcode: record.OpSetClock, A: m.now - 500 + r.Uint32N(1000)})
			default:
				sent = append(sent, record.Command{ID: id, Opcode: record.OpPing})
			}
			for range 1 + r.IntN(3) {
				k := sent[len(sent)-1]
				if r.IntN(2) == 0 {
					k = sent[r.IntN(len(sent))] // a copy, early or late
				}
				fx := m.command(at, k, nil)
				if fx.again || fx.answer.Outcome != record.Done || !switches(k.Opcode) {
					continue
				}
				if ran[k.ID]++; ran[k.ID] > 1 {
					t.Fatalf("seed %d: command %d carried out %d times", seed, k.ID, ran[k.ID])
				}
				if fx.answer.Time > k.Expiry {
					t.Fatalf("seed %d: command %d carried out at %d, expiry %d", seed, k.ID, fx.answer.Time, k.Expiry)
				}
			}
			if r.IntN(20) == 0 { // it restarts with what was written
				var kept State
				if err := kept.Apply(m.st.Snapshot(nil)); err != nil {
					t.Fatal(err)
				}
				m = newCore(c, kept, true, at)
			}
		}
		if len(ran) < 50 {
			t.Fatalf("seed %d: only %d breaker commands were carried out", seed, len(ran))
		}
	}
}

// TestStateOfVersion1 takes over what was written before expiries were kept, and before seals were.
func TestStateOfVersion1(t *testing.T) {
	s := State{Sequence: 7, Interval: 30, Breaker: record.BreakerOpen, Groups: []uint32{4, 5}}
	s.remember(Executed{ID: 9, Opcode: record.OpDisconnect, Time: t0, Detail: 3})
	b := s.Snapshot(nil)
	old := append([]byte{1}, b[1:fixedSize+8]...)
	rest := b[fixedSize+8+8 : len(b)-6] // without Spent, Counter, windows, firmware and image
	old = append(old, rest[:1+34]...)
	old = append(old, rest[1+36:]...)
	var got State
	if err := got.Apply(old); err != nil {
		t.Fatal(err)
	}
	if got.Sequence != 7 || len(got.Groups) != 2 || len(got.Executed) != 1 || got.Executed[0] != s.Executed[0] {
		t.Fatalf("%+v", got)
	}
	old = append([]byte{2}, b[1:fixedSize+12]...) // without Counter and windows
	old = append(old, b[fixedSize+16:len(b)-6]...)
	got = State{}
	if err := got.Apply(old); err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("version 2: %+v, %v", got, err)
	}
	old = append([]byte{3}, b[1:len(b)-5]...) // without firmware and image
	got = State{}
	if err := got.Apply(old); err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("version 3: %+v, %v", got, err)
	}
}
