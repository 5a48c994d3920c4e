package descriptor

import (
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
	at     int32 // offset from where the part of fixed length begins
	size   int32 // octets
	num    uint64
	den    uint64
	want   uint64 // of quickConst
	more   *more
}

// quick says how a field of one machine word without sentinel, range or slot is read: most fields of most messages.
type quick uint8

const (
	quickNot    quick = iota
	quickSkip         // it means nothing to the centre
	quickConst        // it has to be op.want
	quickNumber       // unsigned, of an energy, power or voltage
	quickSigned       // the same, signed
	quickTime         // seconds since the epoch
	quickBits
)

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
	sumFrom    int
	bits       []bitOp
	breakers   map[uint64]cim.Breaker
	fixed      int  // repetitions, where they are a number
	countSlot  int8 // or the slot with that
	step       uint16
	start, end int8 // slots
	newest     bool
	variants   []variantOp
	bySlot     int8
	ops        []op // of a repetition
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
