package descriptor

import (
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
)

// Layout is a compiled declaration. It may be used by many goroutines.
type Layout struct {
	Name        string // messages come under the event "x-" and this
	Description string
	interval    uint16
	ops         []op
	fields      int
}

// kind says how the octets of a field are read.
type kind uint8

const (
	kindUnsigned kind = iota
	kindSigned
	kindBCD
	kindPacked
	kindDigits
	kindFloat
	kindBits
	kindText
	kindBytes
	kindFiller
	kindTime
	kindCheckSum
	kindRepeat
	kindVariants
)

var kinds = map[string]kind{"unsigned": kindUnsigned, "signed": kindSigned, "bcd": kindBCD, "packed": kindPacked, "digits": kindDigits,
	"float": kindFloat, "bits": kindBits, "text": kindText, "bytes": kindBytes, "filler": kindFiller, "time": kindTime, "checksum": kindCheckSum}

func (k kind) number() bool { return k <= kindFloat }

// target says what the value of a field means.
type target uint8

const (
	toNothing target = iota
	toImport
	toExport
	toPower
	toPowerExport
	toVoltage
	toBreaker
	toTime
	toIntervalImport
	toIntervalExport
	toEvent
	toParameter
)

var targets = map[string]target{"import": toImport, "export": toExport, "power": toPower, "power-export": toPowerExport,
	"voltage": toVoltage, "breaker": toBreaker, "time": toTime, "interval-import": toIntervalImport, "interval-export": toIntervalExport,
	"event": toEvent, "parameter": toParameter, "none": toNothing}

// op is a compiled field.
type op struct {
	kind   kind
	width  uint8 // octets, where it has a value
	little bool
	to     target
	quick  quick // how a field that needs no look at more is read at once
	slot   int8  // where its value is kept for repeats, variants and times of blocks; -1: nowhere
	mark   int8  // where its offset is kept for check sums; -1: nowhere
	left   uint8 // of a quick field: bits by which its window is shifted to the left, and then to the right
	right  uint8
	window int32 // of a quick field: offset of eight octets with the field in them, from where the part begins
	at     int32 // offset from where the part of fixed length begins
	size   int32 // octets
	num    uint64
	den    uint64
	want   uint64 // of quickConst
	more   *more
}

// quick says how a field of at most eight octets without sentinel, range or slot is read: most fields of most messages.
type quick uint8

const (
	quickNot     quick = iota
	quickSkip          // it means nothing to the centre
	quickConst         // a number that has to be op.want
	quickTime          // seconds since the epoch
	quickBits          // flags
	quickImport        // register in Wh
	quickExport        // the same
	quickPower         // signed, in W
	quickVoltage       // up to two octets, in 0.1 V
	quickNumber        // of another energy, power or voltage, or of another unit
	quickSigned        // the same, signed
)

// quickest finds out whether a field can be read without a look at what most do without.
func (o *op) quickest() quick {
	m := o.more
	if o.size > 8 || o.slot >= 0 || o.mark >= 0 || len(m.none) > 0 || m.hasMin || m.hasMax {
		return quickNot
	}
	measured, kept := o.to.quantity() != "", o.num|o.den == 1 // as the centre keeps it
	switch {
	case o.kind == kindUnsigned && m.value != nil && o.to == toNothing:
		return quickConst
	case m.value != nil:
	case o.kind == kindTime && m.form == formEpoch && o.size == 4 && o.to == toTime:
		return quickTime
	case o.kind == kindBits:
		return quickBits
	case o.kind == kindSigned && kept && o.to == toPower:
		return quickPower
	case o.kind == kindSigned && measured:
		return quickSigned
	case o.kind != kindUnsigned:
	case o.to == toNothing:
		return quickSkip
	case kept && o.to == toImport:
		return quickImport
	case kept && o.to == toExport:
		return quickExport
	case kept && o.to == toVoltage && o.size <= 2:
		return quickVoltage
	case measured:
		return quickNumber
	}
	return quickNot
}

// place finds out how a quick field is read at its offset: eight octets are as quickly read as one, wherever they lie. They end with the field,
// or stand at the beginning of its part.
func (o *op) place() {
	o.window = max(o.at+o.size-8, 0)
	before := uint8(8 * (o.at - o.window))
	o.right = uint8(64 - 8*o.size)
	if o.left = before; o.little {
		o.left = o.right - before
	}
}

// word is the value of a quick field, out of its window.
func (o *op) word(window []byte) uint64 {
	v := binary.BigEndian.Uint64(window)
	if o.little {
		v = bits.ReverseBytes64(v)
	}
	return v << (o.left & 63) >> (o.right & 63)
}

// signed is a value in two's complement.
func (o *op) signed(v uint64) int64 { return int64(v<<(o.right&63)) >> (o.right & 63) }

// more is what most fields do without.
type more struct {
	name       string
	unit       string
	scale      decimal
	none       [][]byte
	value      []byte // that it must have
	hasMin     bool
	hasMax     bool
	min, max   int64
	unsigned   bool
	pad        byte
	form       timeForm
	layout     []timePart
	zone       *time.Location
	sum        checkSum
	sumFrom    int8 // mark of the field with which it begins; -1: the message's first octet
	bits       []bitOp
	breakers   map[uint64]cim.Breaker
	fixed      int  // repetitions, where they are a number
	countSlot  int8 // or the slot with that
	step       uint16
	start, end int8 // slots
	newest     bool
	variants   []variantOp
	bySlot     int8
	ops        []op    // of a repetition
	profiles   [2]bool // it holds intervals of a channel
	measures   bool    // each is of an instant of its own
}

type bitOp struct {
	bit    uint8
	name   string
	flag   uint16
	supply cim.SupplyEvent
	event  uint16
}

type variantOp struct {
	when uint64
	ops  []op
}

const maxSlots = 8
