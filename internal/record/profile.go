package record

// ProfileSize is the length of a load profile part, ProfileValues how many intervals it has room for, and NoValue what
// stands for an interval that the device does not hold.
const (
	ProfileSize   = 80
	ProfileValues = 12
	NoValue       = 0xFFFFFFFF
)

// Channel is a register of a meter.
type Channel uint8

// The channels; ChannelAll stands in commands only.
const (
	ChannelImport Channel = 0
	ChannelExport Channel = 1
	ChannelAll    Channel = 255
)

// Profile (0x03) is one part of a load profile; its time is the start of the part's first slot.
type Profile struct {
	Header
	Command  uint64
	Register uint64 // the channel's register at the start of this part, Wh; NoRegister where it is not known
	Slot     uint16 // minutes
	Count    uint8  // values in this part
	Channel  Channel
	Part     uint16 // from 1
	Parts    uint16
	Values   [ProfileValues]uint32 // Wh per interval, NoValue where the device holds none
}

// DecodeProfile reads a load profile part.
func DecodeProfile(b []byte) (Profile, error) {
	h, err := expect(b, TypeProfile)
	if err != nil {
		return Profile{}, err
	}
	m := Profile{Header: h, Command: u64(b[8:]), Register: u64(b[16:]), Slot: u16(b[24:]), Count: b[26], Channel: Channel(b[27]),
		Part: u16(b[28:]), Parts: u16(b[30:])}
	for i := range m.Values {
		m.Values[i] = u32(b[32+4*i:])
	}
	return m, m.check()
}

func (m *Profile) check() error {
	switch {
	case m.Count == 0 || m.Count > ProfileValues:
		return at("profile: values here", 26, ErrValue, "%d, want 1 to %d", m.Count, ProfileValues)
	case m.Slot == 0 || m.Slot > 1440 || 1440%m.Slot != 0:
		return at("profile: slot", 24, ErrValue, "%d minutes, want a divisor of a day", m.Slot)
	case m.Channel > ChannelExport:
		return at("profile: channel", 27, ErrValue, "%d, want 0 or 1", m.Channel)
	case m.Part == 0 || m.Part > m.Parts:
		return at("profile: part", 28, ErrValue, "%d of %d", m.Part, m.Parts)
	case m.Time%(uint32(m.Slot)*60) != 0:
		return at("profile: time", 4, ErrValue, "%d is not the start of a slot of %d minutes", m.Time, m.Slot)
	}
	return nil
}

// Append encodes m behind dst; values behind Count are sent as NoValue.
func (m *Profile) Append(dst []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return dst, err
	}
	dst = put64(put64(m.append(dst, TypeProfile), m.Command), m.Register)
	dst = append(put16(dst, m.Slot), m.Count, byte(m.Channel))
	dst = put16(put16(dst, m.Part), m.Parts)
	for i, v := range m.Values {
		if i >= int(m.Count) {
			v = NoValue
		}
		dst = put32(dst, v)
	}
	return dst, nil
}
