package mdms

import (
	"math/bits"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/mdms/vee"
)

// masterOf is what the registry knows of a meter at a time, for the rules. Values and registers are those of the meter, before
// the factor of transformers of current and voltage, which bills apply; so the fuse is taken to the meter's side of it.
func (m *MDMS) masterOf(id string, at uint32) vee.Master {
	if m.o.VEE.Master != nil {
		return m.o.VEE.Master(id, at)
	}
	u, _, ok := m.registry.Place(id, at, registry.Now)
	if !ok {
		return vee.Master{NoMaster: true}
	}
	out := vee.Master{Generator: u.PV, Inactive: u.Contract == cim.ContractVacant || u.Contract == cim.ContractDisconnected,
		Phases: bits.OnesCount8(uint8(u.Phases & (cim.PhaseA | cim.PhaseB | cim.PhaseC))), Factor: 1}
	if u.TimeZone != "" { // else that of the rule set
		out.Zone, _ = registry.Location(u.TimeZone) // it was looked up when it was imported; nil where this machine does not know it
	}
	if u.Fuse > 0 {
		out.Fuse = float64(u.Fuse) / 10 * cim.FactorOne / float64(max(u.Factor, 1))
	}
	if a, ok := m.registry.Meter(id, at, registry.Now); ok {
		if out.Dials = vee.NeverOver; a.Dials > 0 {
			out.Dials = min(int(a.Dials)+3, vee.NeverOver) // they count kWh, we Wh
		}
	}
	return out
}
