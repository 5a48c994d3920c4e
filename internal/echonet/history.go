package echonet

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/wattbus/wattbus/internal/format"
)

const (
	dayCounts = 48
	daySize   = 2 + 4*dayCounts
	noDay     = 0xFF
	maxDay    = 99
)

// Day is E2 and E4: the registers at 00:00, 00:30 to 23:30 of a day, which counts back from today.
type Day struct {
	Day    Ago              `json:"day"`
	Counts [dayCounts]Count `json:"counts"`
}

// Ago is a number of days before today, 0 to 99; NoDay where it was never chosen.
type Ago uint8

// NoDay is the day of a history before one was chosen.
const NoDay Ago = noDay

func readDay(p Property, v *Day) (err error) {
	if err = p.size(daySize); err != nil {
		return err
	}
	day := binary.BigEndian.Uint16(p.EDT)
	if day > maxDay && day != noDay {
		return p.bad(0, format.ErrValue, "day %d, want 0 to %d or 255", day, maxDay)
	}
	v.Day = Ago(day)
	for i := range v.Counts {
		if v.Counts[i], err = p.count(2 + 4*i); err != nil {
			return err
		}
	}
	return nil
}

func (v *Day) append(dst []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(v.Day))
	for i := range v.Counts {
		dst, _ = v.Counts[i].append(dst) // checked when the property is read again
	}
	return dst, nil
}

func readDaySelector(p Property, v *Ago) error {
	if err := p.size(1); err != nil {
		return err
	}
	// A request for a day that there is not comes back in a refusal: it is read, too.
	*v = Ago(p.EDT[0])
	return nil
}

func (v *Ago) append(dst []byte) ([]byte, error) { return append(dst, byte(*v)), nil }

// Pair is a segment of a history: both registers.
type Pair struct {
	Forward Count `json:"forward"`
	Reverse Count `json:"reverse"`
}

// Segments is EC and EE: both registers at Time, and each further one 30 minutes (EE: one minute) earlier.
type Segments struct {
	Time     DateTime `json:"time"`
	Segments []Pair   `json:"segments"`
}

func readSegments(minutes, most int) func(Property, *Segments) error {
	return func(p Property, v *Segments) (err error) {
		n, err := segments(p, minutes, most)
		if err != nil {
			return err
		}
		if v.Time, err = p.dateTime(0, 6); err != nil {
			return err
		}
		v.Segments = make([]Pair, n)
		for i := range v.Segments {
			if v.Segments[i].Forward, err = p.count(7 + 8*i); err != nil {
				return err
			}
			if v.Segments[i].Reverse, err = p.count(11 + 8*i); err != nil {
				return err
			}
		}
		return nil
	}
}

// segments checks the frame of EC and EE and returns how many segments there are.
func segments(p Property, minutes, most int) (int, error) {
	if len(p.EDT) < 7 {
		return 0, p.bad(-1, format.ErrLength, "%d octets, want at least 7", len(p.EDT))
	}
	n := int(p.EDT[6])
	if n < 1 || n > most {
		return 0, p.bad(6, format.ErrValue, "%d segments, want 1 to %d", n, most)
	}
	if m := p.EDT[5]; m != 0xFF && int(m)%minutes != 0 {
		return 0, p.bad(5, format.ErrValue, "minute %d, want a multiple of %d", m, minutes)
	}
	return n, p.size(7 + 8*n)
}

func (v *Segments) append(dst []byte) ([]byte, error) {
	dst, err := v.Time.append(dst, 6)
	if err != nil {
		return dst, err
	}
	dst = append(dst, byte(min(len(v.Segments), 255)))
	for i := range v.Segments {
		dst, _ = v.Segments[i].Forward.append(dst) // checked when the property is read again
		dst, _ = v.Segments[i].Reverse.append(dst)
	}
	return dst, nil
}

// Selector is ED and EF: which segments EC and EE are to have.
type Selector struct {
	Time  DateTime `json:"time"`
	Count uint8    `json:"count"`
}

func readSelector(minutes, most int) func(Property, *Selector) error {
	return func(p Property, v *Selector) (err error) {
		if err = p.size(7); err != nil {
			return err
		}
		if v.Time, err = p.dateTime(0, 6); err != nil {
			return err
		}
		if v.Count = p.EDT[6]; v.Count < 1 || int(v.Count) > most {
			return p.bad(6, format.ErrValue, "%d segments, want 1 to %d", v.Count, most)
		}
		if v.Time.IsSet() && int(v.Time.Minute)%minutes != 0 {
			return p.bad(5, format.ErrValue, "minute %d, want a multiple of %d", v.Time.Minute, minutes)
		}
		return nil
	}
}

func (v *Selector) append(dst []byte) ([]byte, error) {
	dst, err := v.Time.append(dst, 6)
	return append(dst, v.Count), err
}

func integer(b []byte, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%.40q, want a number from %d to %d: %w", b, least, most, format.ErrValue)
	}
	return n, nil
}
