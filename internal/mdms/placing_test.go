package mdms

import (
	"fmt"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestPlacedInParts: what a change of the registry says of a few devices counts at once, of very many it is taken over in parts; and what
// holds from a time on counts within an hour of it.
func TestPlacedInParts(t *testing.T) {
	const n = 2*placePart + 10
	m := bare(t, clock.New(unix(t0), 1))
	m.now = t0
	for i := range n {
		m.add(cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%d", i), Interval: 30, Sequence: 1, Firmware: 1, LastSeen: t0})
	}
	on := func(feeder string) (n int) {
		for _, d := range m.devices {
			if m.grid.all[d.place.feeder] == feeder {
				n++
			}
		}
		return n
	}
	change := func(changes ...registry.Change) {
		var told touched
		for i := range changes {
			changes[i].Recorded = 1
			m.registry.Add(changes[i])
			told.add(&changes[i])
		}
		m.placesChanged(&told)
	}
	turn := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.watch(t0)
	}
	var all []registry.Change
	for i := range n {
		up := fmt.Sprintf("UP%d", i)
		all = append(all, registry.Change{UsagePoint: &cim.UsagePoint{MRID: up, Feeder: "F1", Factor: 1000}},
			registry.Change{Installation: &cim.MeterInstallation{Meter: fmt.Sprintf("M%d", i), UsagePoint: up, Start: t0 - 1000}})
	}
	change(all...)
	if got := on("F1"); got != placePart {
		t.Errorf("%d are placed at once, want %d", got, placePart)
	}
	for range 3 {
		turn()
	}
	if got := on("F1"); got != n {
		t.Errorf("%d of %d are placed", got, n)
	}
	for m.replacing.going {
		turn()
	}
	change(registry.Change{UsagePoint: &cim.UsagePoint{MRID: "UP7", Feeder: "F2", Factor: 1000}}, registry.Change{UsagePoint: &cim.UsagePoint{MRID: "UP8", From: t0 + 1, Feeder: "F3", Factor: 1000}},
		registry.Change{Installation: &cim.MeterInstallation{Meter: "M9999999", UsagePoint: "UP9", Start: t0 - 500}})
	if on("F2") != 1 || on("F3") != 0 || m.byID["M9999999"] != nil {
		t.Errorf("%d on F2, %d on F3", on("F2"), on("F3"))
	}
	turn()
	if m.byID["M9999999"] == nil {
		t.Error("a meter that is installed and was never heard has no account")
	}
	m.registry.Add(registry.Change{Recorded: 2, UsagePoint: &cim.UsagePoint{MRID: "UP8", From: t0 - 1, Feeder: "F3", Factor: 1000}}) // as if time had passed
	m.placedHour = 0
	for range 4 {
		turn()
	}
	if on("F3") != 1 {
		t.Errorf("%d on F3 an hour later", on("F3"))
	}
}
