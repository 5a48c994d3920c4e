package record

import "fmt"

// What a meter can say. The bounds are far above every meter that has 2^32 Wh intervals, and keep a number exact in JSON.
const (
	MaxRegister = 1<<53 - 1  // Wh
	MaxPower    = 10_000_000 // W, in either direction
)

// MaxEnergy is the most that passes a meter in a number of seconds, Wh.
func MaxEnergy(seconds uint32) uint64 { return MaxPower * uint64(seconds) / 3600 }

// Plausible returns an error that wraps ErrValue and names the field, if one holds what no meter can measure.
func (m Reading) Plausible() error {
	return plausible("reading", 8, m.Import, m.Export, m.Power)
}

// plausible looks at values that stand one after the other in a message, from the offset on.
func plausible(message string, offset int, imported, exported uint64, power int32) error {
	switch {
	case imported > MaxRegister:
		return at(message+": import register", offset, ErrValue, "%d Wh, want at most %d", imported, uint64(MaxRegister))
	case exported > MaxRegister:
		return at(message+": export register", offset+8, ErrValue, "%d Wh, want at most %d", exported, uint64(MaxRegister))
	case power > MaxPower || power < -MaxPower:
		return at(message+": active power", offset+16, ErrValue, "%d W, want at most %d in either direction", power, MaxPower)
	}
	return nil
}

// Plausible is like that of Reading.
func (m *Profile) Plausible() error {
	if m.Register > MaxRegister && m.Register != NoRegister {
		return at("profile: register", 16, ErrValue, "%d Wh, want at most %d", m.Register, uint64(MaxRegister))
	}
	most := MaxEnergy(uint32(m.Slot) * 60)
	for i, v := range m.Values[:min(m.Count, ProfileValues)] {
		if v != NoValue && uint64(v) > most {
			return at(fmt.Sprintf("profile: value %d", i+1), 32+4*i, ErrValue, "%d Wh, want at most %d in %d minutes", v, most, m.Slot)
		}
	}
	return nil
}
