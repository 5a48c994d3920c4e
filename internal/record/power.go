package record

// PowerSize is the length of a power message.
const PowerSize = 16

// PowerKind says what happened to the power.
type PowerKind uint8

// The kinds.
const (
	PowerLost     PowerKind = 1 // the last gasp
	PowerRestored PowerKind = 2
	BatteryLow    PowerKind = 3
)

// Power (0x05) tells of the device's supply.
type Power struct {
	Header
	Kind      PowerKind
	Sequence  uint16
	OnBattery uint32 // seconds
}

// DecodePower reads a power message.
func DecodePower(b []byte) (Power, error) {
	h, err := expect(b, TypePower)
	if err != nil {
		return Power{}, err
	}
	m := Power{h, PowerKind(b[8]), u16(b[10:]), u32(b[12:])}
	if m.Kind < PowerLost || m.Kind > BatteryLow {
		return m, at("power: kind", 8, ErrValue, "%d, want 1 to 3", m.Kind)
	}
	return m, nil
}

// Append encodes m behind dst.
func (m Power) Append(dst []byte) []byte {
	return put32(put16(append(m.append(dst, TypePower), byte(m.Kind), 0), m.Sequence), m.OnBattery)
}

// EventSize is the length of a device event.
const EventSize = 16

// The codes of device events.
const (
	EventClosedAtMeter uint16 = 1 // a person closed the armed breaker
	// EventSleeps: from now on the device sleeps, and wakes to fetch what waits for it at the event's time and every so many
	// seconds behind it, which is the parameter; 0: it stays awake. It counts until the next registration.
	EventSleeps uint16 = 2
	// EventRestarts: the device restarts, as after the activation of new firmware, and is back within as many seconds as the
	// parameter says; the centre believes up to 15 minutes.
	EventRestarts uint16 = 3
)

// Event (0x07) is anything else a device wants to tell.
type Event struct {
	Header
	Code      uint16
	Parameter uint32
}

// DecodeEvent reads a device event.
func DecodeEvent(b []byte) (Event, error) {
	h, err := expect(b, TypeEvent)
	if err != nil {
		return Event{}, err
	}
	return Event{h, u16(b[8:]), u32(b[12:])}, nil
}

// Append encodes m behind dst.
func (m Event) Append(dst []byte) []byte {
	return put32(put16(put16(m.append(dst, TypeEvent), m.Code), 0), m.Parameter)
}
