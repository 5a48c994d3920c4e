package registry

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// MaxProblems is how many wrong lines an import tells of; the rest is counted.
	MaxProblems = 10_000
	maxRecord   = 64 << 10 // bytes of one record, quotes included
)

// Problem is what is wrong with a line.
type Problem struct {
	Line   int    // from 1, the header's; of a record over several lines that of the cell
	Column string // "" for the line as a whole
	Value  string // what stands there, at most 80 bytes of it
	Detail string // what is wrong, and what to do
}

// String is the problem in one line.
func (p Problem) String() string {
	s := fmt.Sprintf("line %d", p.Line)
	if p.Column != "" {
		s += ", " + p.Column
	}
	if p.Value != "" {
		s += fmt.Sprintf(" %q", p.Value)
	}
	return s + ": " + p.Detail
}

// ErrHeader is returned for a file whose first line names no columns of a registry; nothing else of it is read then.
var ErrHeader = errors.New("the header is wrong")

// records reads CSV (RFC 4180) record by record, in bounded memory: a quote that is never closed ends the reading after
// maxRecord bytes.
type records struct {
	in     *bounded
	csv    *csv.Reader
	cols   []Column
	at     []int // of column i: its field, -1: not in the file
	names  []string
	header int // fields
}

// bounded is a reader that fails when it is read too far ahead of what was used.
type bounded struct {
	r          io.Reader
	read, used int64
}

var errLong = errors.New("record too long")

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.read-b.used > maxRecord+8192 { // what the reader behind holds in its buffer
		return 0, errLong
	}
	n, err := b.r.Read(p[:min(len(p), 4096)])
	b.read += int64(n)
	return n, err
}

func newRecords(r io.Reader) *records {
	in := bufio.NewReader(r)
	if mark, _ := in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3) // a byte order mark, as spreadsheets write it
	}
	x := &records{in: &bounded{r: in}, cols: Columns()}
	x.csv = csv.NewReader(x.in)
	x.csv.FieldsPerRecord, x.csv.ReuseRecord = -1, true
	return x
}

// readHeader takes the names of the columns over. Its error is for people.
func (x *records) readHeader() error {
	fields, err := x.csv.Read()
	x.in.used = x.csv.InputOffset()
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the file is empty; want a first line with names of columns, at least usage_point or meter", ErrHeader)
	case err != nil:
		return fmt.Errorf("%w: line 1: %s", ErrHeader, plainCSV(err))
	}
	x.at = make([]int, len(x.cols))
	for i := range x.at {
		x.at[i] = -1
	}
	if text := strings.Join(fields, ","); !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return fmt.Errorf("%w: line 1: it is no text in UTF-8: export the table as comma-separated values in UTF-8", ErrHeader)
	}
	if len(fields) == 1 && strings.ContainsAny(fields[0], ";\t") {
		return fmt.Errorf("%w: line 1: the columns are parted by %q, want commas: export the file as comma-separated values", ErrHeader, fields[0][strings.IndexAny(fields[0], ";\t")])
	}
	for i, f := range fields {
		c := slices.IndexFunc(x.cols, func(c Column) bool { return c.Name == f })
		switch {
		case c < 0:
			return fmt.Errorf("%w: line 1, column %d: %q is no column of a registry; there are %s", ErrHeader, i+1, clipped(f), x.known())
		case x.at[c] >= 0:
			return fmt.Errorf("%w: line 1, column %d: %q stands there twice", ErrHeader, i+1, f)
		}
		x.at[c] = i
	}
	x.header = len(fields)
	if x.at[x.column("usage_point")] < 0 && x.at[x.column("meter")] < 0 {
		return fmt.Errorf("%w: line 1: there is neither a column usage_point nor meter", ErrHeader)
	}
	return nil
}

func (x *records) column(name string) int {
	return slices.IndexFunc(x.cols, func(c Column) bool { return c.Name == name })
}

func (x *records) known() string {
	var s []string
	for _, c := range x.cols {
		s = append(s, c.Name)
	}
	return strings.Join(s, ", ")
}

// next returns the next record, valid until the next call, or a problem of the line, or io.EOF, or an error of the reader.
func (x *records) next() ([]string, *Problem, error) {
	x.in.used = x.csv.InputOffset()
	fields, err := x.csv.Read()
	var wrong *csv.ParseError
	switch {
	case errors.Is(err, errLong):
		line, _ := x.csv.FieldPos(0)
		return nil, nil, fmt.Errorf("a record behind line %d is longer than %d bytes: is there a quote that is not closed?", line, maxRecord)
	case errors.As(err, &wrong):
		p := &Problem{Line: wrong.StartLine, Detail: plainCSV(err)}
		if wrong.Line > wrong.StartLine {
			p.Detail += fmt.Sprintf("; what began there goes on to line %d", wrong.Line)
		}
		return nil, p, nil
	case err != nil:
		return nil, nil, err
	}
	if len(fields) != x.header {
		line, _ := x.csv.FieldPos(0)
		return nil, &Problem{Line: line, Detail: fmt.Sprintf("it has %d fields, the header has %d", len(fields), x.header)}, nil
	}
	return fields, nil, nil
}

// cell returns the cell of column c, and whether the file has that column.
func (x *records) cell(fields []string, c int) (string, bool) {
	if x.at[c] < 0 {
		return "", false
	}
	return fields[x.at[c]], true
}

func (x *records) line(c int) int {
	line, _ := x.csv.FieldPos(max(x.at[c], 0))
	return line
}

func plainCSV(err error) string {
	switch {
	case errors.Is(err, csv.ErrBareQuote):
		return `there is a " inside of a cell that does not begin with one: put the cell in quotes and double those in it`
	case errors.Is(err, csv.ErrQuote):
		return `a quote is not closed, or something stands behind it: double the quotes inside of a cell`
	case errors.Is(err, errLong):
		return fmt.Sprintf("it is longer than %d bytes", maxRecord)
	}
	return err.Error()
}

func clipped(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
