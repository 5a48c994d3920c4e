package record

import "fmt"

// ResultSize is the length of a command result.
const ResultSize = 24

// Outcome says how a command ended, or that it has not yet.
type Outcome uint8

// The outcomes.
const (
	Done         Outcome = 0
	Refused      Outcome = 1
	Failed       Outcome = 2
	Expired      Outcome = 3
	NotSupported Outcome = 4
	Delivered    Outcome = 5 // still working: stops the repeats, not the expiry
)

// String is the outcome's name.
func (o Outcome) String() string {
	names := [...]string{"done", "refused", "failed", "expired", "not supported", "delivered"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// The details of outcome Refused, and one of Failed.
const (
	DetailClock      = 1 // the device's clock is not synchronised
	DetailNoExpiry   = 2 // a breaker command needs an expiry
	DetailValue      = 3 // a parameter is outside of what the device can do
	DetailUnfinished = 4 // of Failed: the device died while it switched, and the breaker is not where it was to go
	DetailSpent      = 5 // it may have been carried out before: what the device remembers does not reach back so far
	DetailMode       = 6 // the breaker's control mode has no such transition
	DetailImage      = 7 // the device does not hold this image, or not all of it
)

// Breaker is the state of a breaker.
type Breaker uint8

// The states of a breaker.
const (
	BreakerOpen   Breaker = 0
	BreakerClosed Breaker = 1
	BreakerReady  Breaker = 2 // ready to be closed by a person at the meter
	BreakerNone   Breaker = 255
)

// String is the state's name.
func (b Breaker) String() string {
	switch b {
	case BreakerOpen:
		return "open"
	case BreakerClosed:
		return "closed"
	case BreakerReady:
		return "ready"
	case BreakerNone:
		return "none"
	}
	return fmt.Sprintf("breaker %d", uint8(b))
}

// Result (0x04) answers a command.
type Result struct {
	Header
	Command uint64
	Opcode  Opcode
	Outcome Outcome
	Breaker Breaker
	Detail  uint32 // read: the reading's sequence; profile: slots that hold a value; refused: why
}

// DecodeResult reads a command result.
func DecodeResult(b []byte) (Result, error) {
	h, err := expect(b, TypeResult)
	if err != nil {
		return Result{}, err
	}
	m := Result{h, u64(b[8:]), Opcode(b[16]), Outcome(b[17]), Breaker(b[18]), u32(b[20:])}
	switch {
	case (m.Opcode < OpRead || m.Opcode > OpFirmwareDrop) && m.Outcome != NotSupported: // so a device answers one that it does not know
		return m, at("result: opcode", 16, ErrOpcode, "%d, want %d to %d", uint8(m.Opcode), OpRead, OpFirmwareDrop)
	case m.Outcome > Delivered:
		return m, at("result: outcome", 17, ErrValue, "%d, want 0 to %d", m.Outcome, Delivered)
	case m.Breaker > BreakerReady && m.Breaker != BreakerNone:
		return m, at("result: breaker", 18, ErrValue, "%d, want 0, 1, 2 or 255", m.Breaker)
	}
	return m, nil
}

// Append encodes m behind dst.
func (m Result) Append(dst []byte) []byte {
	dst = append(put64(m.append(dst, TypeResult), m.Command), byte(m.Opcode), byte(m.Outcome), byte(m.Breaker), 0)
	return put32(dst, m.Detail)
}
