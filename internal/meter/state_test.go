package meter

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/record"
)

func randomState(r *rand.Rand) State {
	s := State{Sequence: r.Uint32(), First: r.Uint32(), Floor: r.Uint32(), PowerLost: r.Uint32(), Offset: r.Int64() - 1<<62,
		Interval: uint16(r.Uint32()), ReadingSeq: uint16(r.Uint32()), PowerSeq: uint16(r.Uint32()), Unsynchronised: r.IntN(2) == 0,
		Breaker: record.Breaker(r.IntN(3)), Base: [2]uint64{r.Uint64(), r.Uint64()}}
	for range r.IntN(record.MaxGroups + 1) {
		s.Groups = append(s.Groups, r.Uint32())
	}
	at := uint32(0)
	for range r.IntN(5) {
		c := Cut{From: at + r.Uint32N(1000)}
		c.To = c.From + r.Uint32N(1000)
		at = c.To
		s.Cuts = append(s.Cuts, c)
	}
	for range r.IntN(Remembered + 1) {
		s.Executed = append(s.Executed, Executed{ID: r.Uint64(), Opcode: record.Opcode(r.IntN(9)), Channel: record.Channel(r.IntN(256)),
			Outcome: record.Outcome(r.IntN(6)), Breaker: record.Breaker(r.IntN(3)), Flags: record.Flags(r.IntN(32)), Slot: 30,
			Time: r.Uint32(), Detail: r.Uint32(), From: r.Uint32(), To: r.Uint32()})
	}
	return s
}

func TestStateSnapshot(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for range 300 {
		s := randomState(r)
		b := s.Snapshot(nil)
		var got State
		if err := got.Apply(b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Fatalf("got %+v\nwant %+v", got, s)
		}
		for i := range b {
			if err := new(State).Apply(b[:i]); err == nil {
				t.Fatalf("the first %d of %d bytes are accepted", i, len(b))
			}
		}
		if err := got.Apply(append(b, 0)); err == nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("a byte too many: %v, or the state changed", err)
		}
	}
}

func TestStateChange(t *testing.T) {
	var s, copied State
	for i := range Remembered + 10 {
		s.Sequence++
		s.remember(Executed{ID: uint64(i)})
		if err := copied.Apply(s.append(nil, 1, nil, false, false)); err != nil {
			t.Fatal(err)
		}
	}
	s.Cuts = []Cut{{1, 2}, {3, forever}}
	if err := copied.Apply(s.append(nil, 0, nil, true, false)); err != nil || !reflect.DeepEqual(s, copied) {
		t.Fatalf("%v: got %+v\nwant %+v", err, copied, s)
	}
	if len(s.Executed) != Remembered || s.Executed[0].ID != 10 {
		t.Errorf("%d commands remembered from %d", len(s.Executed), s.Executed[0].ID)
	}
	if err := copied.Apply(s.append(nil, 0, nil, false, false)); err != nil || len(copied.Cuts) != 2 {
		t.Error("a change without cuts lost them")
	}
}

func FuzzStateApply(f *testing.F) {
	s := randomState(rand.New(rand.NewPCG(1, 1)))
	f.Add(s.Snapshot(nil))
	f.Add((&State{}).Snapshot(nil))
	f.Add([]byte{stateVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s State
		if s.Apply(b) != nil {
			return
		}
		var again State
		if err := again.Apply(s.Snapshot(nil)); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		if !reflect.DeepEqual(s, again) {
			t.Fatalf("got %+v\nwant %+v", again, s)
		}
	})
}

// TestEndIsKept: the end of a command that was remembered before others is saved, not only what was remembered last.
func TestEndIsKept(t *testing.T) {
	t.Parallel()
	var kept State
	m := &core{}
	save := func() {
		if err := kept.Apply(m.save()); err != nil {
			t.Fatal(err)
		}
		m.saved()
	}
	m.finish(Executed{ID: 1, Opcode: record.OpDisconnect, Outcome: record.Failed, Detail: record.DetailUnfinished})
	m.finish(Executed{ID: 2, Opcode: record.OpPing})
	save()
	m.finish(Executed{ID: 1, Opcode: record.OpDisconnect, Outcome: record.Done})
	save()
	if !slices.Equal(kept.Executed, m.st.Executed) || len(kept.Executed) != 2 {
		t.Fatalf("kept %+v, want %+v", kept.Executed, m.st.Executed)
	}
	for _, e := range kept.Executed {
		if e.ID == 1 && e.Outcome != record.Done {
			t.Errorf("command 1 is kept as %v", e.Outcome)
		}
	}
	// The power went while the breaker moved, and a ping had come behind: where it stands when the power is back tells.
	m.finish(Executed{ID: 3, Opcode: record.OpReconnect, Outcome: record.Failed, Detail: record.DetailUnfinished})
	m.finish(Executed{ID: 4, Opcode: record.OpPing})
	save()
	m.resume(record.BreakerClosed)
	save()
	if last := kept.Executed[len(kept.Executed)-1]; last.ID != 3 || last.Outcome != record.Done {
		t.Errorf("after the power came back %+v is kept last", last)
	}
}
