package echonet

import (
	"encoding/binary"
	"fmt"

	"github.com/wattbus/wattbus/internal/format"
)

// The header of every frame of format 1, and the length of one without properties.
const (
	ehd1      = 0x10
	ehd2      = 0x81
	frameSize = 12
)

// Object is an ECHONET object: class group, class, instance.
type Object [3]byte

// The objects of the B route.
var (
	Meter       = Object{0x02, 0x88, 0x01}
	Controller  = Object{0x05, 0xFF, 0x01}
	NodeProfile = Object{0x0E, 0xF0, 0x01}
)

// IsMeter reports whether the object is a low-voltage smart meter, of any instance.
func (o Object) IsMeter() bool { return o[0] == 0x02 && o[1] == 0x88 }

// String is the object in hexadecimal.
func (o Object) String() string { return fmt.Sprintf("%02x%02x%02x", o[0], o[1], o[2]) }

// Property is a property as it stands in a frame. In requests and in some answers it has no data.
type Property struct {
	EPC byte
	EDT []byte
	at  int // offset of EPC
}

// Offset is where the property's data begin in the frame that it was decoded from.
func (p Property) Offset() int { return p.at + 2 }

// Frame is an ECHONET Lite frame of format 1.
type Frame struct {
	TID        uint16
	SEOJ, DEOJ Object
	ESV        Service
	Properties []Property // of a SetGet those to be set
	Get        []Property // of a SetGet and its answers only: those to be read
}

// Decode reads a frame. Data of properties alias b.
func Decode(b []byte) (Frame, error) {
	var f Frame
	return f, f.Decode(b)
}

// Decode reads a frame into f, whose slices are used again. Data of properties alias b.
func (f *Frame) Decode(b []byte) error {
	f.Properties, f.Get = f.Properties[:0], f.Get[:0]
	switch {
	case len(b) < frameSize:
		return format.At("frame", len(b), format.ErrLength, "%d octets, want at least %d", len(b), frameSize)
	case b[0] != ehd1:
		return format.At("EHD1", 0, format.ErrVersion, "0x%02x, want 0x10", b[0])
	case b[1] != ehd2:
		return format.At("EHD2", 1, format.ErrVersion, "0x%02x, want 0x81", b[1])
	}
	f.TID = binary.BigEndian.Uint16(b[2:])
	f.SEOJ, f.DEOJ, f.ESV = Object(b[4:7]), Object(b[7:10]), Service(b[10])
	if !f.ESV.known() {
		return format.At("ESV", 10, format.ErrValue, "0x%02x is no service", b[10])
	}
	at, err := properties(&f.Properties, b, 11)
	if err != nil {
		return err
	}
	if f.ESV.both() {
		if at == len(b) {
			return format.At("OPCGet", at, format.ErrLength, "the frame ends")
		}
		if at, err = properties(&f.Get, b, at); err != nil {
			return err
		}
	}
	if at != len(b) {
		return format.At("frame", at, format.ErrLength, "%d octets behind the last property", len(b)-at)
	}
	return nil
}

// properties reads a block of them from the count at an offset on, and returns where it ends.
func properties(ps *[]Property, b []byte, at int) (int, error) {
	n := int(b[at])
	at++
	for i := range n {
		if len(b)-at < 2 {
			return at, format.At("EPC", at, format.ErrLength, "the frame ends before property %d of %d", i+1, n)
		}
		p := Property{EPC: b[at], at: at}
		size := int(b[at+1])
		if size > len(b)-at-2 {
			return at, format.At(name(p.EPC), at+1, format.ErrLength, "PDC %d, but %d octets are left", size, len(b)-at-2)
		}
		p.EDT = b[at+2 : at+2+size : at+2+size]
		*ps = append(*ps, p)
		at += 2 + size
	}
	return at, nil
}

// Append encodes f behind dst.
func (f *Frame) Append(dst []byte) ([]byte, error) {
	if !f.ESV.known() {
		return dst, fmt.Errorf("echonet: ESV 0x%02x is no service: %w", byte(f.ESV), format.ErrValue)
	}
	if !f.ESV.both() && len(f.Get) > 0 {
		return dst, fmt.Errorf("echonet: %v has no properties to get beside the others: %w", f.ESV, format.ErrValue)
	}
	dst = binary.BigEndian.AppendUint16(append(dst, ehd1, ehd2), f.TID)
	dst = append(append(append(dst, f.SEOJ[:]...), f.DEOJ[:]...), byte(f.ESV))
	dst, err := appendProperties(dst, f.Properties)
	if err == nil && f.ESV.both() {
		dst, err = appendProperties(dst, f.Get)
	}
	return dst, err
}

func appendProperties(dst []byte, ps []Property) ([]byte, error) {
	if len(ps) > 255 {
		return dst, fmt.Errorf("echonet: %d properties, want at most 255: %w", len(ps), format.ErrLength)
	}
	dst = append(dst, byte(len(ps)))
	for _, p := range ps {
		if len(p.EDT) > 255 {
			return dst, fmt.Errorf("echonet: %s of %d octets, want at most 255: %w", name(p.EPC), len(p.EDT), format.ErrLength)
		}
		dst = append(append(dst, p.EPC, byte(len(p.EDT))), p.EDT...)
	}
	return dst, nil
}

// Answer is the acknowledgement that an INFC wants: the same transaction and properties, without data. ok is false for any
// other frame.
func (f *Frame) Answer() (a Frame, ok bool) {
	if f.ESV != INFC {
		return a, false
	}
	a = Frame{TID: f.TID, SEOJ: f.DEOJ, DEOJ: f.SEOJ, ESV: INFCRes}
	for _, p := range f.Properties {
		a.Properties = append(a.Properties, Property{EPC: p.EPC})
	}
	return a, true
}
