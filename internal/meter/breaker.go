package meter

import (
	"fmt"

	"github.com/wattbus/wattbus/internal/record"
)

// ControlMode says which transitions of its breaker a meter makes: control_mode of DLMS class 70, the disconnect control. The
// zero value makes all of them: it takes both kinds of reconnection.
type ControlMode uint8

// The control modes, 0 to 6 of the standard.
const (
	ModeAny ControlMode = iota
	Mode0               // always connected
	Mode1               // reconnection is armed, closed by a person; a person may disconnect
	Mode2               // reconnection closes; a person may disconnect
	Mode3               // reconnection is armed
	Mode4               // reconnection closes
	Mode5               // as Mode1, and the meter itself may close
	Mode6               // as Mode3, and the meter itself may close
)

// ParseControlMode reads "any" or "", and 0 to 6.
func ParseControlMode(s string) (ControlMode, error) {
	switch {
	case s == "" || s == "any":
		return ModeAny, nil
	case len(s) == 1 && s[0] >= '0' && s[0] <= '6':
		return Mode0 + ControlMode(s[0]-'0'), nil
	}
	return 0, fmt.Errorf("control mode %.20q, want any, or 0 to 6 of DLMS class 70", s)
}

// Trigger is what may move a breaker.
type Trigger uint8

// The triggers of class 70.
const (
	RemoteDisconnect Trigger = iota // transitions b, c
	RemoteReconnect                 // a
	RemoteArm                       // d
	ManualReconnect                 // e, a person at the meter
	ManualDisconnect                // f
	LocalDisconnect                 // g, the limiter or prepayment
	LocalReconnect                  // h
)

// transitions are the letters that each mode makes.
var transitions = [...]string{ModeAny: "abcdefgh", Mode0: "", Mode1: "bcdefg", Mode2: "abcefg", Mode3: "bcdeg", Mode4: "abceg", Mode5: "bcdefgh", Mode6: "bcdegh"}

// next is where a trigger takes the breaker in a mode; ok is false where the mode does not make that transition. A trigger that
// finds the breaker where it would take it changes nothing and is fine.
//
//	          b remote, (f manual, g local: to ready)
//	connected ───────────────────────────────> disconnected
//	    ^  ^────────── a remote ─────────────────────┘ │ d remote (armed)
//	    │                                              v
//	    └── e manual, h local ──── ready for reconnection ── c remote ──> disconnected
func (m ControlMode) next(b record.Breaker, t Trigger) (to record.Breaker, ok bool) {
	has := func(letter byte) bool {
		for i := range len(transitions[m]) {
			if transitions[m][i] == letter {
				return true
			}
		}
		return false
	}
	switch t {
	case RemoteDisconnect:
		return record.BreakerOpen, has('b')
	case RemoteReconnect:
		return record.BreakerClosed, has('a')
	case RemoteArm:
		if b != record.BreakerOpen { // closed already, or armed
			return b, has('d')
		}
		return record.BreakerReady, has('d')
	case ManualReconnect:
		return record.BreakerClosed, b == record.BreakerReady && has('e')
	case ManualDisconnect:
		return record.BreakerReady, b == record.BreakerClosed && has('f')
	case LocalDisconnect:
		return record.BreakerReady, b == record.BreakerClosed && has('g')
	case LocalReconnect:
		return record.BreakerClosed, b == record.BreakerReady && has('h')
	}
	return b, false
}

// switches reports whether a command moves the breaker.
func switches(op record.Opcode) bool { return op == record.OpDisconnect || op == record.OpReconnect }

// maxLive is how many breaker commands that have not expired a meter remembers at most. Of more it forgets those that expire
// first, and refuses unknown ones that expire no later: none is carried out twice, whatever comes.
const maxLive = 48

// forget makes room for an executed command: the oldest goes that no copy on its way could bring about again.
func (s *State) forget(now uint32) {
	oldest, first, live := -1, -1, 0
	for i := range s.Executed {
		e := &s.Executed[i]
		if !switches(e.Opcode) || e.Expiry < now {
			if oldest < 0 {
				oldest = i
			}
			continue
		}
		if live++; first < 0 || e.Expiry < s.Executed[first].Expiry {
			first = i
		}
	}
	if live >= maxLive || oldest < 0 {
		oldest = first
	}
	if e := &s.Executed[oldest]; switches(e.Opcode) {
		s.Spent = max(s.Spent, e.Expiry)
	}
	s.Executed = append(s.Executed[:oldest], s.Executed[oldest+1:]...)
}
