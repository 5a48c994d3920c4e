package formats

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/dlms"
	"github.com/wattbus/wattbus/internal/dsmr"
	"github.com/wattbus/wattbus/internal/echonet"
	"github.com/wattbus/wattbus/internal/format"
)

// The events of formats that need no declaration, and what events of declared ones begin with.
const (
	EventECHONET = "el"
	EventP1      = "p1"
	EventDLMS    = "dlms"
	EventJSON    = "json"
	Own          = "x-"
)

// Set is the formats that are known. It may be used by many goroutines.
type Set struct {
	scales  *scales
	unit    *echonet.Unit
	dir     string
	files   atomic.Pointer[files]
	keyFile string
	keys    atomic.Pointer[dlms.Keys] // nil: none
}

// files are what was loaded from the directory.
type files struct {
	declared map[string]Reader // by event
	names    []string          // of the files
}

// Options say where a Set finds and keeps things.
type Options struct {
	Dir    string // of declarations, *.yaml; "" for none
	Scales string // file that keeps the units that ECHONET Lite meters told; "" keeps them in memory only
	Keys   string // file of the keys of meters that encipher in DLMS, or P1 inside it; "" for none; see dlms.ReadKeys
	// Unit is that of ECHONET Lite meters which never told theirs; nil refuses their counts.
	Unit   *echonet.Unit
	Logger *slog.Logger // default: discards
}

// New loads the declarations. An error names the file.
func New(o Options) (*Set, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Set{dir: o.Dir, unit: o.Unit, keyFile: o.Keys}
	s.files.Store(&files{})
	if err := s.Load(); err != nil {
		return nil, err
	}
	var err error
	s.scales, err = openScales(o.Scales, o.Logger)
	return s, err
}

// Close closes what New opened.
func (s *Set) Close() error { return s.scales.close() }

// Knows reports whether an event names a format of the set.
func (s *Set) Knows(event string) bool {
	switch event {
	case EventECHONET, EventP1, EventDLMS:
		return true
	}
	return s.files.Load().declared[event] != nil
}

// Message is what a message was turned into.
type Message struct {
	cim.MeterReading
	// Answer is what the device wants to hear under the same event once the message is kept; nil for nothing.
	Answer []byte
}

// Read turns a message of a device into what the centre keeps, behind what m holds. now is when it came, seconds since the
// epoch. Errors wrap a reason of package format.
func (s *Set) Read(event, kind, id string, payload []byte, now uint32, m *Message) error {
	switch event {
	case EventECHONET:
		return s.readECHONET(kind, id, payload, now, m)
	case EventP1:
		payload, err := s.keys.Load().Open(id, payload)
		if err != nil {
			return err
		}
		var t dsmr.Telegram
		if err := t.Decode(payload); err != nil {
			return err
		}
		return t.Read(&m.MeterReading)
	}
	declared := s.files.Load().declared[event]
	if _, pushed := declared.(*dlms.Layout); pushed || event == EventDLMS {
		var err error
		if payload, err = s.keys.Load().Open(id, payload); err != nil {
			return err
		}
		if declared == nil {
			declared = (*dlms.Layout)(nil)
		}
	}
	if declared != nil {
		return declared.Read(payload, &m.MeterReading)
	}
	return fmt.Errorf("event %.40q: no such format: %w", event, format.ErrVersion)
}

func (s *Set) readECHONET(kind, id string, payload []byte, now uint32, m *Message) error {
	var f echonet.Frame
	if err := f.Decode(payload); err != nil {
		return err
	}
	was, _ := s.scales.of(kind, id)
	scale, assumed := was, !was.HasUnit && s.unit != nil
	if assumed {
		scale.Unit, scale.HasUnit = *s.unit, true
	}
	if err := f.Read(&m.MeterReading, &scale, now); err != nil {
		return err
	}
	if assumed && !slices.ContainsFunc(f.Properties, func(p echonet.Property) bool { return p.EPC == 0xE1 }) {
		scale.Unit, scale.HasUnit = was.Unit, false // what it never told is not kept
	}
	if scale != was {
		if err := s.scales.put(kind, id, scale); err != nil {
			return err
		}
	}
	if a, ok := f.Answer(); ok {
		var err error
		if m.Answer, err = a.Append(nil); err != nil {
			return err
		}
	}
	return nil
}
