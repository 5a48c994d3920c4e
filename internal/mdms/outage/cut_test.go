package outage

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/store"
)

// minutesOf adds up for how many seconds a meter was without supply, as the indices count it.
func (w *town) secondsOf(id string) (n uint32) {
	for _, c := range w.cutsOf(id) {
		n += max(c.End, c.Start) - c.Start
		if c.End == 0 {
			n += w.at - c.Start
		}
	}
	return n
}

// wantCuts compares the interruptions of a meter, by their beginning and end.
func (w *town) wantCuts(id string, want ...[2]uint32) (got []store.Interruption) {
	w.t.Helper()
	got = w.cutsOf(id)
	same := len(got) == len(want)
	for i := range got {
		same = same && got[i].Start == want[i][0] && got[i].End == want[i][1]
	}
	if !same {
		w.t.Errorf("%s: interruptions %+v, want %v", id, got, want)
	}
	return got
}

// TestGoesAgainWhileOthersAreOut: some meters of a transformer are back, and go again while the rest is still out. That is a second
// interruption of theirs, which begins behind the first.
func TestGoesAgainWhileOthersAreOut(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newTown(t, 3, 12)
		w.after(10 * time.Minute)
		w.alive(w.of["T2"]...)
		all, went := w.of["T1"], w.at
		w.gasp("M1", "M2")
		w.seconds(60)
		w.wills(all...)
		w.verdict(api.VerdictPowerLost, all...)
		w.after(10 * time.Minute)
		back := w.at
		w.back(all[:7]...)
		w.verdict(api.VerdictSupplied, all[:7]...)
		w.seconds(60)
		if restart {
			w.restart()
		}
		again := w.at
		w.gasp("M3", "M4") // the breaker of the transformer opens once more
		w.seconds(60)
		w.wills(all[:7]...)
		w.verdict(api.VerdictPowerLost, all...)
		w.sound()
		w.after(10 * time.Minute)
		end := w.at
		w.back(all...)
		w.seconds(120)
		w.wantCuts("M3", [2]uint32{went, back}, [2]uint32{again, end})
		w.wantCuts("M8", [2]uint32{went, end})
		for _, id := range []string{"M1", "M5", "M7"} { // without a second last gasp: when their neighbours gasped
			w.wantCuts(id, [2]uint32{went, back}, [2]uint32{again, end})
		}
		w.sound()
	}
}

// TestLinkFailsBehindAnOutage: a meter whose supply is back loses its link while some neighbours are still out: that is no second
// interruption.
func TestLinkFailsBehindAnOutage(t *testing.T) {
	w := newTown(t, 1, 12)
	w.after(10 * time.Minute)
	all := w.of["T1"]
	w.gasp("M1", "M2")
	w.seconds(60)
	w.wills(all...)
	w.after(10 * time.Minute)
	w.back(all[:9]...)
	w.seconds(60)
	w.wills("M5")
	w.seconds(30)
	if v := w.e.Verdict(w.m("M5"), true); v.State == api.VerdictPowerLost {
		t.Errorf("%+v", v)
	}
	if n := len(w.cutsOf("M5")); n != 1 {
		t.Errorf("%d interruptions", n)
	}
	w.sound()
}

// TestAssumedEnd: who says nothing when the others are back is taken to be back with the first of them, not when the centre has waited long
// enough; its own word sets that right, also behind a restart, and is the same interruption.
func TestAssumedEnd(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newTown(t, 1, 12)
		w.after(10 * time.Minute)
		all, went := w.of["T1"], w.at
		w.gasp("M1", "M2")
		w.seconds(60)
		w.wills(all...)
		w.after(20 * time.Minute)
		back := w.at
		w.restored("M1", back-went)
		for i, id := range all[:11] { // one every half minute, and what is back reports
			w.seconds(30)
			w.back(id)
			w.alive(all[:i]...)
		}
		for range 30 {
			w.seconds(60)
			w.alive(all[:11]...)
		}
		got := w.wantCuts("M12", [2]uint32{went, back})
		if len(got) == 1 && got[0].Flags&cutAssumed == 0 {
			t.Errorf("%+v is not assumed", got[0])
		}
		if restart {
			w.restart()
		}
		// It had an outage of its own within, and says so.
		w.back("M12")
		w.keep()
		w.restored("M12", w.at-went)
		if got := w.wantCuts("M12", [2]uint32{went, w.at}); len(got) == 1 && got[0].Flags&cutAssumed != 0 {
			t.Errorf("%+v is but assumed", got[0])
		}
		w.sound()
	}
}

// TestItsOwnWord: a meter tells of its outage behind its registration, and when its power came back, which was before that.
func TestItsOwnWord(t *testing.T) {
	w := newTown(t, 1, 12)
	w.after(10 * time.Minute)
	all, went := w.of["T1"], w.at
	w.gasp("M1", "M2")
	w.seconds(60)
	w.wills(all...)
	w.after(10 * time.Minute)
	back := w.at
	w.seconds(75)
	tell := func(id string) {
		w.e.OnPower(w.m(id), w.path(id), powerBack(back, back-went, uint16(back)), w.at)
	}
	w.back("M1", "M3", "M5")
	tell("M1")
	tell("M3")
	w.tick() // in another commit
	tell("M5")
	for range 2 { // also when it comes again
		w.wantCuts("M1", [2]uint32{went, back}) // by its last gasp
		w.wantCuts("M3", [2]uint32{went, back}) // by its will
		w.wantCuts("M5", [2]uint32{went, back})
		w.seconds(1)
		tell("M1")
		tell("M3")
	}
	w.sound()
}

// TestFeederBackButOne: a feeder is back, one meter stays away. Its interruption ended with the others', and where that turns out to have
// been wrong it goes on; there is one all the same.
func TestFeederBackButOne(t *testing.T) {
	w := newTown(t, 6, 6)
	w.after(10 * time.Minute)
	went := w.at
	for _, ids := range w.of {
		w.gasp(ids[:2]...)
	}
	w.seconds(60)
	for _, ids := range w.of {
		w.wills(ids...)
	}
	w.supplyCases("feeder F1, 36 open")
	w.after(10 * time.Minute)
	for tr, ids := range w.of {
		if tr != "T1" {
			w.back(ids...)
		}
	}
	w.seconds(30)
	w.back(w.of["T1"][:3]...)
	w.after(20 * time.Minute)
	w.back(w.of["T1"]...)
	w.after(2 * time.Minute)
	for _, id := range w.of["T1"] {
		if n := len(w.cutsOf(id)); n != 1 {
			t.Errorf("%s: %+v", id, w.cutsOf(id))
		}
		if n := w.secondsOf(id); n < 11*60 || w.cutsOf(id)[0].Start != went {
			t.Errorf("%s: %+v", id, w.cutsOf(id))
		}
	}
	w.sound()
}

// TestOutBehindAConcentrator: the meters behind a concentrator that went with the feeder say nothing. Their interruptions end when the feeder
// is back, and are none that never were.
func TestOutBehindAConcentrator(t *testing.T) {
	w := newTown(t, 4, 12)
	w.after(10 * time.Minute)
	went := w.at
	for _, ids := range w.of {
		for _, id := range ids {
			if w.path(id) == "C1" {
				w.gasp(id)
			}
		}
	}
	w.status("", "C2", "lost")
	w.seconds(120)
	w.verdict(api.VerdictPowerLost, "M4", "M16", "M28", "M40")
	w.after(20 * time.Minute)
	back := w.at
	for _, ids := range w.of {
		for _, id := range ids {
			if w.path(id) == "C1" {
				w.back(id)
			}
		}
	}
	w.after(5 * time.Minute)
	for _, id := range []string{"M4", "M16", "M28", "M40"} {
		w.wantCuts(id, [2]uint32{went, back})
	}
	w.sound()
}

// TestMovedInTheRegistry: a meter that is placed elsewhere while it is without supply has one interruption.
func TestMovedInTheRegistry(t *testing.T) {
	w := newTown(t, 2, 4)
	w.after(10 * time.Minute)
	went := w.at
	w.gasp("M1")
	w.after(10 * time.Minute)
	w.e.Placed(w.m("M1"), Place{"S1", "F1", "L1", "T2"})
	w.after(10 * time.Minute)
	w.back("M1")
	w.seconds(5)
	w.wantCuts("M1", [2]uint32{went, w.at - 5})
	w.sound()
}
