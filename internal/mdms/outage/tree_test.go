package outage

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

func (w *world) concentrator(id string) api.Concentrator {
	w.t.Helper()
	for _, c := range w.e.Concentrators(api.Paging{}).Items {
		if c.ID == id {
			return c
		}
	}
	w.t.Fatalf("no concentrator %s", id)
	return api.Concentrator{}
}

func TestConcentrators(t *testing.T) {
	w := newWorld(t)
	w.location("M1", "C1", 1)
	w.location("M2", "C1/C7", 1)
	w.location("M3", "C1/C7", 1)
	w.location("M4", "C1/C7/C9", 1)
	w.location("M5", "C1-2", 1)
	w.status("C1/C7", "C9", "lost")
	w.will("M3", "C1/C7", 1)
	var paths []string
	cursor := ""
	for {
		p := w.e.Concentrators(api.Paging{Limit: 1, Cursor: cursor})
		for _, c := range p.Items {
			paths = append(paths, c.Path)
		}
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	if !slices.Equal(paths, []string{"C1", "C1/C7", "C1/C7/C9", "C1-2"}) {
		t.Errorf("order %q", paths)
	}
	c := w.concentrator("C1")
	if c.Meters != 1 || c.Below != 4 || c.State != "online" || c.States[api.StateOnline] != 2 || c.States[api.StateUnreachable] != 1 || c.States[api.StateCommLost] != 1 {
		t.Errorf("C1 %+v", c)
	}
	if c := w.concentrator("C9"); c.Meters != 1 || c.State != "lost" || c.Since.Unix() != int64(w.at) {
		t.Errorf("C9 %+v", c)
	}
	var ids []string
	for _, d := range w.e.Below("C1/C7") {
		ids = append(ids, d.ID)
	}
	if !slices.Equal(ids, []string{"M2", "M3", "M4"}) {
		t.Errorf("below C1/C7: %q", ids)
	}
	if got := w.e.Below("C7"); got != nil {
		t.Errorf("below a path that is not: %+v", got)
	}
	if n := w.e.ConcentratorCount(); n != 4 {
		t.Errorf("%d concentrators, want 4", n)
	}
	w.keep()
	found := false
	for _, ev := range w.events {
		if ev.Type == "wattbus.concentrator.v1" && ev.Subject == "C9" {
			var c api.Concentrator
			if err := json.Unmarshal(ev.Data, &c); err != nil || ev.Source != "/C1/C7/concentrator/C9" || c.State != "lost" {
				t.Errorf("event %+v, %v", ev, err)
			}
			found = true
		}
	}
	if !found {
		t.Error("no event for C9")
	}
	w.check()
}

func TestConcentratorMoves(t *testing.T) {
	w := newWorld(t)
	w.status("", "C1", "online")
	w.status("C1", "C7", "online")
	w.location("M1", "C1/C7", 1)
	w.location("M2", "C1/C7/C9", 1)
	w.after(time.Minute)
	// C7 --online--> C2
	w.status("C2", "C7", "online")
	if p := w.m("M1").Path; p != "C2/C7" {
		t.Errorf("path of M1 %q", p)
	}
	if p := w.m("M2").Path; p != "C2/C7/C9" {
		t.Errorf("path of M2 %q", p)
	}
	// What C1 still has of it changes nothing.
	w.after(time.Second)
	if w.status("C1", "C7", "lost") {
		t.Error("the will of the old place counted")
	}
	w.reading("M1", "C1/C7")
	w.want("M1", api.StateOnline)
	if p := w.concentrator("C7").Path; p != "C2/C7" {
		t.Errorf("path of C7 %q", p)
	}
	// The loss of C1 is no longer its matter, that of C2 is.
	w.status("", "C1", "lost")
	w.want("M2", api.StateOnline)
	w.status("", "C2", "lost")
	w.want("M2", api.StateUnreachable)
	w.check()
	w.wantCases("unreachable C1 open", "unreachable C2 open")
	if o := w.outages()[1]; o.Affected != 2 || o.Path != "C2" {
		t.Errorf("case %+v", o)
	}
}

func TestConcentratorsNeverFormARing(t *testing.T) {
	w := newWorld(t)
	w.status("", "C1", "online")
	w.status("C1", "C2", "online")
	w.status("C1/C2", "C3", "online")
	if w.status("C1/C2/C3", "C1", "online") {
		t.Error("a status whose path holds its own id counted")
	}
	w.e.OnConcentrator(nil, "C3", "C1", "online", w.at)
	w.location("M1", "C3/C1/C2", 1)
	if got := len(w.e.Concentrators(api.Paging{}).Items); got != 3 {
		t.Errorf("%d concentrators, want 3", got)
	}
	n := 0
	w.e.root.each(func(*node) { n++ })
	if n != 4 {
		t.Errorf("%d nodes reached from the centre, want 4", n)
	}
}

func TestUnknownStatus(t *testing.T) {
	w := newWorld(t)
	for _, s := range []string{"", "up", "unknown", "ONLINE"} {
		if w.status("", "C1", s) {
			t.Errorf("status %q counted", s)
		}
	}
	if w.e.ConcentratorCount() != 0 {
		t.Error("it made a concentrator")
	}
}

func TestTooManyConcentrators(t *testing.T) {
	w := newWorld(t)
	w.o.MaxConcentrators = 3
	w.e = New(w.o)
	for i := range 10 {
		w.location(fmt.Sprintf("M%d", i), fmt.Sprintf("C%d/X%d", i, i), 1)
	}
	if w.status("", "Z", "online") {
		t.Error("a status of one too many counted")
	}
	if n := w.e.ConcentratorCount(); n != 3 || w.e.Stats().Overflows == 0 {
		t.Errorf("%d concentrators, want 3; %+v", n, w.e.Stats())
	}
	w.want("M9", api.StateOnline)
	w.check()
}

func TestConcentratorAsADevice(t *testing.T) {
	w := newWorld(t)
	w.location("M1", "C7", 1)
	c := w.dev("C7", topic.Concentrator)
	w.e.OnConcentrator(c, "", "C7", "lost", w.at)
	if c.Link.State != cim.LinkLost || c.LastSeen != w.at {
		t.Errorf("device %+v", c)
	}
	w.keep()
	w.restart()
	if got := w.concentrator("C7"); got.State != "lost" || got.Meters != 1 {
		t.Errorf("restored %+v", got)
	}
	w.want("M1", api.StateUnreachable)
	w.e.OnConcentrator(w.byID["C7"], "", "C7", "online", w.at)
	w.keep()
	w.restart()
	if got := w.concentrator("C7"); got.State != "online" {
		t.Errorf("restored %+v", got)
	}
	w.check()
}

// TestSystemRestarted: all stop in order and start again, the concentrators first and the centre last: that is no case. One that stays
// away is one, a while after the start.
func TestSystemRestarted(t *testing.T) {
	w := newWorld(t)
	w.dev("C7", topic.Concentrator)
	w.dev("C8", topic.Concentrator)
	for _, id := range []string{"C7", "C8"} {
		w.e.OnConcentrator(w.byID[id], "", id, "online", w.at)
	}
	w.location("M1", "C7", 1)
	w.location("M2", "C8", 1)
	w.after(time.Minute)
	for _, id := range []string{"C7", "C8"} {
		w.e.OnConcentrator(w.byID[id], "", id, "offline", w.at)
	}
	w.keep()
	w.at += 3600
	w.restart()
	w.after(5 * time.Second)
	w.want("M1", api.StateUnreachable)
	w.e.OnConcentrator(w.byID["C7"], "", "C7", "online", w.at)
	w.location("M1", "C7", 2)
	w.after(2 * time.Minute)
	w.want("M1", api.StateOnline)
	got := w.wantCases("unreachable C8 open")
	if len(got) == 1 && got[0].Start.Unix() != noon+60 {
		t.Errorf("it is said to be away since %s", got[0].Start)
	}
	w.check()
}

// A concentrator that is replaced by one of another id: its case is over when the last of its meters is elsewhere, and stays so over a
// restart. It is open again if one comes to hang on it after all.
func TestReplacedConcentrator(t *testing.T) {
	for _, tc := range []struct {
		name string
		last func(w *world) // takes away the last that hangs on C7
	}{
		{"moved", func(w *world) { w.location("M2", "C9", 2) }},
		{"retired", func(w *world) { w.e.Retire(w.m("M2")) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.e.OnConcentrator(w.dev("C7", topic.Concentrator), "", "C7", "online", w.at)
			w.location("M1", "C7", 1)
			w.location("M2", "C7", 1)
			w.after(time.Minute)
			w.e.OnConcentrator(w.byID["C7"], "", "C7", "lost", w.at)
			w.after(time.Minute)
			w.status("", "C9", "online")
			w.location("M1", "C9", 2)
			w.wantCases("unreachable C7 open")
			w.check()
			w.at += 60
			tc.last(w)
			o := w.wantCases("unreachable C7")[0]
			if n := len(o.Evidence); o.Affected != 2 || n == 0 || o.Evidence[n-1].What != "concentrator-empty" || o.End.Unix() != int64(w.at) {
				t.Errorf("%+v", o)
			}
			if tc.name == "retired" {
				return // the registry would leave its device out from now on
			}
			w.check()
			w.restart()
			w.after(5 * time.Minute)
			w.wantCases("unreachable C7")
			w.at += 60
			late := record.Location{Header: record.Header{Time: noon + 60}, Sequence: 3, Interval: 30} // by a clock that is behind
			w.e.OnLocation(w.m("M1"), "C7", late, w.at)
			w.want("M1", api.StateUnreachable)
			w.wantCases("unreachable C7", "unreachable C7 open")
			w.location("M1", "C9", 4)
			w.want("M1", api.StateOnline)
			w.wantCases("unreachable C7", "unreachable C7")
			w.check()
		})
	}
}

// A meter that was never heard hangs at the centre, which is no concentrator that an event could tell of.
func TestRetiredWithoutEver(t *testing.T) {
	w := newWorld(t)
	w.e.Retire(w.m("M1"))
	if ch := w.keep(); len(ch.Events) != 0 {
		t.Errorf("%+v", ch.Events)
	}
}

// A concentrator of the upper level is replaced: those below it come over, with their meters.
func TestReplacedConcentratorAboveOthers(t *testing.T) {
	w := newWorld(t)
	w.status("", "C1", "online")
	w.status("C1", "C11", "online")
	w.status("C1", "C12", "online")
	w.location("M1", "C1/C11", 1)
	w.status("", "C1", "lost")
	w.status("", "C2", "online")
	w.status("C2", "C12", "online") // nothing hangs on it
	w.wantCases("unreachable C1 open")
	w.status("C2", "C11", "online")
	w.wantCases("unreachable C1")
	w.check()
	w.reading("M1", "C2/C11")
	w.want("M1", api.StateOnline)
}

// What an earlier centre left open of a concentrator below which nothing hangs is closed at the start.
func TestEmptyConcentratorInTheStore(t *testing.T) {
	w := newWorld(t)
	w.location("M1", "C7", 1)
	w.status("", "C7", "lost")
	w.status("", "C8", "lost")
	w.wantCases("unreachable C7 open", "unreachable C8 open")
	d := w.kept[w.m("M1").Ordinal]
	d.Path = "C9"
	w.kept[d.Ordinal] = d
	w.restart()
	w.wantCases("unreachable C7", "unreachable C8 open") // of C8 it was told that it is lost, and that is all there is to tell
	w.check()
}

func TestFlappingConcentrator(t *testing.T) {
	w := newWorld(t)
	w.location("M1", "C7", 1)
	for range 50 {
		w.status("", "C7", "lost")
		w.after(time.Second)
		w.status("", "C7", "online")
		w.after(time.Second)
	}
	if n := len(w.e.settles); n > 1 {
		t.Errorf("%d settling entries for one concentrator", n)
	}
	w.after(2 * time.Minute)
	w.want("M1", api.StateOnline)
	if n := len(w.e.timers); n > 60 {
		t.Errorf("%d timers for one meter", n)
	}
	w.check()
}

func TestRestoreLeavesOutWhatItCannotRead(t *testing.T) {
	w := newWorld(t)
	w.location("M1", "C7", 1)
	w.will("M1", "C7", 1)
	w.keep()
	w.restart()
	e := New(w.o)
	for _, d := range w.list {
		e.Add(d)
	}
	err := e.Restore([]store.Outage{{ID: 90, Doc: []byte("{")}, {ID: 91, Doc: []byte(`{"kind":"comm-lost","meter":"M9"}`)}, w.cases[1]})
	if err == nil {
		t.Error("no error")
	}
	if e.Open() != 1 {
		t.Errorf("%d open, want 1", e.Open())
	}
}

func BenchmarkReading(b *testing.B) {
	w := newWorld(b)
	for i := range 1000 {
		w.location(fmt.Sprintf("M%d", i), "C1/C7", 1)
	}
	w.keep()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d := w.list[i%1000]
		w.e.OnMessage(d, d.Path, 0x02, w.head(0), w.at)
	}
}
