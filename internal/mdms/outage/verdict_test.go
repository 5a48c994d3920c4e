package outage

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// town is a world with a grid: n meters M1 … on each of the transformers T1 …, all of lateral L1 and feeder F1. Meter i of a
// transformer hangs on concentrator C1 or, every fourth, on C2. All have a battery but those whose number ends with 0.
type town struct {
	*world
	of  map[string][]string // meters by transformer
	not bool                // no meter has a battery
}

func newTown(t testing.TB, transformers, n int) *town {
	w := &town{world: newWorld(t), of: map[string][]string{}}
	w.status("", "C1", "online")
	w.status("", "C2", "online")
	for i := range transformers * n {
		tr, id := fmt.Sprintf("T%d", i/n+1), fmt.Sprintf("M%d", i+1)
		w.of[tr] = append(w.of[tr], id)
		w.join(id, 5)
	}
	w.placed = w.replace
	w.replace()
	w.keep()
	return w
}

// replace tells the engine again where everything is, as after a restart.
func (w *town) replace() {
	for tr, ids := range w.of {
		for _, id := range ids {
			w.e.Placed(w.m(id), Place{"S1", "F1", "L1", tr})
		}
	}
}

func (w *town) path(id string) string {
	if id[len(id)-1]%4 == 0 {
		return "C2"
	}
	return "C1"
}

func (w *town) join(id string, seq uint32) {
	caps := record.CapBreaker | record.CapBattery
	if w.not || id[len(id)-1] == '0' {
		caps = record.CapBreaker
	}
	w.e.OnLocation(w.m(id), w.path(id), record.Location{Header: w.head(0), Sequence: seq, Interval: 30, Capabilities: caps}, w.at)
}

func (w *town) gasp(ids ...string) {
	for _, id := range ids {
		w.power(id, w.path(id), record.PowerLost, uint16(w.at), w.at)
	}
}

func (w *town) wills(ids ...string) {
	for _, id := range ids {
		w.will(id, w.path(id), w.m(id).Sequence)
	}
}

func (w *town) alive(ids ...string) {
	for _, id := range ids {
		w.reading(id, w.path(id))
	}
}

func (w *town) back(ids ...string) {
	for _, id := range ids {
		w.join(id, w.m(id).Sequence+1)
	}
}

func (w *town) verdict(want string, ids ...string) {
	w.t.Helper()
	w.keep()
	for _, id := range ids {
		if v := w.e.Verdict(w.m(id), true); v.State != want || v.Confidence < 0 || v.Confidence > 1 {
			w.t.Errorf("%s is %s (%.3f), want %s: %+v", id, v.State, v.Confidence, want, v.Evidence)
		}
	}
}

func (w *town) seconds(n int) {
	for range n {
		w.after(time.Second)
	}
}

// cases lists those of supply that are kept and neither merged nor taken back: "transformer T1 4 of 4", with open ones marked.
func (w *town) supplyCases(want ...string) {
	w.t.Helper()
	w.keep()
	w.after(70 * time.Second) // longer than changes are held back, and than a case waits for its end
	var got []string
	for _, o := range w.outages() {
		if o.Kind != kindPower && o.Kind != kindMaintenance || o.Merged != "" || o.Retracted {
			continue
		}
		name := fmt.Sprintf("%s %s", o.Scope, o.Element+o.Meter)
		if o.Kind == kindMaintenance {
			name = "planned " + name
		}
		if o.Partial {
			name += " partly"
		}
		name += fmt.Sprintf(", %d", o.Affected)
		if o.End == nil {
			name += " open"
		}
		got = append(got, name)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("cases %q, want %q", got, want)
	}
	w.sound()
}

// sound checks what always has to hold.
func (w *world) sound() {
	w.t.Helper()
	w.keep()
	open := 0
	for _, t := range w.e.tracks {
		if t == nil || t.slot < 0 {
			continue
		}
		if j := w.e.verdictOf(t, w.at); j.lost != (t.cut != nil) || j.verdict != t.verdict {
			w.t.Errorf("%s: verdict %s, lost %v; noted %s, interruption %v", t.dev.ID, verdictNames[j.verdict], j.lost, verdictNames[t.verdict], t.cut != nil)
		}
		if t.cut != nil {
			open++
			if o := t.cut.o; o != nil && (o.end != 0 || (o.x != nil || o.w != nil) && !w.e.standing[o]) {
				w.t.Errorf("%s: its case %s is over", t.dev.ID, o.doc.ID)
			}
		}
	}
	kept := 0
	for _, c := range w.cuts {
		if c.End == 0 {
			kept++
		} else if c.End < c.Start {
			w.t.Errorf("interruption %+v ends before it begins", c)
		}
	}
	w.apart()
	if open != w.e.cutsOpen || open != kept {
		w.t.Errorf("%d interruptions go on, counted %d, kept %d", open, w.e.cutsOpen, kept)
	}
	for o := range w.e.standing {
		n := 0
		for _, c := range o.cuts {
			if c.o != o {
				w.t.Errorf("case %s holds an interruption of case %v", o.doc.ID, c.caseID)
			}
			if c.end == 0 {
				n++
			}
		}
		if n != o.standing || o.end != 0 || n == 0 && o.overAt == 0 {
			w.t.Errorf("case %s: %d go on, counted %d; end %d, over at %d", o.doc.ID, n, o.standing, o.end, o.overAt)
		}
	}
}

// apart checks that no two interruptions of a meter overlap: else minutes of its customer would count twice.
func (w *world) apart() {
	w.t.Helper()
	of := map[uint32][]store.Interruption{}
	for _, c := range w.cuts {
		if c.Flags&cutRetracted == 0 {
			of[c.Device] = append(of[c.Device], c)
		}
	}
	for dev, list := range of {
		slices.SortFunc(list, func(a, b store.Interruption) int {
			return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
		})
		for i := range list[1:] {
			if a, b := list[i], list[i+1]; a.End == 0 || a.End > b.Start {
				w.t.Errorf("%s: interruptions %+v and %+v overlap", w.list[dev].ID, a, b)
			}
		}
	}
}

func TestTransformerOut(t *testing.T) {
	w := newTown(t, 2, 12)
	w.after(10 * time.Minute)
	w.alive(w.of["T2"]...)
	all := w.of["T1"] // M1 … M12
	// Two last gasps of twelve come; the others' wills within 90 s; M10 has no battery.
	w.gasp("M1", "M2")
	w.verdict(api.VerdictPowerLost, "M1", "M2")
	w.verdict(api.VerdictUnknown, "M3", "M10") // nothing is known of them yet
	w.seconds(60)
	w.wills(all...)
	w.verdict(api.VerdictPowerLost, all...)
	w.verdict(api.VerdictSupplied, w.of["T2"]...)
	w.supplyCases("transformer T1, 12 open")
	start := w.outages()[0].Start
	// Power returns after 10 minutes: they register again.
	w.after(8 * time.Minute)
	w.back(all[:6]...)
	w.verdict(api.VerdictSupplied, all[:6]...)
	w.verdict(api.VerdictPowerLost, all[6:]...)
	w.seconds(30)
	w.back(all[6:]...)
	w.verdict(api.VerdictSupplied, all...)
	w.after(2 * time.Minute)
	w.supplyCases("transformer T1, 12")
	o := w.outages()[0]
	if !o.Start.Equal(start) || o.Class != api.OutageSustained || o.Restored != 12 || o.Inferred != 10 || o.Grid == nil || o.Grid.Feeder != "F1" || o.Cause != "transformer" {
		t.Errorf("%+v", o)
	}
	if n := len(w.cuts); n != 12 {
		t.Errorf("%d interruptions", n)
	}
	for _, c := range w.cuts {
		if c.Start != uint32(start.Unix()) || c.End-c.Start < 9*60 || c.End-c.Start > 11*60 {
			t.Errorf("%+v, outage from %d", c, start.Unix())
		}
	}
}

func TestWillsAlone(t *testing.T) {
	w := newTown(t, 2, 12)
	w.after(10 * time.Minute)
	// One without a battery, alone: most likely the link.
	w.wills("M10")
	w.verdict(api.VerdictCommLost, "M10")
	w.seconds(200)
	w.verdict(api.VerdictCommLost, "M10")
	// Four go without a last gasp, their neighbours on the concentrator do not; nobody knows for a while.
	w.after(20 * time.Minute)
	w.wills("M1", "M2", "M3", "M5", "M6")
	w.verdict(api.VerdictUnknown, "M1", "M6")
	// A sample of the others is asked and does not answer.
	asked := map[string]bool{}
	for range 200 {
		for _, d := range w.e.Pings() {
			asked[d.ID] = true
		}
		w.seconds(1)
	}
	if len(asked) != 3 || asked["M1"] {
		t.Errorf("asked %v", asked)
	}
	w.verdict(api.VerdictPowerLost, "M1", "M2", "M3")
	for id := range asked {
		w.verdict(api.VerdictPowerLost, id)
	}
	// One answers all the same, late: the transformer is not out.
	for id := range asked {
		w.alive(id)
	}
	w.verdict(api.VerdictCommLost, "M1", "M2", "M3")
	w.supplyCases()
}

// TestFewWithoutGasps: on a transformer of three meters all connections end within a minute and a half and no last gasp comes, while the
// others on their concentrator stay: it is out. Where they end minutes apart it may be their links.
func TestFewWithoutGasps(t *testing.T) {
	for _, apart := range []int{20, 200} {
		w := newTown(t, 4, 3)
		w.after(10 * time.Minute)
		for _, ids := range w.of {
			w.alive(ids...)
		}
		w.seconds(60)
		all := w.of["T1"]
		for _, id := range all {
			w.wills(id)
			w.seconds(apart)
		}
		for _, tr := range []string{"T2", "T3", "T4"} {
			w.alive(w.of[tr]...)
		}
		w.seconds(100)
		if apart == 20 {
			w.verdict(api.VerdictPowerLost, all...)
			w.supplyCases("transformer T1, 3 open")
			continue
		}
		for _, o := range w.outages() {
			if o.Kind == kindPower {
				t.Errorf("%+v", o)
			}
		}
	}
}

func TestConcentratorAlone(t *testing.T) {
	w := newTown(t, 4, 12)
	w.after(10 * time.Minute)
	w.status("", "C1", "lost")
	for range 100 {
		w.e.Pings()
		w.after(30 * time.Second)
	}
	w.verdict(api.VerdictUnreachable, "M1", "M13", "M25")
	w.supplyCases()
	// A mute one, whose meters' wills come, is no outage either.
	w.status("", "C1", "online")
	for _, ids := range w.of {
		w.back(ids...)
	}
	w.after(10 * time.Minute)
	for tr, ids := range w.of {
		for _, id := range ids {
			if w.path(id) == "C1" {
				w.wills(id)
			}
		}
		if tr == "T2" {
			w.seconds(20)
		}
	}
	for range 60 {
		w.e.Pings()
		w.seconds(5)
	}
	w.verdict(api.VerdictCommLost, "M1", "M13", "M25")
	w.supplyCases()
}

func TestOnePhase(t *testing.T) {
	w := newTown(t, 1, 12)
	w.after(10 * time.Minute)
	w.gasp("M1", "M4", "M7")
	w.seconds(20)
	w.alive("M2", "M3")
	w.seconds(40)
	w.alive("M2", "M3", "M5", "M6", "M8", "M9")
	w.wills("M1", "M4", "M7", "M10")
	w.verdict(api.VerdictPowerLost, "M1", "M4", "M7")
	w.verdict(api.VerdictSupplied, "M2", "M9")
	w.supplyCases("transformer T1 partly, 3 open")
}

func TestLateralAndFeeder(t *testing.T) {
	w := newTown(t, 6, 6)
	w.after(10 * time.Minute)
	w.gasp("M1", "M2")
	w.supplyCases("transformer T1, 2 open")
	w.gasp("M7", "M8", "M13", "M14", "M19", "M20")
	w.seconds(60)
	for _, ids := range w.of {
		w.wills(ids...)
	}
	for tr, ids := range w.of {
		w.verdict(api.VerdictPowerLost, ids...)
		_ = tr
	}
	w.supplyCases("feeder F1, 36 open") // the only lateral of it
	w.after(5 * time.Minute)
	for _, ids := range w.of {
		w.back(ids...)
	}
	w.after(2 * time.Minute)
	w.supplyCases("feeder F1, 36")
	if o := w.outages()[0]; o.ID != "1" && o.Merged == "" && o.Scope != "feeder" {
		t.Errorf("%+v", o)
	}
}

func TestOpenedRestartsAndBreaker(t *testing.T) {
	w := newTown(t, 1, 12)
	w.after(10 * time.Minute)
	w.breaker("M2", w.path("M2"), record.BreakerOpen, true, w.at)
	w.verdict(api.VerdictOpened, "M2")
	w.after(3 * time.Hour) // it sends no readings while it is open, and the others are silent
	w.verdict(api.VerdictOpened, "M2")
	w.alive("M1", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10", "M11", "M12")
	// Firmware is activated below the transformer: all said so.
	for _, id := range w.of["T1"] {
		w.e.OnRestarts(w.m(id), 120, w.at)
	}
	w.seconds(30)
	w.wills("M1", "M3", "M4", "M5", "M6", "M7")
	w.verdict(api.VerdictMaintenance, "M1", "M7")
	gone, silent := w.at, w.e.Stats().Alarms
	w.supplyCases()
	w.after(20 * time.Second)
	w.back("M3", "M4", "M5", "M6", "M7")
	w.after(2 * time.Minute)
	w.verdict(api.VerdictCommLost, "M1") // it did not come back
	w.verdict(api.VerdictSupplied, "M3")
	w.supplyCases()
	var comm []string
	for _, o := range w.outages() {
		if o.Kind == kindComm && o.Start.Unix() >= int64(gone) {
			comm = append(comm, fmt.Sprintf("%s since %d", o.Meter, o.Start.Unix()-int64(gone)))
		}
	}
	if fmt.Sprint(comm) != "[M1 since 0]" || w.e.Stats().Alarms != silent {
		t.Errorf("cases of communication %v, and %d alarms of meters that said they would be away", comm, w.e.Stats().Alarms-silent)
	}
	// Power goes while M2's breaker is open: recorded, and no interruption of a customer.
	w.gasp("M2", "M3", "M4")
	w.verdict(api.VerdictPowerLost, "M2")
	opened := 0
	for _, c := range w.cuts {
		if c.Flags&store.InterruptionOpened != 0 {
			opened++
		}
	}
	if opened != 1 {
		t.Errorf("%d with an open breaker: %+v", opened, w.cuts)
	}
}

func TestMaintenance(t *testing.T) {
	w := newTown(t, 2, 12)
	now := w.Now()
	if _, err := w.e.AddMaintenance(api.MaintenanceRequest{Scope: "transformer", Name: "T1", From: now.Add(5 * time.Minute), To: now.Add(time.Hour), Reason: "oil"}); err != nil {
		t.Fatal(err)
	}
	w.after(10 * time.Minute)
	w.gasp("M1", "M2", "M13")
	w.seconds(60)
	w.wills(w.of["T1"]...)
	w.verdict(api.VerdictMaintenance, w.of["T1"]...)
	w.verdict(api.VerdictPowerLost, "M13")
	w.supplyCases("meter M13, 1 open", "planned transformer T1, 12 open")
	planned := 0
	for _, c := range w.cuts {
		if c.Flags&store.InterruptionPlanned != 0 {
			planned++
		}
	}
	if planned != 12 {
		t.Errorf("%d planned interruptions of %d", planned, len(w.cuts))
	}
	w.restart()
	w.verdict(api.VerdictMaintenance, "M1")
	// What is still out when the work is over is an outage.
	w.back(w.of["T1"][2:]...)
	w.after(time.Hour)
	w.verdict(api.VerdictPowerLost, "M1", "M2")
	for _, bad := range []struct {
		field string
		q     api.MaintenanceRequest
	}{
		{"scope", api.MaintenanceRequest{Scope: "house", Name: "1", To: now.Add(time.Hour)}},
		{"name", api.MaintenanceRequest{Scope: "feeder", Name: "F9", To: now.Add(9 * time.Hour)}},
		{"name", api.MaintenanceRequest{Scope: "all", Name: "F1", To: now.Add(9 * time.Hour)}},
		{"name", api.MaintenanceRequest{Scope: "meter", Name: "a/b", To: now.Add(9 * time.Hour)}},
		{"name", api.MaintenanceRequest{Scope: "meter", Name: "M999", To: now.Add(9 * time.Hour)}}, // mistyped: nobody is told, and nothing is covered
		{"name", api.MaintenanceRequest{Scope: "concentrator", Name: "C99", To: now.Add(9 * time.Hour)}},
		{"to", api.MaintenanceRequest{Scope: "all"}},
		{"to", api.MaintenanceRequest{Scope: "all", To: now}},
		{"to", api.MaintenanceRequest{Scope: "all", To: now.Add(90 * 24 * time.Hour)}},
	} {
		_, err := w.e.AddMaintenance(bad.q)
		if p, ok := err.(*api.Problem); !ok || p.Field != bad.field {
			t.Errorf("%+v: %v", bad.q, err)
		}
	}
	if _, err := w.e.EndMaintenance(77, ""); err == nil {
		t.Error("ended a window that is not there")
	}
	m, err := w.e.AddMaintenance(api.MaintenanceRequest{Scope: "all", To: w.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	w.verdict(api.VerdictMaintenance, "M1")
	if l := w.e.Maintenance(); len(l) != 1 || l[0].State != "active" {
		t.Errorf("%+v", l)
	}
	if _, err := w.e.EndMaintenance(w.e.windows[0].id, "anna"); err != nil || m.ID == "" {
		t.Fatal(err)
	}
	w.verdict(api.VerdictPowerLost, "M1")
	w.sound()
}

// What is known of an outage survives a restart in the middle of it.
func TestRestartInAnOutage(t *testing.T) {
	w := newTown(t, 3, 8)
	w.after(10 * time.Minute)
	w.gasp("M1", "M2", "M9", "M10", "M17")
	w.seconds(60)
	for _, ids := range w.of {
		w.wills(ids...)
	}
	w.supplyCases("feeder F1, 24 open")
	w.restart()
	w.supplyCases("feeder F1, 24 open")
	w.verdict(api.VerdictPowerLost, "M1", "M8", "M24")
	w.after(5 * time.Minute)
	for _, ids := range w.of {
		w.back(ids...)
	}
	w.after(3 * time.Minute)
	w.supplyCases("feeder F1, 24")
	if o := w.outages(); o[len(o)-1].Class != api.OutageSustained && o[0].Class != api.OutageSustained {
		t.Errorf("%+v", o)
	}
	for _, c := range w.cuts {
		if c.End == 0 || c.End-c.Start < 6*60 || c.End-c.Start > 9*60 {
			t.Errorf("%+v", c)
		}
	}
}

func TestMomentary(t *testing.T) {
	w := newTown(t, 1, 10)
	w.after(10 * time.Minute)
	w.gasp("M1", "M2", "M3")
	w.seconds(100)
	w.back(w.of["T1"]...)
	w.seconds(70)
	w.supplyCases("transformer T1, 3")
	if o := w.outages()[0]; o.Class != api.OutageMomentary {
		t.Errorf("%+v", o)
	}
	// One that was over before anybody looked is recorded, and so is one of which nothing was heard but its end.
	w.after(20 * time.Minute)
	at := w.at
	w.gasp("M5")
	w.at += 10
	w.power("M5", w.path("M5"), record.PowerRestored, uint16(w.at), w.at)
	w.at += 300
	w.e.OnPower(w.m("M6"), w.path("M6"), record.Power{Header: record.Header{Time: w.at}, Kind: record.PowerRestored, Sequence: 9, OnBattery: 40}, w.at)
	w.keep()
	var found []store.Interruption
	for _, c := range w.cuts {
		if c.Start >= at {
			found = append(found, c)
		}
	}
	if len(found) != 2 || found[0].End-found[0].Start+found[1].End-found[1].Start != 50 {
		t.Errorf("%+v", found)
	}
	w.sound()
}

func TestStormMode(t *testing.T) {
	w := newTown(t, 40, 10)
	w.after(10 * time.Minute)
	began := w.at
	open := func() (n int) {
		for _, o := range w.outages() {
			if o.End == nil && o.Kind == kindComm {
				n++
			}
		}
		return n
	}
	for i := range 260 { // most of what hangs on C1, one after the other
		id := fmt.Sprintf("M%d", i+1)
		w.wills(id)
	}
	w.tick()
	if !w.e.InStorm() {
		t.Fatal("no storm at 260 alarms a minute")
	}
	told := len(w.events)
	for i := 260; i < 360; i++ {
		w.wills(fmt.Sprintf("M%d", i+1))
	}
	w.seconds(20)
	if n := len(w.events) - told; n > 80 {
		t.Errorf("%d events of 100 alarms in a storm", n)
	}
	if s := w.e.Storm(); !s.Active || s.Shed["communication-cases"] != 100 || s.Since == nil {
		t.Errorf("%+v", s)
	}
	// It outlives a restart of the centre: who went lately and is not back tells.
	w.restart()
	w.seconds(20)
	if s := w.e.Storm(); !s.Active || s.Since == nil || s.Since.Unix() != int64(began) || s.Count != 1 {
		t.Errorf("after a restart %+v", s)
	}
	if n := open(); n != 260 {
		t.Errorf("%d cases of lost communication in the storm, want those from before it, 260", n)
	}
	for range 14 {
		w.after(time.Minute)
	}
	s := w.e.Storm()
	if s.Active || s.Count != 1 || s.AlarmsPerMinute != 0 {
		t.Errorf("%+v", s)
	}
	w.tick() // what was shed and still has its reason is opened now
	if n := open(); n != 360 {
		t.Errorf("%d cases of lost communication, want 360", n)
	}
	var begins, ends int
	for _, ev := range w.events {
		if ev.Type == "wattbus.storm.v1" {
			if begins == ends {
				begins++
			} else {
				ends++
			}
		}
	}
	if begins != 1 || ends != 1 {
		t.Errorf("%d begins, %d ends told", begins, ends)
	}
	w.sound()
}

// A storm is found again by who went in its worst minute; not where they went too slowly, where it is over, or where they are back.
func TestStormAfterARestart(t *testing.T) {
	for _, tc := range []struct {
		name        string
		every, back int // alarms a second, and how many of them are back
		down        time.Duration
		on          bool
	}{
		{"at once", 0, 0, time.Minute, true},
		{"four a second", 4, 0, time.Minute, true},
		{"two a second", 2, 0, time.Minute, false},
		{"long ago", 4, 0, 11 * time.Minute, false},
		{"most are back", 4, 200, time.Minute, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTown(t, 40, 10)
			w.after(10 * time.Minute)
			for i := range 300 {
				w.wills(fmt.Sprintf("M%d", i+1))
				if tc.every > 0 && i%tc.every == 0 {
					w.seconds(1)
				}
			}
			for i := range tc.back {
				w.back(fmt.Sprintf("M%d", i+1))
			}
			w.keep()
			w.at += uint32(tc.down / time.Second)
			w.restart()
			w.seconds(2)
			if s := w.e.Storm(); s.Active != tc.on {
				t.Errorf("%+v", s)
			}
			for _, o := range w.outages() {
				if o.End == nil && (len(o.Evidence) == 0 || o.Evidence[0].What != "will") {
					t.Errorf("%s: evidence %+v", o.Meter, o.Evidence)
				}
			}
			w.check()
		})
	}
}

// A concentrator on the transformer that says that its mains are gone tips the balance.
func TestConcentratorMains(t *testing.T) {
	w := newTown(t, 1, 12)
	c := w.dev("C1", "concentrator")
	w.e.OnConcentrator(c, "", "C1", "online", w.at)
	w.e.Placed(c, Place{"S1", "F1", "L1", "T1"})
	w.after(10 * time.Minute)
	w.gasp("M1")
	w.seconds(5)
	w.wills("M3")
	w.keep()
	before := w.m("M3")
	p := w.e.Verdict(before, false).Confidence
	w.e.OnPower(c, "", record.Power{Header: record.Header{Time: w.at, Flags: record.FlagBattery}, Kind: record.PowerLost, Sequence: 1}, w.at)
	w.verdict(api.VerdictPowerLost, "M1", "M3")
	if v := w.e.Verdict(before, false); v.Confidence < 0.9 || c.Power.State != cim.PowerLost {
		t.Errorf("from %v to %+v", p, v)
	}
}

// cutsOf lists the interruptions of a meter that were not taken back.
func (w *town) cutsOf(id string) (out []store.Interruption) {
	w.keep()
	for _, k := range slices.Sorted(maps.Keys(w.cuts)) {
		if c := w.cuts[k]; c.Device == w.m(id).Ordinal && c.Flags&cutRetracted == 0 {
			out = append(out, c)
		}
	}
	return out
}

// restored tells that a meter's power has come back, and how long it was away.
func (w *town) restored(id string, away uint32) {
	w.e.OnPower(w.m(id), w.path(id), record.Power{Header: record.Header{Time: w.at}, Kind: record.PowerRestored, Sequence: uint16(w.at), OnBattery: away}, w.at)
}

// What began in planned work is planned, also where it is told when that is over; what began before is not.
func TestPlannedByItsBeginning(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newTown(t, 2, 4)
		w.after(10 * time.Minute)
		before := w.at
		w.wills("M1")
		w.seconds(60)
		m, err := w.e.AddMaintenance(api.MaintenanceRequest{Scope: "transformer", Name: "T1", To: w.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		w.seconds(60)
		during := w.at
		w.wills("M2")
		w.seconds(400)
		id, _ := strconv.ParseUint(m.ID, 10, 64)
		if _, err := w.e.EndMaintenance(id, ""); err != nil {
			t.Fatal(err)
		}
		w.seconds(30)
		if restart {
			w.restart()
		}
		w.seconds(30)
		for id, since := range map[string]uint32{"M1": before, "M2": during, "M5": during} { // M5 hangs on T2, and nobody heard of it
			w.back(id)
			w.restored(id, w.at-since)
			c := w.cutsOf(id)
			if len(c) != 1 || c[0].Start != since || (c[0].Flags&cutPlanned != 0) != (id == "M2") {
				t.Errorf("restart %v, %s: %+v", restart, id, c)
			}
		}
		w.after(25 * time.Hour)
		if len(w.e.past) != 0 {
			t.Errorf("%d windows are remembered", len(w.e.past))
		}
		w.sound()
	}
}

// How sure an outage was does not fall to what its element shows when it is back, or when a restart has made that be forgotten.
func TestSureAfterwards(t *testing.T) {
	w := newTown(t, 1, 12)
	w.after(10 * time.Minute)
	ids := w.of["T1"]
	w.gasp(ids[:4]...)
	w.wills(ids[:8]...)
	w.seconds(20)
	w.status("", "C1", "lost")
	w.status("", "C2", "lost")
	w.seconds(60)
	sure := func() float64 {
		for _, o := range w.outages() {
			if o.Scope == "transformer" && o.Merged == "" {
				return o.Confidence
			}
		}
		return 0
	}
	if p := sure(); p < 0.95 {
		t.Fatalf("%.3f", p)
	}
	w.at += 3600
	w.restart()
	w.seconds(60)
	if p := sure(); p < 0.95 {
		t.Errorf("%.3f after a restart", p)
	}
	w.status("", "C1", "online")
	w.status("", "C2", "online")
	w.back(ids...)
	w.seconds(200)
	if p := sure(); p < 0.95 {
		t.Errorf("%.3f afterwards", p)
	}
	// One of a meter alone tells how many are back, too.
	w.gasp("M3")
	w.seconds(400)
	w.back("M3")
	w.seconds(100)
	list := w.outages()
	if o := list[len(list)-1]; o.Meter != "M3" || o.End == nil || o.Restored != 1 {
		t.Errorf("%+v", o)
	}
	w.sound()
}

// TestTheyComeBackOneByOne: all meters of two concentrators lose their connections and come back spread over minutes, as the acknowledgement
// of their registration says. The last ones of a transformer went in the company of those that are back.
func TestTheyComeBackOneByOne(t *testing.T) {
	for _, every := range []int{1, 3, 20} {
		w := newTown(t, 10, 12)
		w.not = true
		w.after(10 * time.Minute)
		var ids []string
		for tr := range 10 {
			ids = append(ids, w.of[fmt.Sprintf("T%d", tr+1)]...)
		}
		w.back(ids...)
		w.seconds(60)
		for i, id := range ids {
			w.wills(id)
			w.seconds(i % 2)
		}
		w.seconds(200)
		rand.New(rand.NewPCG(uint64(every), 0)).Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for _, id := range ids {
			w.back(id)
			for range every {
				w.e.Pings()
				w.seconds(1)
			}
		}
		w.seconds(600)
		for _, o := range w.outages() {
			if o.Kind == kindPower {
				t.Errorf("back every %d s: %s %s%s of %d: %+v", every, o.Scope, o.Element, o.Meter, o.Affected, o.Evidence)
			}
		}
	}
}

// TestOneGaspAndALink: a meter of ten loses its supply by itself, and a minute later the link of another fails. All have batteries: were the
// transformer out, more of them would have said so.
func TestOneGaspAndALink(t *testing.T) {
	w := newTown(t, 4, 9)
	w.after(10 * time.Minute)
	w.gasp("M1")
	w.seconds(60)
	w.wills("M2")
	w.seconds(5)
	w.verdict(api.VerdictPowerLost, "M1")
	if v := w.e.Verdict(w.m("M2"), true); v.State == api.VerdictPowerLost {
		t.Errorf("%+v", v)
	}
	// A second last gasp, or more wills, tell.
	w.wills("M3", "M5")
	w.seconds(5)
	w.verdict(api.VerdictPowerLost, "M1", "M2", "M3", "M5")
	w.sound()
}
