package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

func many(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("M%d", i)
	}
	return out
}

func TestBroadcastAndStragglers(t *testing.T) {
	w := newWorld(many(1000)...)
	w.o.Pace, w.o.PaceEvery = 10, 100*time.Millisecond
	w.e = New(w.o)
	id := w.create(t, below("C1", api.CommandDisconnect))
	got := w.commit()
	if len(got) != 1 || got[0].Target != topic.All || got[0].Path != "C1" || got[0].Kind != topic.Meter || got[0].Event != "cmd" {
		t.Fatalf("sent %+v, want one broadcast", got)
	}
	if c := w.get(t, id); c.State != api.CommandSent || c.Bulk.Total != 1000 || c.Bulk.States[api.CommandSent] != 1000 || len(c.Bulk.Stragglers) != 100 {
		t.Errorf("after the broadcast: %+v", c)
	}
	for i := range 970 {
		w.result(fmt.Sprintf("M%d", i), id, record.OpDisconnect, record.Done, 0)
	}
	if got := w.after(time.Second); len(got) != 0 {
		t.Errorf("%d repeats before the stragglers' turn", len(got))
	}
	w.pass(1200 * time.Millisecond)
	total := 0
	for range 10 {
		n := len(w.after(100 * time.Millisecond))
		if n > 10 {
			t.Fatalf("%d repeats in one step, want at most 10", n)
		}
		for _, d := range w.sends {
			if m := sentCommand(t, d); m.ID != id || d.Target != topic.Device {
				t.Fatalf("repeat %+v", d)
			}
		}
		total += n
	}
	if total != 30 {
		t.Errorf("%d repeats to stragglers, want 30", total)
	}
	// A single command does not wait behind the stragglers of a bulk one.
	single := w.create(t, on("M1", api.CommandRead))
	if got := w.commit(); len(got) != 1 || sentCommand(t, got[0]).ID != single {
		t.Errorf("single command: %+v", got)
	}
	for i := 970; i < 999; i++ {
		w.result(fmt.Sprintf("M%d", i), id, record.OpDisconnect, record.Done, 0)
	}
	w.result("M999", id, record.OpDisconnect, record.NotSupported, 0)
	c := w.get(t, id)
	if c.State != api.CommandFailed || c.Bulk.States[api.CommandDone] != 999 || c.Bulk.States[api.CommandRefused] != 1 || !slices.Equal(c.Bulk.Stragglers, []string{"M999"}) {
		t.Errorf("at the end: %+v", c)
	}
	if d := c.History[len(c.History)-1].Detail; d != "of 1000 meters 1 refused" {
		t.Errorf("detail %q", d)
	}
}

func TestBulkEnds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		do     func(w *world, id uint64)
		state  string
		detail string
	}{
		{"all done", func(w *world, id uint64) {
			for _, m := range []string{"M0", "M1", "M2"} {
				w.result(m, id, record.OpRead, record.Done, 1)
			}
		}, api.CommandDone, ""},
		{"stragglers", func(w *world, id uint64) {
			w.result("M1", id, record.OpRead, record.Done, 1)
			w.after(66 * time.Second)
		}, api.CommandExpired, "2 of 3 meters gave no result"},
		{"cancelled", func(w *world, id uint64) {
			w.result("M1", id, record.OpRead, record.Done, 1)
			_, _ = w.e.Cancel(id, "bob")
		}, api.CommandCancelled, "already sent"},
		{"failed", func(w *world, id uint64) {
			w.result("M0", id, record.OpRead, record.Failed, 1)
			w.result("M1", id, record.OpRead, record.Expired, 1)
			w.result("M2", id, record.OpRead, record.Done, 1)
		}, api.CommandFailed, "of 3 meters 1 failed, 1 expired"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(many(3)...)
			id := w.create(t, below("C1/C7", api.CommandRead))
			w.commit()
			tc.do(w, id)
			c := w.get(t, id)
			if c.State != tc.state || !strings.Contains(c.History[len(c.History)-1].Detail, tc.detail) {
				t.Errorf("got %s, %+v; want %s, %q", c.State, c.History, tc.state, tc.detail)
			}
			if s := w.e.Stats(); s.Members != 0 || s.Open != 0 {
				t.Errorf("left over: %+v", s)
			}
		})
	}
}

func TestBroadcastDoesNotOvertake(t *testing.T) {
	for _, tc := range []struct {
		earlier, bulk string
		broadcast     bool
	}{
		{api.CommandReconnect, api.CommandDisconnect, false},
		{api.CommandPing, api.CommandDisconnect, true},
		{api.CommandReconnect, api.CommandRead, true},
	} {
		t.Run(tc.earlier+" before "+tc.bulk, func(t *testing.T) {
			w := newWorld(many(3)...)
			first := w.create(t, on("M1", tc.earlier))
			w.commit()
			id := w.create(t, below("C1", tc.bulk))
			got := w.commit()
			if tc.broadcast {
				if len(got) != 1 || got[0].Target != topic.All {
					t.Fatalf("sent %+v, want a broadcast", got)
				}
				return
			}
			if len(got) != 2 || got[0].ID != "M0" || got[1].ID != "M2" {
				t.Fatalf("sent %+v, want M0 and M2 one by one", got)
			}
			w.result("M1", first, record.OpReconnect, record.Done, 0)
			if got := w.commit(); len(got) != 1 || got[0].ID != "M1" || sentCommand(t, got[0]).ID != id {
				t.Fatalf("sent %+v, want M1 now", got)
			}
			if c := w.get(t, id); !strings.Contains(c.History[0].Detail, "meter by meter") {
				t.Errorf("history %+v", c.History)
			}
		})
	}
}

func TestBulkIsHandedOutAtMostOnceASecond(t *testing.T) {
	w := newWorld(many(50)...)
	id := w.create(t, below("C1", api.CommandPing))
	w.commit()
	w.events = nil
	for i := range 49 {
		w.result(fmt.Sprintf("M%d", i), id, record.OpPing, record.Done, 0)
		w.after(10 * time.Millisecond)
	}
	if n := len(w.events); n != 0 {
		t.Errorf("%d events within half a second, want none", n)
	}
	next := w.e.Tick(w.wall)
	if wait := next.Sub(w.wall); wait <= 0 || wait > 1100*time.Millisecond {
		t.Errorf("next call in %v, want within the second", wait)
	}
	w.wall = next
	w.commit()
	if n := len(w.events); n != 1 {
		t.Errorf("%d events after the second, want one", n)
	}
	w.result("M49", id, record.OpPing, record.Done, 0)
	w.commit()
	if n := len(w.events); n != 2 || w.store[id].Open {
		t.Errorf("%d events at the end, want the last at once", n)
	}
}

func TestBulkRestarts(t *testing.T) {
	w := newWorld(many(5)...)
	id := w.create(t, below("C1", api.CommandDisconnect))
	w.commit()
	w.result("M0", id, record.OpDisconnect, record.Done, 0)
	w.result("M1", id, record.OpDisconnect, record.Refused, 1)
	w.after(1100 * time.Millisecond)
	w.result("M2", id, record.OpDisconnect, record.Done, 0) // not kept: comes again
	w.restart(t)
	c := w.get(t, id)
	if c.Bulk.Total != 5 || c.Bulk.States[api.CommandSent] != 3 || c.Bulk.States[api.CommandDone] != 1 || c.Bulk.States[api.CommandRefused] != 1 {
		t.Fatalf("restored %+v", c.Bulk)
	}
	got := w.commit()
	if len(got) != 3 || got[0].Target != topic.Device {
		t.Fatalf("sent %+v, want three repeats", got)
	}
	for _, m := range []string{"M0", "M2", "M3", "M4"} {
		w.result(m, id, record.OpDisconnect, record.Done, 0)
	}
	if c := w.get(t, id); c.State != api.CommandFailed || c.Bulk.States[api.CommandDone] != 4 {
		t.Errorf("at the end %s %+v", c.State, c.Bulk)
	}
}

func TestUnsentBroadcastRestarts(t *testing.T) {
	w := newWorld(many(5)...)
	id := w.create(t, below("C1", api.CommandDisconnect))
	w.keep()
	w.restart(t)
	if got := w.commit(); len(got) != 1 || got[0].Target != topic.All || sentCommand(t, got[0]).ID != id {
		t.Errorf("sent %+v, want the broadcast", got)
	}
}

// TestCancelTellsOfMetersUnderWay: what is cancelled may still be carried out where it was sent and not answered, and only there.
func TestCancelTellsOfMetersUnderWay(t *testing.T) {
	for _, answered := range []bool{true, false} {
		w := onFeeders(func(o *Options) { o.Budgets = []Budget{{1, time.Minute}} })
		req := below("C1", api.CommandDisconnect)
		req.ExpiresIn = 7200
		id := w.create(t, req)
		sent := w.commit()
		if len(sent) != 1 {
			t.Fatalf("sent %+v, want one meter", sent)
		}
		if answered {
			w.result(sent[0].ID, id, record.OpDisconnect, record.Done, 0)
			w.commit()
		}
		c, err := w.e.Cancel(id, "bob")
		if err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(c.History[len(c.History)-1].Detail, "already sent"); told == answered {
			t.Errorf("answered %v: %+v", answered, c.History)
		}
	}
}
