package cim

import (
	"fmt"
	"slices"
	"strings"
)

// UsagePoint is the place where energy is delivered to a customer (IEC 61968-9 UsagePoint), with what holds of it from one
// time on until the next version's.
type UsagePoint struct {
	MRID     string // the utility's id of the place
	From     uint32 // since when this holds, seconds since the epoch; 0: ever since
	TimeZone string // IANA name, such as Europe/Zurich; "": UTC

	// Where it hangs in the grid, from the top down. "": not known.
	Substation, Feeder, Lateral, Transformer string

	Phases    Phases
	Fuse      uint16 // 0.1 A, the rating per phase; 0: not known
	Factor    uint32 // thousandths: what the meter's values are multiplied by, for transformers of current and voltage; 1000: direct
	Tariff    string
	Customer  string   // the reference of the customer's account
	Tags      []string // sorted
	PV        bool     // there is generation behind the meter
	Protected bool     // may not be disconnected
	Contract  Contract
}

// FactorOne is the Factor of a meter that is connected directly.
const FactorOne = 1000

// Same reports whether two versions tell the same, whenever they begin.
func (u *UsagePoint) Same(v *UsagePoint) bool {
	a, b := *u, *v
	a.From, b.From, a.Tags, b.Tags = 0, 0, nil, nil
	return a.key() == b.key() && slices.Equal(u.Tags, v.Tags)
}

type usagePointKey struct {
	id, zone, substation, feeder, lateral, transformer, tariff, customer string
	phases                                                               Phases
	fuse                                                                 uint16
	factor                                                               uint32
	pv, protected                                                        bool
	contract                                                             Contract
}

func (u *UsagePoint) key() usagePointKey {
	return usagePointKey{u.MRID, u.TimeZone, u.Substation, u.Feeder, u.Lateral, u.Transformer, u.Tariff, u.Customer,
		u.Phases, u.Fuse, u.Factor, u.PV, u.Protected, u.Contract}
}

// Phases is a set of phases (IEC 61968-9 PhaseCode).
type Phases uint8

// The phases.
const (
	PhaseA Phases = 1 << iota
	PhaseB
	PhaseC
	PhaseN
)

// String is the phase code, such as ABCN; "" for none known.
func (p Phases) String() string {
	s := ""
	for i, c := range "ABCN" {
		if p&(1<<i) != 0 {
			s += string(c)
		}
	}
	return s
}

// ParsePhases reads a phase code: letters of A B C N in this order.
func ParsePhases(s string) (Phases, bool) {
	var p Phases
	for _, c := range s {
		i := strings.IndexRune("ABCN", c)
		if i < 0 || p >= 1<<i {
			return 0, false
		}
		p |= 1 << i
	}
	return p, s == "" || p != PhaseN
}

// Count is the number of live phases; 1 where none is known.
func (p Phases) Count() int {
	n := 0
	for i := range 3 {
		n += int(p >> i & 1)
	}
	return max(n, 1)
}

// Contract is the state of the contract for a usage point.
type Contract uint8

// The states of a contract.
const (
	ContractActive       Contract = iota
	ContractVacant                // nobody has one: nothing should be used
	ContractDisconnected          // cut off
)

// String is the state's name.
func (c Contract) String() string {
	return [...]string{"active", "vacant", "disconnected"}[min(c, ContractDisconnected)]
}

// ParseContract reads a state's name.
func ParseContract(s string) (Contract, bool) {
	for c := range ContractDisconnected + 1 {
		if s == c.String() {
			return c, true
		}
	}
	return 0, false
}

// MeterAsset is what is known of a meter as a thing (IEC 61968-9 Meter and its EndDeviceInfo), from one time on.
type MeterAsset struct {
	MRID         string // its device id on the bus (docs/contract.md, section 1)
	From         uint32
	Serial       string
	Manufacturer string
	Model        string
	Firmware     string
	Dials        uint8  // digits of its registers before they roll over, kWh; 0: they do not
	KeyVersion   uint16 // of the keys it has
	Stage        Stage
}

// Same reports whether two versions tell the same, whenever they begin.
func (m *MeterAsset) Same(n *MeterAsset) bool {
	a := *m
	a.From = n.From
	return a == *n
}

// Stage is what a person says of a meter's life; the rest of it follows from its installations and readings.
type Stage uint8

// The stages.
const (
	StageNone         Stage = iota // nothing said
	StageManufactured              // made, not yet delivered
	StageInStock
	StageRetired // it never comes back
)

// String is the stage's name.
func (s Stage) String() string {
	return [...]string{"", "manufactured", "in-stock", "retired"}[min(s, StageRetired)]
}

// ParseStage reads a stage's name.
func ParseStage(s string) (Stage, bool) {
	for g := range StageRetired + 1 {
		if s == g.String() {
			return g, true
		}
	}
	return 0, false
}

// MeterInstallation is a meter at a usage point for a span of time (IEC 61968-9 UsagePoint.EndDevices with its
// installation and removal). A meter and a start are its key; a later one with the same key takes its place.
type MeterInstallation struct {
	Meter, UsagePoint string
	Start             uint32
	End               uint32 // 0: it is there still; Start: it never was, which takes back a mistake
	First             RegisterPair
	Last              RegisterPair // at the end
	Reason            string       // of the removal
}

// RegisterPair is the registers that were read when a meter was put in or taken out, Wh.
type RegisterPair struct {
	Import, Export       uint64
	HasImport, HasExport bool
}

// Covers reports whether the meter was there at the time.
func (i *MeterInstallation) Covers(at uint32) bool {
	return at >= i.Start && (i.End == 0 || at < i.End)
}

// Overlaps reports whether two installations share a moment.
func (i *MeterInstallation) Overlaps(j *MeterInstallation) bool {
	return (j.End == 0 || i.Start < j.End) && (i.End == 0 || j.Start < i.End)
}

// String names it in messages.
func (i *MeterInstallation) String() string {
	return fmt.Sprintf("meter %s at usage point %s since %s", i.Meter, i.UsagePoint, Stamp(i.Start))
}
