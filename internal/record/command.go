package record

import "fmt"

// CommandSize is the length of a command.
const CommandSize = 32

// Opcode says what a command does.
type Opcode uint8

// The opcodes.
const (
	OpRead        Opcode = 1
	OpProfile     Opcode = 2 // a, b: from time, to time; 0, 0: the last 6 hours
	OpDisconnect  Opcode = 3
	OpReconnect   Opcode = 4 // a = 1: arm only
	OpSetInterval Opcode = 5 // a: minutes
	OpSetClock    Opcode = 6 // a: the time
	OpPing        Opcode = 7
	OpGroups      Opcode = 8 // in results only: groups travel in their own message

	OpFirmwareStatus   Opcode = 9  // how far it is with an image
	OpFirmwareActivate Opcode = 10 // a, b: the id of the image
	OpFirmwareDrop     Opcode = 11 // a, b: the id of the image
)

// String is the command's name in the API.
func (o Opcode) String() string {
	names := [...]string{"", "read", "profile", "disconnect", "reconnect", "interval", "clock", "ping", "groups", "firmware-status", "firmware-activate",
		"firmware-drop"}
	if o >= OpRead && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("opcode %d", uint8(o))
}

// OwnKeyOnly reports whether a command, where there are keys, has to be sealed with the device's own: it moves a breaker, the clock by
// which expiries are judged, or firmware (docs/contract.md, sections 3 and 9).
func OwnKeyOnly(o Opcode) bool {
	return o == OpDisconnect || o == OpReconnect || o == OpSetClock || o == OpFirmwareActivate || o == OpFirmwareDrop
}

// Plain reports whether a device with a key takes a command that is not sealed: it changes nothing.
func Plain(o Opcode) bool {
	return o == OpRead || o == OpProfile || o == OpPing || o == OpFirmwareStatus
}

// Command (0x82) tells a device to do something; a device carries out an id once.
type Command struct {
	Header
	ID      uint64
	Opcode  Opcode
	Channel Channel // of a load profile
	Expiry  uint32  // time; 0: none, refused for OpDisconnect and OpReconnect
	A, B    uint32
}

// Image is the image that a firmware command is about.
func (m *Command) Image() ImageID { return ImageID(uint64(m.A)<<32 | uint64(m.B)) }

// SetImage sets it.
func (m *Command) SetImage(id ImageID) { m.A, m.B = uint32(id>>32), uint32(id) }

// DecodeCommand reads a command. A reserved opcode is ErrOpcode, with the command as far as it was understood.
func DecodeCommand(b []byte) (Command, error) {
	h, err := expect(b, TypeCommand)
	if err != nil {
		return Command{}, err
	}
	m := Command{h, u64(b[8:]), Opcode(b[16]), Channel(b[17]), u32(b[20:]), u32(b[24:]), u32(b[28:])}
	if m.Opcode < OpRead || m.Opcode > OpFirmwareDrop || m.Opcode == OpGroups {
		return m, at("command: opcode", 16, ErrOpcode, "%d, want 1 to 7 or 9 to 11", uint8(m.Opcode))
	}
	if m.Opcode == OpProfile && m.Channel > ChannelExport && m.Channel != ChannelAll {
		return m, at("command: channel", 17, ErrValue, "%d, want 0, 1 or 255", m.Channel)
	}
	return m, nil
}

// Append encodes m behind dst.
func (m Command) Append(dst []byte) []byte {
	dst = append(put64(m.append(dst, TypeCommand), m.ID), byte(m.Opcode), byte(m.Channel), 0, 0)
	return put32(put32(put32(dst, m.Expiry), m.A), m.B)
}

// GroupsSize is the length of a groups message, MaxGroups how many groups a device can be in.
const (
	GroupsSize = 56
	MaxGroups  = 8
)

// Groups (0x83) tells a device its whole new membership; answered by a result with opcode OpGroups.
type Groups struct {
	Header
	ID     uint64
	Expiry uint32 // time; 0: none
	Count  uint8
	Groups [MaxGroups]uint32
}

// DecodeGroups reads a groups message.
func DecodeGroups(b []byte) (Groups, error) {
	h, err := expect(b, TypeGroups)
	if err != nil {
		return Groups{}, err
	}
	m := Groups{Header: h, ID: u64(b[8:]), Expiry: u32(b[16:]), Count: b[20]}
	if m.Count > MaxGroups {
		return m, at("groups: count", 20, ErrValue, "%d, want at most %d", m.Count, MaxGroups)
	}
	for i := range m.Groups {
		m.Groups[i] = u32(b[24+4*i:])
	}
	return m, nil
}

// Append encodes m behind dst; the groups behind Count are sent as 0.
func (m Groups) Append(dst []byte) []byte {
	dst = put32(put64(m.append(dst, TypeGroups), m.ID), m.Expiry)
	dst = append(dst, min(m.Count, MaxGroups), 0, 0, 0)
	for i, g := range m.Groups {
		if i >= int(m.Count) {
			g = 0
		}
		dst = put32(dst, g)
	}
	return dst
}
