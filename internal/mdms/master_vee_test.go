package mdms

import (
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/mdms/vee"
)

func TestMasterOf(t *testing.T) {
	m := &MDMS{registry: registry.New()}
	if got := m.masterOf("M1", 9); got != (vee.Master{NoMaster: true}) {
		t.Errorf("unknown meter: %+v", got)
	}
	m.registry.Add(registry.Change{UsagePoint: &cim.UsagePoint{MRID: "U1", TimeZone: "Asia/Tokyo", Fuse: 400, Factor: 20_000, PV: true, Phases: cim.PhaseA | cim.PhaseB | cim.PhaseC | cim.PhaseN, Contract: cim.ContractVacant}},
		registry.Change{Meter: &cim.MeterAsset{MRID: "M1", Dials: 6}},
		registry.Change{Installation: &cim.MeterInstallation{UsagePoint: "U1", Meter: "M1", Start: 5}})
	tokyo, err := registry.Location("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	want := vee.Master{Zone: tokyo, Dials: 9, Fuse: 2, Phases: 3, Factor: 1, Generator: true, Inactive: true}
	if got := m.masterOf("M1", 9); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	m.o.VEE.Master = func(string, uint32) vee.Master { return vee.Master{Fuse: 7} }
	if got := m.masterOf("M1", 9); got != (vee.Master{Fuse: 7}) {
		t.Errorf("%+v", got)
	}
}
