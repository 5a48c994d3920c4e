package command

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// TestVeryMany: a command for more meters than one Tick plans goes out to each of them once, ahead of what is asked of one of them later;
// what is cancelled in the middle goes to nobody else, also after a restart.
func TestVeryMany(t *testing.T) {
	var names []string
	for i := range 2*planAtOnce + 100 {
		names = append(names, fmt.Sprintf("M%06d", i))
	}
	w := newWorld(names...)
	w.o.Pace = 3000
	w.e = New(w.o)
	var devices []*cim.EndDevice
	for _, n := range names {
		devices = append(devices, w.devices[n])
	}
	req := api.CommandRequest{Type: api.CommandRead, Target: api.Target{Query: &api.TargetQuery{State: api.StateOnline}}, ExpiresIn: 3600}
	many, err := w.e.CreateFor(req, NewFound(devices, nil))
	if err != nil {
		t.Fatal(err)
	}
	last := names[len(names)-1]
	one := w.create(t, on(last, api.CommandRead))
	got := w.commit()
	for range 4 {
		got = append(got, w.after(100*time.Millisecond)...)
	}
	if len(got) != 5*3000 {
		t.Fatalf("%d sent", len(got))
	}
	once := map[string]bool{}
	for _, d := range got {
		if sentCommand(t, d).ID == one {
			t.Fatal("the later command overtook the earlier one")
		}
		if once[d.ID] {
			t.Fatalf("it went to %s twice", d.ID)
		}
		once[d.ID] = true
	}
	id, err := ParseID(many.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.Cancel(id, "bob"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		for _, d := range w.after(100 * time.Millisecond) {
			if c := sentCommand(t, d); c.ID != one || c.Opcode != record.OpRead {
				t.Fatalf("command %d goes out to %s after %d was cancelled", c.ID, d.ID, id)
			}
			one = 0
		}
	}
	if c := w.get(t, id); one != 0 || c.Bulk.States[api.CommandCancelled] != len(names) || len(w.e.paced[normal]) > 0 {
		t.Errorf("the later command went out: %v; %v; %d planned", one == 0, c.Bulk.States, len(w.e.paced[normal]))
	}
}
