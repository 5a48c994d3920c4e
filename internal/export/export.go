package export

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/tariff"
)

// ErrFormat is returned for a format that cannot tell what is asked for.
var ErrFormat = errors.New("cannot be written")

// Format is a file format.
type Format string

// The formats.
const (
	CSV     Format = "csv"
	Parquet Format = "parquet"
	ESPI    Format = "espi" // Green Button
	CIM     Format = "cim"  // IEC 61968-9 MeterReadings
)

// What is what a file tells.
type What string

// What there is to tell.
const (
	Intervals    What = "intervals"
	Registers    What = "registers"    // at local midnights
	Determinants What = "determinants" // of bills
	Changes      What = "changes"      // what is known otherwise than at an earlier time
)

// Formats and Whats are all of them, as they stand in messages.
func Formats() []Format { return []Format{CSV, Parquet, ESPI, CIM} }

// Whats lists what there is to tell.
func Whats() []What { return []What{Intervals, Registers, Determinants, Changes} }

// Check reports whether a format tells what is asked for.
func Check(f Format, w What) error {
	switch {
	case !slices.Contains(Formats(), f):
		return fmt.Errorf("%w: format %.20q, want csv, parquet, espi or cim", ErrFormat, f)
	case !slices.Contains(Whats(), w):
		return fmt.Errorf("%w: content %.20q, want intervals, registers, determinants or changes", ErrFormat, w)
	case f == ESPI && w != Intervals:
		return fmt.Errorf("%w: espi tells intervals only, not %s; take csv, parquet or cim", ErrFormat, w)
	case f == CIM && w == Changes:
		return fmt.Errorf("%w: cim tells no changes; take csv or parquet", ErrFormat)
	}
	return nil
}

// Extension is the ending of files of the format.
func (f Format) Extension() string {
	if f == ESPI || f == CIM {
		return ".xml"
	}
	return "." + string(f)
}

// ContentType is the media type of the format.
func (f Format) ContentType() string {
	switch f {
	case CSV:
		return "text/csv; charset=utf-8; header=present"
	case Parquet:
		return "application/vnd.apache.parquet"
	case ESPI:
		return "application/atom+xml; charset=utf-8"
	}
	return "application/xml; charset=utf-8"
}

// Head is what holds of all of an export.
type Head struct {
	Format   Format
	What     What
	From, To int64 // of the question; each usage point has its own, where these are local days
	Known    int64 // as known then
}

// Point is what a file tells of one usage point.
type Point struct {
	ID       string
	Customer string
	Zone     *tariff.Zone
	From, To int64 // intervals that begin in [From, To) are told, seconds since the epoch
	Channels []Channel
}

// Channel is what a file tells of one channel of a usage point; which members count depends on Head.What.
type Channel struct {
	Channel  cim.Channel
	Supply   billing.Supply
	Bill     *billing.Bill
	Balances []billing.Balance
	Changes  []Change
}

// Change is an interval of which something else is known than before. A side without a value has the quality Missing.
type Change struct {
	Meter                  string
	Start, End             int64
	Factor                 uint32
	Old, New               int64 // Wh
	OldQuality, NewQuality cim.Quality
}

// Kind is what happened to the interval.
func (c Change) Kind() string {
	switch {
	case c.OldQuality == cim.Missing:
		return "late"
	case c.NewQuality == cim.Missing:
		return "withdrawn"
	case c.NewQuality == cim.Edited:
		return "edited"
	case c.Old == c.New:
		return "quality"
	}
	return "corrected"
}

// Writer writes one document.
type Writer interface {
	// Point appends a usage point. Points come in the order of their ids.
	Point(p *Point) error
	// Rows is how many intervals, registers, determinants or changes were written.
	Rows() int64
	// Close completes the document; until then it is none. It does not close what it is written to.
	Close() error
}

// New begins a document.
func New(h Head, w io.Writer) (Writer, error) {
	if err := Check(h.Format, h.What); err != nil {
		return nil, err
	}
	switch h.Format {
	case CSV:
		return newCSV(h, w)
	case Parquet:
		return newParquet(h, w)
	case ESPI:
		return newESPI(h, w)
	}
	return newCIM(h, w)
}

// FileName is a name for a usage point's own file: what is no letter, digit, '-' or '_' is written as its bytes in hex.
func FileName(id string) string {
	var b strings.Builder
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
