package firmware

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/store"
)

// TestManyMeters: a roll-out to more meters than go into one commit is kept in steps, and lists all of them from the first step on; the centre dies
// while it begins, and while it is cancelled: nobody gets lost, nobody is in it by mistake.
func TestManyMeters(t *testing.T) {
	const meters = 5*membersAtOnce + 17
	w := newWorld(t, 0, meters)
	for _, p := range w.peers {
		p.deaf = true
	}
	r := w.create(nil)
	id, _ := ParseID(r.ID)
	c := w.e.Changed() // one step, which is all that is committed before the centre dies
	if len(c.RollOuts) != 1 || len(c.Members) != membersAtOnce {
		t.Fatalf("%d documents and %d meters in the first step, want 1 and %d", len(c.RollOuts), len(c.Members), membersAtOnce)
	}
	w.keep(c)
	w.restart()
	if got := w.doc(r.ID); got.Progress.Total != meters || got.State != api.RollOutRunning {
		t.Fatalf("after a restart: %s, %+v", got.State, got.Progress)
	}
	steps := 0
	for ; w.e.open[id].more && steps < 100; steps++ {
		c := w.e.Changed()
		if len(c.Members) > membersAtOnce {
			t.Fatalf("%d meters at once", len(c.Members))
		}
		w.keep(c)
		if next := w.e.Tick(w.now); w.e.open[id].more && next.After(w.now) {
			t.Fatalf("more is to be kept, and the next step is to come in %v", next.Sub(w.now))
		}
	}
	if steps < 4 || len(w.members) != meters {
		t.Errorf("%d meters kept after %d steps", len(w.members), steps)
	}
	large := len(w.kept[id].Doc)
	w.now = w.now.Add(2 * keepEvery)
	w.turn()
	if n := len(w.kept[id].Doc); n > 4000 || large > 4000 {
		t.Errorf("the document has %d bytes, then %d, and all meters are kept by themselves", large, n)
	}

	if _, err := w.e.Create(api.RollOutRequest{Image: r.Image}, w.list(0), w.img); err == nil {
		t.Error("a second one to the same meters")
	}
	w.now = w.now.Add(time.Minute)
	w.turn()
	asked := map[uint32]bool{}
	for n, m := range w.members {
		if state(m.State) == offered {
			asked[n] = true
		}
	}
	if len(asked) == 0 {
		t.Error("nobody was offered it")
	}
	if _, err := w.e.Do(api.RollOutAction{ID: r.ID, Action: "cancel", By: "bob"}); err != nil {
		t.Fatal(err)
	}
	if got := w.doc(r.ID); got.Progress.States[api.UpdateCancelled] != meters {
		t.Errorf("%+v while its meters are ended in steps", got.Progress)
	}
	c = w.e.Changed()
	if len(c.Drops) != 1 || len(c.Drops[0].Meters) != stepMembers || c.Drops[0].By != "bob" {
		t.Errorf("%d commands to drop it in the first step", len(c.Drops))
	}
	w.keep(c)
	if k := w.kept[id]; !k.Open {
		t.Error("the store takes it for ended while meters of it are not")
	}
	w.restart()
	for range 10 {
		w.turn()
	}
	for i := range asked {
		if p := w.peers[i]; w.drops[p.dev.ID] == 0 {
			t.Errorf("%s was offered it and is not told to drop it", p.dev.ID)
		}
	}
	var got store.RollOut = w.kept[id]
	doc := w.doc(r.ID)
	if got.Open || doc.State != api.RollOutCancelled || doc.Progress.States[api.UpdateCancelled] != meters || len(w.e.of) != 0 || len(w.e.open) != 0 {
		t.Errorf("open %v, %s, %+v, %d devices left", got.Open, doc.State, doc.Progress, len(w.e.of))
	}
	for n, m := range w.members {
		if state(m.State) != cancelled {
			t.Fatalf("meter %d is kept as %s", n, state(m.State))
		}
	}
	if w.many+w.singles > 0 {
		t.Errorf("%d messages after it ended", w.many+w.singles)
	}
}
