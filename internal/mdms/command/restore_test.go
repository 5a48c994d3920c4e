package command

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

func TestRestartGoesOn(t *testing.T) {
	w := newWorld("M1")
	req := on("M1", api.CommandDisconnect)
	req.ExpiresIn = 600
	a := w.create(t, req)
	b := w.create(t, on("M1", api.CommandPing))
	expiry := sentCommand(t, w.commit()[0]).Expiry
	w.pass(20 * time.Second)
	w.restart(t)
	got := w.commit()
	if len(got) != 1 || sentCommand(t, got[0]).ID != a || sentCommand(t, got[0]).Expiry != expiry {
		t.Fatalf("sent %+v, want the same id with the same expiry", got)
	}
	w.wantState(t, b, api.CommandQueued)
	w.result("M1", a, record.OpDisconnect, record.Done, 0)
	w.wantState(t, a, api.CommandDone)
	if got := w.commit(); len(got) != 1 || sentCommand(t, got[0]).ID != b {
		t.Errorf("sent %+v, want the next", got)
	}
}

func TestExpiredWhileAway(t *testing.T) {
	w := newWorld("M1")
	id := w.create(t, on("M1", api.CommandDisconnect))
	w.commit()
	w.pass(time.Hour)
	w.restart(t)
	if got := w.commit(); len(got) != 0 {
		t.Errorf("sent after its expiry: %+v", got)
	}
	// A result that waited on the bus still counts.
	w.wantState(t, id, api.CommandSent)
	w.result("M1", id, record.OpDisconnect, record.Done, 0)
	w.wantState(t, id, api.CommandDone)

	id = w.create(t, on("M1", api.CommandDisconnect))
	w.commit()
	w.pass(time.Hour)
	w.restart(t)
	w.after(6 * time.Second)
	w.wantState(t, id, api.CommandExpired)
}

func TestDeliveredIsAskedAgainAfterARestart(t *testing.T) {
	w := newWorld("M1")
	id := w.create(t, on("M1", api.CommandRead))
	w.commit()
	w.result("M1", id, record.OpRead, record.Delivered, 0)
	w.commit()
	w.restart(t)
	if got := w.commit(); len(got) != 1 {
		t.Errorf("sent %+v, want one repeat: its result may have been lost with the centre", got)
	}
}

func TestRestoreLeavesOutWhatItCannotRead(t *testing.T) {
	w := newWorld("M1")
	id := w.create(t, on("M1", api.CommandPing))
	w.keep()
	err := w.e.Restore([]store.Command{{ID: 77, Open: true, Doc: []byte("{")}, {ID: 78, Open: true, Doc: []byte("{}")}}, nil)
	if err == nil {
		t.Error("no error")
	}
	w.wantState(t, id, api.CommandQueued)

	w = newWorld("M1")
	id = w.create(t, on("M1", api.CommandPing))
	w.keep()
	delete(w.devices, "M1")
	w.restart(t)
	w.wantState(t, id, api.CommandFailed)
	w.keep()
	if w.store[id].Open {
		t.Error("still open in the store")
	}
}
