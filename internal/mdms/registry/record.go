package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
)

// ErrRecord is returned for a part that this program cannot read.
var ErrRecord = errors.New("registry: malformed record")

// PartSize is about how long a part gets, bytes.
const PartSize = 128 << 10

// A part is what the store keeps of many changes at once:
//
//	version 1 · then for each change: kind · recorded · by · its fields in the order of the struct
//
// Numbers are unsigned varints, strings have their length before them.
const partVersion = 1

const (
	kindPoint   = 1
	kindMeter   = 2
	kindInstall = 3
)

// AppendPart appends a part that holds the changes.
func AppendPart(b []byte, changes ...Change) []byte {
	b = append(b, partVersion)
	for i := range changes {
		b = appendChange(b, &changes[i])
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendNumbers(b []byte, ns ...uint64) []byte {
	for _, n := range ns {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func bits(flags ...bool) (n uint64) {
	for i, f := range flags {
		if f {
			n |= 1 << i
		}
	}
	return n
}

func appendChange(b []byte, c *Change) []byte {
	head := func(kind byte) {
		b = appendText(binary.AppendUvarint(append(b, kind), uint64(c.Recorded)), c.By)
	}
	texts := func(ss ...string) {
		for _, s := range ss {
			b = appendText(b, s)
		}
	}
	switch {
	case c.UsagePoint != nil:
		u := c.UsagePoint
		head(kindPoint)
		texts(u.MRID, u.TimeZone, u.Substation, u.Feeder, u.Lateral, u.Transformer, u.Tariff, u.Customer, strings.Join(u.Tags, ";"))
		b = appendNumbers(b, uint64(u.From), uint64(u.Phases), uint64(u.Fuse), uint64(u.Factor), uint64(u.Contract), bits(u.PV, u.Protected))
	case c.Meter != nil:
		m := c.Meter
		head(kindMeter)
		texts(m.MRID, m.Serial, m.Manufacturer, m.Model, m.Firmware)
		b = appendNumbers(b, uint64(m.From), uint64(m.Dials), uint64(m.KeyVersion), uint64(m.Stage))
	case c.Installation != nil:
		i := c.Installation
		head(kindInstall)
		texts(i.Meter, i.UsagePoint, i.Reason)
		b = appendNumbers(b, uint64(i.Start), uint64(i.End), i.First.Import, i.First.Export, i.Last.Import, i.Last.Export,
			bits(i.First.HasImport, i.First.HasExport, i.Last.HasImport, i.Last.HasExport))
	}
	return b
}

// ReadPart calls f with every change of a part. The change is f's until it returns.
func ReadPart(b []byte, f func(*Change)) error {
	if len(b) == 0 || b[0] != partVersion {
		return fmt.Errorf("%w: of another version", ErrRecord)
	}
	d := decoder{b: b[1:]}
	for len(d.b) > 0 && !d.bad {
		kind := d.b[0]
		d.b = d.b[1:]
		c := Change{Recorded: uint32(d.number(1<<32 - 1)), By: d.text()}
		switch kind {
		case kindPoint:
			c.UsagePoint = d.point()
		case kindMeter:
			c.Meter = d.meter()
		case kindInstall:
			c.Installation = d.installation()
		default:
			d.bad = true
		}
		if !d.bad {
			f(&c)
		}
	}
	if d.bad {
		return fmt.Errorf("%w: %d bytes before its end", ErrRecord, len(d.b))
	}
	return nil
}

// decoder reads a part; bad says that something was not as it should be.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > most {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string {
	n := d.number(maxName)
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) point() *cim.UsagePoint {
	u := &cim.UsagePoint{MRID: d.text(), TimeZone: d.text(), Substation: d.text(), Feeder: d.text(), Lateral: d.text(), Transformer: d.text(),
		Tariff: d.text(), Customer: d.text()}
	if tags := d.text(); tags != "" {
		u.Tags = strings.Split(tags, ";")
	}
	u.From, u.Phases, u.Fuse, u.Factor = uint32(d.number(1<<32-1)), cim.Phases(d.number(15)), uint16(d.number(1<<16-1)), uint32(d.number(1<<32-1))
	u.Contract = cim.Contract(d.number(uint64(cim.ContractDisconnected)))
	f := d.number(3)
	u.PV, u.Protected = f&1 != 0, f&2 != 0
	d.bad = d.bad || u.MRID == ""
	return u
}

func (d *decoder) meter() *cim.MeterAsset {
	m := &cim.MeterAsset{MRID: d.text(), Serial: d.text(), Manufacturer: d.text(), Model: d.text(), Firmware: d.text(), From: uint32(d.number(1<<32 - 1)),
		Dials: uint8(d.number(255)), KeyVersion: uint16(d.number(1<<16 - 1)), Stage: cim.Stage(d.number(uint64(cim.StageRetired)))}
	d.bad = d.bad || m.MRID == ""
	return m
}

func (d *decoder) installation() *cim.MeterInstallation {
	const most = 1<<64 - 1
	i := &cim.MeterInstallation{Meter: d.text(), UsagePoint: d.text(), Reason: d.text(), Start: uint32(d.number(1<<32 - 1)), End: uint32(d.number(1<<32 - 1))}
	i.First.Import, i.First.Export, i.Last.Import, i.Last.Export = d.number(most), d.number(most), d.number(most), d.number(most)
	f := d.number(15)
	i.First.HasImport, i.First.HasExport, i.Last.HasImport, i.Last.HasExport = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
	d.bad = d.bad || i.Meter == "" || i.UsagePoint == ""
	return i
}

// Load enters the changes of a part that the store kept.
func (r *Registry) Load(part []byte) error { return r.LoadEach(part, func(*Change) {}) }

// LoadEach does that, and calls f with each of them. f must not ask the registry.
func (r *Registry) LoadEach(part []byte, f func(*Change)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ReadPart(part, func(c *Change) {
		r.add(c)
		f(c)
	})
}

// parts encodes everything in a registry that is a stage, as recorded at a time by somebody.
func (r *Registry) parts(recorded uint32, by string) [][]byte {
	var out [][]byte
	b := []byte{partVersion}
	next := func(c Change) {
		c.Recorded, c.By = recorded, by
		if b = appendChange(b, &c); len(b) >= PartSize {
			out = append(out, b)
			b = []byte{partVersion}
		}
	}
	// Versions are numbered by their order; to whom they belong is found by walking the usage points.
	for i := uint32(1); i <= r.points.n; i++ {
		p := r.points.at(i)
		for _, h := range chainUp(p.versions, func(h uint32) uint32 { return r.pv.at(h).before }) {
			u := r.viewPoint(p.id, r.pv.at(h))
			next(Change{UsagePoint: &u})
		}
	}
	for i := uint32(1); i <= r.meters.n; i++ {
		m := r.meters.at(i)
		for _, h := range chainUp(m.versions, func(h uint32) uint32 { return r.mv.at(h).before }) {
			a := r.viewMeter(m.id, r.mv.at(h))
			next(Change{Meter: &a})
		}
	}
	for h := uint32(1); h <= r.iv.n; h++ {
		i := r.viewInstallation(r.iv.at(h))
		next(Change{Installation: &i})
	}
	if len(b) > 1 {
		out = append(out, b)
	}
	return out
}

// chainUp returns a chain of versions oldest first.
func chainUp(newest uint32, before func(uint32) uint32) []uint32 {
	if newest == 0 {
		return nil
	}
	if before(newest) == 0 {
		return []uint32{newest}
	}
	var out []uint32
	for h := newest; h != 0; h = before(h) {
		out = append(out, h)
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}
