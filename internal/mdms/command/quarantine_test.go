package command

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// onFeeders makes a world of 12 meters, M0 to M5 on F1, M6 to M11 on F2.
func onFeeders(change func(*Options)) *world {
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("M%d", i))
	}
	w := newWorld(names...)
	w.o.Feeder = func(d *cim.EndDevice) string {
		if d.Ordinal < 6 {
			return "F1"
		}
		return "F2"
	}
	change(&w.o)
	w.e = New(w.o)
	return w
}

// cut disconnects meters one by one and returns which of them heard it.
func (w *world) cut(t *testing.T, who string, meters ...string) (heard []string) {
	t.Helper()
	for _, m := range meters {
		r := by(who, on(m, api.CommandDisconnect))
		r.ExpiresIn = 7200
		id := w.create(t, r)
		for _, d := range w.commit() {
			if c := sentCommand(t, d); c.Opcode == record.OpDisconnect {
				heard = append(heard, d.ID)
				w.result(d.ID, c.ID, record.OpDisconnect, record.Done, 0)
			}
		}
		_ = id
	}
	return heard
}

func release(w *world, name, who string) error {
	_, err := w.e.Release(api.QuarantineRelease{Name: name, By: who, Comment: "case 4711"})
	return err
}

func TestQuarantineOfOperator(t *testing.T) {
	w := onFeeders(func(o *Options) { o.OperatorBudgets = []Budget{{3, time.Hour}} })
	if got := w.cut(t, "alice", "M0", "M1", "M2", "M3"); len(got) != 3 {
		t.Fatalf("%v were cut off, want 3", got)
	}
	if qs := w.e.Quarantines(); len(qs) != 1 || qs[0].Name != "operator:alice" || qs[0].By != "alice" || !strings.Contains(qs[0].Why, "3 in 1h") {
		t.Fatalf("%+v", qs)
	}
	if _, err := w.e.Create(by("alice", on("M4", api.CommandDisconnect))); problem(t, err).Status != 409 || !strings.Contains(err.Error(), "quarantined") {
		t.Fatal(err)
	}
	// Others go on, and so do reconnections, and the rest of what the meter has to do.
	if got := w.cut(t, "bob", "M5"); len(got) != 1 {
		t.Errorf("bob cut off %v", got)
	}
	var told []string
	for _, b := range w.e.Budgets() {
		left := "each"
		if b.Left != nil {
			left = fmt.Sprintf("%.0f", *b.Left)
		}
		told = append(told, fmt.Sprintf("%s %q %d/%d %s %v", b.Kind, b.Name, b.Meters, b.Seconds, left, b.Held))
	}
	if want := []string{`operator "" 3/3600 each false`, `operator "alice" 3/3600 0 true`, `operator "bob" 3/3600 2 false`}; fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("budgets %v, want %v", told, want)
	}
	w.create(t, by("alice", on("M0", api.CommandReconnect)))
	w.create(t, by("alice", on("M3", api.CommandRead)))
	if got := ids(w.commit()); fmt.Sprint(got) != "[M0 M3]" {
		t.Errorf("beside the quarantine went out %v", got)
	}
	// It outlives a restart, and time alone does not end it.
	w.restart(t)
	if got := w.after(90 * time.Minute); len(got) != 0 {
		for _, d := range got {
			if sentCommand(t, d).Opcode == record.OpDisconnect {
				t.Fatalf("%+v went out", got)
			}
		}
	}
	if err := release(w, "operator:alice", "alice"); problem(t, err).Status != 409 {
		t.Fatalf("alice releases herself: %v", err)
	}
	if err := release(w, "operator:carol", "bob"); problem(t, err).Status != 404 {
		t.Fatal(err)
	}
	if err := release(w, "operator:alice", "bob"); err != nil {
		t.Fatal(err)
	}
	w.keep()
	if got := ids(w.after(time.Minute)); len(w.e.Quarantines()) != 0 || !strings.Contains(fmt.Sprint(got), "M3") {
		t.Errorf("released, %v went out, quarantined %v", got, w.e.Quarantines())
	}
	said := ""
	for _, a := range w.trail {
		said += a.Actor + " " + a.Action + " " + a.Subject + "\n"
	}
	for _, want := range []string{"centre quarantine.begin operator:alice", "bob quarantine.release operator:alice"} {
		if !strings.Contains(said, want) {
			t.Errorf("the trail lacks %q:\n%s", want, said)
		}
	}
}

// TestQuarantineOfFeeder: what several people cut off on one feeder adds up, what another person approved counts, too, and the
// other feeder goes on.
func TestQuarantineOfFeeder(t *testing.T) {
	w := onFeeders(func(o *Options) { o.FeederBudgets, o.ApproveFrom = []Budget{{4, time.Hour}}, 5 })
	r := by("alice", to(api.CommandDisconnect, "M0", "M1", "M2", "M6", "M7"))
	r.ExpiresIn = 7200
	id := w.create(t, r)
	w.commit()
	if _, err := w.e.Decide(api.CommandDecision{ID: formatID(id), Approve: true, By: "bob"}); err != nil {
		t.Fatal(err)
	}
	if got := w.commit(); len(got) != 5 {
		t.Fatalf("%d went out", len(got))
	}
	for _, m := range r.Target.Meters {
		w.result(m, id, record.OpDisconnect, record.Done, 0)
	}
	if got := w.cut(t, "bob", "M3", "M4", "M5", "M8"); fmt.Sprint(got) != "[M3 M8]" {
		t.Fatalf("%v were cut off", got)
	}
	if qs := w.e.Quarantines(); len(qs) != 1 || qs[0].Name != "feeder:F1" {
		t.Fatalf("%+v", qs)
	}
	// A reconnection ends what waits at its meter.
	w.create(t, on("M5", api.CommandReconnect))
	w.commit()
	if err := release(w, "feeder:F1", "alice"); err != nil {
		t.Fatal(err)
	}
	w.keep()
	var cuts []string
	for _, d := range w.after(time.Second) {
		if sentCommand(t, d).Opcode == record.OpDisconnect {
			cuts = append(cuts, d.ID)
		}
	}
	if fmt.Sprint(cuts) != "[M4]" {
		t.Errorf("released, %v were cut off, want M4", cuts)
	}
}

// TestQuarantineOfBroadcast: a command for all that would exceed a bound goes out meter by meter up to it and stops there;
// cancelled, nothing more goes out, also after the release.
func TestQuarantineOfBroadcast(t *testing.T) {
	w := onFeeders(func(o *Options) { o.OperatorBudgets = []Budget{{5, time.Hour}} })
	r := by("alice", below("C1", api.CommandDisconnect))
	r.ExpiresIn = 7200
	id := w.create(t, r)
	if got := w.commit(); len(got) != 5 || got[0].ID == "" {
		t.Fatalf("%d went out: %+v", len(got), got)
	}
	if _, err := w.e.Cancel(id, "alice"); err != nil {
		t.Fatal(err)
	}
	if err := release(w, "operator:alice", "bob"); err != nil {
		t.Fatal(err)
	}
	w.keep()
	if got := w.after(time.Minute); len(got) != 0 {
		t.Errorf("cancelled and released, %+v went out", got)
	}
}

// TestStagger: a reconnection of many comes back feeder by feeder, no faster than said; that of one meter does not wait. It is so
// over restarts of the centre, too.
func TestStagger(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts %v", restarts), func(t *testing.T) { stagger(t, restarts) })
	}
}

func stagger(t *testing.T, restarts bool) {
	w := onFeeders(func(o *Options) { o.ReconnectBudgets = []Budget{{2, time.Minute}} })
	id := w.create(t, below("C1", api.CommandReconnect))
	first := map[string]time.Duration{}
	for s := time.Duration(0); s < 5*time.Minute; s += 5 * time.Second {
		for _, d := range w.commit() {
			if _, again := first[d.ID]; !again {
				first[d.ID] = s
			}
			w.result(d.ID, id, record.OpReconnect, record.Done, 0) // one that came again is answered again
		}
		n := map[string]int{}
		for m := range first {
			n[w.o.Feeder(w.devices[m])]++
		}
		for f, k := range n {
			if most := 2 + int(s/(30*time.Second)); k > most {
				t.Fatalf("%d meters of %s after %v, want %d at most", k, f, s, most)
			}
		}
		if s == 0 {
			single := w.create(t, on("M11", api.CommandReconnect))
			_ = single
		}
		w.pass(5 * time.Second)
		if restarts && s%(20*time.Second) == 0 { // the counts of a command for many are kept once a second
			w.keep()
			w.restart(t)
		}
	}
	if len(first) != 12 {
		t.Fatalf("%d of 12 were reconnected", len(first))
	}
	w.wantState(t, id, api.CommandDone)
	short := below("C1", api.CommandReconnect)
	short.ExpiresIn = 30
	if _, err := w.e.Create(short); problem(t, err).Field != "expiresIn" {
		t.Error(err)
	}
}
