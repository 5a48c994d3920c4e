package command

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
)

// waiting is a world in which one meter in an hour may be disconnected, and M0 has been.
func waiting(t *testing.T) *world {
	t.Helper()
	w := newWorld("M0", "M1", "M2")
	w.o.Budgets = []Budget{{1, time.Hour}}
	w.e = New(w.o)
	id := w.create(t, on("M0", api.CommandDisconnect))
	w.commit()
	w.result("M0", id, record.OpDisconnect, record.Done, 0)
	return w
}

func during(r api.CommandRequest, seconds int) api.CommandRequest {
	r.ExpiresIn = seconds
	return r
}

// TestReconnectionDoesNotWait: a disconnection that waits for its budget is ended by a later reconnection, which goes out at once.
func TestReconnectionDoesNotWait(t *testing.T) {
	w := waiting(t)
	cut := w.create(t, during(on("M1", api.CommandDisconnect), 7200))
	if got := w.commit(); len(got) != 0 {
		t.Fatalf("beyond the budget %+v went out", got)
	}
	back := w.create(t, on("M1", api.CommandReconnect))
	got := w.commit()
	if len(got) != 1 || got[0].ID != "M1" || sentCommand(t, got[0]).Opcode != record.OpReconnect {
		t.Fatalf("asked to reconnect M1, %+v went out", got)
	}
	w.wantState(t, cut, api.CommandCancelled)
	h := w.get(t, cut).History
	if last := h[len(h)-1]; !strings.Contains(last.Detail, "superseded by "+formatID(back)) {
		t.Errorf("the disconnection ended with %q", last.Detail)
	}
	w.restart(t)
	for range 3 {
		for _, d := range w.after(time.Hour) {
			if sentCommand(t, d).Opcode == record.OpDisconnect {
				t.Errorf("after a restart %s is disconnected all the same", d.ID)
			}
		}
	}
}

// TestReconnectionOutOfMany: of a disconnection of many only the meter that is to be reconnected is taken out, also before the
// message for all has gone out.
func TestReconnectionOutOfMany(t *testing.T) {
	for _, first := range []bool{true, false} {
		w := newWorld("M0", "M1", "M2")
		if !first {
			w = waiting(t)
		}
		cut := w.create(t, during(below("C1", api.CommandDisconnect), 30*3600))
		if !first {
			w.commit()
		}
		w.create(t, on("M1", api.CommandReconnect))
		sent := map[string]record.Opcode{}
		for h := range time.Duration(5) {
			for _, d := range w.after(h * time.Hour) {
				if d.ID == "" {
					t.Fatal("the disconnection went to all")
				}
				c := sentCommand(t, d)
				if sent[d.ID] == 0 {
					sent[d.ID] = c.Opcode
				}
				w.result(d.ID, c.ID, c.Opcode, record.Done, 0)
			}
		}
		if len(sent) != 3 || sent["M0"] != record.OpDisconnect || sent["M1"] != record.OpReconnect || sent["M2"] != record.OpDisconnect {
			t.Errorf("first %v: %v went out", first, sent)
		}
		w.wantState(t, cut, api.CommandDone)
		if b := w.get(t, cut).Bulk; b.States[api.CommandCancelled] != 1 || b.States[api.CommandDone] != 2 {
			t.Errorf("first %v: the disconnection counts %v", first, b.States)
		}
	}
}

// TestReconnectionFollowsWhatWentOut: a disconnection that went out may still arrive, so the reconnection comes behind it; that of a
// scheduled one, and one that waits for approval, is not ended by an earlier word.
func TestReconnectionFollowsWhatWentOut(t *testing.T) {
	w := newWorld("M0", "M1", "M2")
	cut := w.create(t, on("M1", api.CommandDisconnect))
	w.commit()
	back := w.create(t, on("M1", api.CommandReconnect))
	if got := w.commit(); len(got) != 0 {
		t.Fatalf("the disconnection is in flight, and %+v went out", got)
	}
	w.result("M1", cut, record.OpDisconnect, record.Done, 0)
	if got := w.commit(); len(got) != 1 || sentCommand(t, got[0]).ID != back {
		t.Errorf("%+v went out behind it", got)
	}
	w.result("M1", back, record.OpReconnect, record.Done, 0)
	at := w.wall.Add(time.Hour)
	r := on("M2", api.CommandDisconnect)
	r.At = &at
	later := w.create(t, r)
	w.create(t, on("M2", api.CommandReconnect))
	w.commit()
	w.wantState(t, later, api.CommandQueued)
}

// TestReconnectionOfOneIsNotStaggered: it ends the part that its meter has in a reconnection of many which waits.
func TestReconnectionOfOneIsNotStaggered(t *testing.T) {
	w := onFeeders(func(o *Options) { o.ReconnectBudgets = []Budget{{1, time.Hour}} })
	w.create(t, during(below("C1", api.CommandReconnect), 30*3600))
	out := map[string]bool{}
	for _, d := range w.commit() {
		out[d.ID] = true
	}
	for _, d := range w.list {
		if !out[d.ID] {
			one := w.create(t, on(d.ID, api.CommandReconnect))
			if got := w.commit(); len(got) != 1 || sentCommand(t, got[0]).ID != one {
				t.Errorf("%s alone: %+v went out", d.ID, got)
			}
			return
		}
	}
	t.Error("all went out at once")
}

// TestNotSentIsNotCounted: what never went out is not counted among what somebody disconnected in the last hour, over restarts either;
// what still waits is.
func TestNotSentIsNotCounted(t *testing.T) {
	w := approving(12, 4, Budget{2, time.Hour})
	cut := func(i int) uint64 {
		id := w.create(t, during(by("alice", on(fmt.Sprintf("M%d", i), api.CommandDisconnect)), 8*3600))
		w.commit()
		return id
	}
	wait := func(i int) { t.Helper(); w.wantState(t, cut(i), api.CommandQueued) }
	for i := range 2 {
		w.wantState(t, cut(i), api.CommandSent)
	}
	wait(2)
	w.create(t, by("bob", on("M2", api.CommandReconnect)))
	w.commit()
	last := cut(3)
	w.wantState(t, last, api.CommandQueued) // the third, for the one before was superseded
	if _, err := w.e.Cancel(last, "alice"); err != nil {
		t.Fatal(err)
	}
	wait(4)
	w.wantState(t, cut(5), api.CommandPendingApproval)
	w.restart(t)
	w.wantState(t, cut(6), api.CommandPendingApproval) // two went out and one waits
}
