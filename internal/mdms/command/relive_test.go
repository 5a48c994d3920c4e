package command

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// parts counts what the trail tells of meters' parts, by meter and state.
func (w *world) parts(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, e := range w.trail {
		if e.Action != "command.meter" {
			continue
		}
		var d transition
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			t.Fatal(err)
		}
		out[e.Meter+" "+d.State]++
	}
	return out
}

// TestRestartReadsTheTrail: a centre that dies before the document of a command for many was written again knows from the trail which
// meters it went out to and which have answered.
func TestRestartReadsTheTrail(t *testing.T) {
	for _, typ := range []string{api.CommandDisconnect, api.CommandReconnect} {
		t.Run(typ, func(t *testing.T) {
			w := newWorld(many(12)...)
			w.o.Verify = true
			w.o.Feeder = func(*cim.EndDevice) string { return "F" }
			w.o.Budgets, w.o.ReconnectBudgets = []Budget{{5, time.Minute}}, []Budget{{5, time.Minute}}
			w.e = New(w.o)
			req := below("C1", typ)
			req.ExpiresIn = 3600
			id := w.create(t, req)
			op, _ := opcode(typ)
			w.commit()
			out := map[string]bool{}
			for _, d := range w.sends {
				out[d.ID] = true
			}
			if len(w.sends) != 5 || len(out) != 5 {
				t.Fatalf("sent to %v, want the budget's 5", out)
			}
			for _, d := range w.sends[:2] {
				w.result(d.ID, id, op, record.Done, 0)
				delete(out, d.ID)
			}
			w.keep()
			if doc := stored(t, w.store[id]); doc.Bulk.States[api.CommandQueued] != 12 {
				t.Fatalf("the document was written: %+v", doc.Bulk)
			}
			w.restart(t)
			want := map[string]int{api.CommandDone: 2, api.CommandSent: 3, api.CommandQueued: 7}
			if c := w.get(t, id); c.State != api.CommandSent || c.Sends != 5 || !maps.Equal(c.Bulk.States, want) || c.Bulk.Verification[api.VerifyPending] != 2 {
				t.Errorf("after the restart %s, %d sends, %+v, want %v", c.State, c.Sends, c.Bulk, want)
			}
			again := map[string]bool{}
			for _, d := range w.commit() {
				if sentCommand(t, d).ID == id {
					again[d.ID] = true
				}
			}
			if !maps.Equal(again, out) {
				t.Errorf("sent to %v, want the 3 that have not answered: %v", again, out)
			}
			for range 10 {
				for _, d := range w.after(12 * time.Second) {
					w.result(d.ID, id, op, record.Done, 0)
				}
			}
			w.keep()
			w.wantState(t, id, api.CommandDone)
			for part, n := range w.parts(t) {
				if n != 1 {
					t.Errorf("the trail tells %d times %s", n, part)
				}
			}
		})
	}
}

// TestRestartReadsOnlyWhatMayBeNew: what is far older than documents are held back is not read, however long the trail is.
func TestRestartReadsOnlyWhatMayBeNew(t *testing.T) {
	w := newWorld(many(3)...)
	w.create(t, func() api.CommandRequest { r := below("C1", api.CommandReconnect); r.ExpiresIn = 7200; return r }())
	w.commit()
	w.keep()
	for range 5 * relivePage {
		w.pass(100 * time.Millisecond)
		w.trail = append(w.trail, audit.Entry{Time: w.wall, Actor: "alice", Action: "edit.make"})
	}
	counted := &counting{Reader: w}
	w.o.Reader = counted
	w.restart(t)
	if counted.entries > 2*relivePage {
		t.Errorf("%d entries read, want at most two pages of %d", counted.entries, relivePage)
	}
}

// TestBroadcastIsRelived: a broadcast that the document does not tell of went out all the same, and is not sent again to all.
func TestBroadcastIsRelived(t *testing.T) {
	w := newWorld(many(300)...)
	id := w.create(t, below("C1", api.CommandReconnect))
	w.commit()
	if doc := stored(t, w.store[id]); doc.State != api.CommandQueued {
		t.Fatalf("the document was written: %+v", doc)
	}
	w.restart(t)
	if c := w.get(t, id); c.Sends != 1 || c.Bulk.States[api.CommandSent] != 300 || len(c.History) != 2 {
		t.Errorf("after the restart %+v", c)
	}
	if got := w.commit(); len(got) != 0 {
		t.Errorf("%d sent before the stragglers' turn", len(got))
	}
	if got := w.after(3 * time.Second); len(got) != 300 || got[0].ID == "" {
		t.Errorf("%d sent, want 300 repeats, one by one", len(got))
	}
}

// TestRestartWithoutItsTrail: what cannot be read is named, and the command goes on.
func TestRestartWithoutItsTrail(t *testing.T) {
	w := newWorld(many(3)...)
	id := w.create(t, below("C1", api.CommandReconnect))
	w.commit()
	w.o.Reader = &counting{Reader: w, err: store.ErrNotFound}
	w.e = New(w.o)
	if err := w.e.Restore([]store.Command{w.store[id]}, nil); err == nil {
		t.Error("no error")
	}
	if got := w.commit(); len(got) != 1 {
		t.Errorf("sent %+v, want the broadcast again", got)
	}
}

type counting struct {
	Reader
	entries int
	err     error
}

func (c *counting) Audit(ctx context.Context, after uint64, limit int) ([]audit.Record, error) {
	rs, err := c.Reader.Audit(ctx, after, limit)
	c.entries += len(rs)
	return rs, cmp.Or(c.err, err)
}
