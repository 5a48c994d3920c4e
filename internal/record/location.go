package record

// LocationSize is the length of a location message.
const LocationSize = 24

// Capabilities say what a device can do.
type Capabilities uint16

// The capabilities.
const (
	CapBreaker Capabilities = 1 << iota
	CapBattery
	CapSleeping
	CapExport // it keeps an export register
)

// Location (0x01) registers where a device is: on every connection, repeated until it is acknowledged.
type Location struct {
	Header
	Sequence     uint32 // of the registration: grows by one with each attempt to connect
	Firmware     uint32
	Interval     uint16 // minutes
	Capabilities Capabilities
	Oldest       uint32 // start of the oldest interval that the device keeps
}

// DecodeLocation reads a location message.
func DecodeLocation(b []byte) (Location, error) {
	h, err := expect(b, TypeLocation)
	if err != nil {
		return Location{}, err
	}
	return Location{h, u32(b[8:]), u32(b[12:]), u16(b[16:]), Capabilities(u16(b[18:])), u32(b[20:])}, nil
}

// Append encodes m behind dst.
func (m Location) Append(dst []byte) []byte {
	dst = put32(put32(m.append(dst, TypeLocation), m.Sequence), m.Firmware)
	return put32(put16(put16(dst, m.Interval), uint16(m.Capabilities)), m.Oldest)
}

// LocationAckSize is the length of a location acknowledgement.
const LocationAckSize = 16

// LocationAck (0x81) answers a location; its time is the centre's clock.
type LocationAck struct {
	Header
	Sequence uint32 // that the centre has; higher than the device's own: the device connects anew with this plus one
	Interval uint16 // minutes; 0 keeps the device's own
}

// DecodeLocationAck reads a location acknowledgement.
func DecodeLocationAck(b []byte) (LocationAck, error) {
	h, err := expect(b, TypeLocationAck)
	if err != nil {
		return LocationAck{}, err
	}
	return LocationAck{h, u32(b[8:]), u16(b[12:])}, nil
}

// Append encodes m behind dst.
func (m LocationAck) Append(dst []byte) []byte {
	return put16(put16(put32(m.append(dst, TypeLocationAck), m.Sequence), m.Interval), 0)
}

// LostSize is the length of a lost message.
const LostSize = 12

// Lost (0x06) is the will of a device; its time is when the connection was made.
type Lost struct {
	Header
	Sequence uint32 // of the registration that the connection belongs to
}

// DecodeLost reads a lost message.
func DecodeLost(b []byte) (Lost, error) {
	h, err := expect(b, TypeLost)
	if err != nil {
		return Lost{}, err
	}
	return Lost{h, u32(b[8:])}, nil
}

// Append encodes m behind dst.
func (m Lost) Append(dst []byte) []byte { return put32(m.append(dst, TypeLost), m.Sequence) }
