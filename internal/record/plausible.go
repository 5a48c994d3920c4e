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
	switch {
	case m.Import > MaxRegister:
		return fmt.Errorf("reading: import register %d Wh, want at most %d: %w", m.Import, uint64(MaxRegister), ErrValue)
	case m.Export > MaxRegister:
		return fmt.Errorf("reading: export register %d Wh, want at most %d: %w", m.Export, uint64(MaxRegister), ErrValue)
	case m.Power > MaxPower || m.Power < -MaxPower:
		return fmt.Errorf("reading: active power %d W, want at most %d in either direction: %w", m.Power, MaxPower, ErrValue)
	}
	return nil
}

// Plausible is like that of Reading.
func (m *Profile) Plausible() error {
	if m.Register > MaxRegister && m.Register != NoRegister {
		return fmt.Errorf("profile: register %d Wh, want at most %d: %w", m.Register, uint64(MaxRegister), ErrValue)
	}
	most := MaxEnergy(uint32(m.Slot) * 60)
	for i, v := range m.Values[:min(m.Count, ProfileValues)] {
		if v != NoValue && uint64(v) > most {
			return fmt.Errorf("profile: value %d of %d Wh, want at most %d in %d minutes: %w", i+1, v, most, m.Slot, ErrValue)
		}
	}
	return nil
}
