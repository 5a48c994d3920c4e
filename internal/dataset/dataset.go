package dataset

import (
	"compress/gzip"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/data"
)

// Slot is the length of a measured interval in seconds, SlotsPerDay how many of them make a day.
const (
	Slot        = 1800
	SlotsPerDay = 48
	day         = Slot * SlotsPerDay
	week        = 7 * day
)

// Zone is the local time of the Swiss data, UTC+01:00, in seconds.
const Zone = 3600

// T0 is when the first slot of the Swiss data begins, 2018-10-29T00:00+01:00.
var T0 = time.Date(2018, 10, 28, 23, 0, 0, 0, time.UTC)

// Limits of what Read accepts, so that a wrong file cannot take the memory of the machine.
const (
	maxHouseholds = 100_000
	maxDays       = 3 * 366
	maxBytes      = 256 << 20
)

// Dataset is a set of households measured over the same days. It is immutable and safe for concurrent use.
type Dataset struct {
	name       string
	start      int64 // of the first slot, seconds since the epoch
	days       int
	households []Household
}

// Load reads the 494 Swiss households: 49 days from 2018-10-29T00:00+01:00. It takes about 80 ms and keeps 5 MB; nothing is read
// before the call, and callers keep the result.
func Load() (*Dataset, error) { return Read(data.Households(), data.SwissHouseholds) }

// LoadSample reads 24 of the households, 7 days, for quick tests.
func LoadSample() (*Dataset, error) { return Read(data.Sample(), data.SwissSample) }

// Read reads a file in the format that package data describes, gzipped if its name ends in .gz. Every household must have a
// value for each slot of the same days, and the days must be whole weeks, since time tiles by them. An error names the file
// and, for bad contents, line and column.
func Read(fsys fs.FS, name string) (*Dataset, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer func() { _ = f.Close() }()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("dataset: %s is not gzip: %w", name, err)
		}
		defer func() { _ = z.Close() }()
		r = z
	}
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("dataset: reading %s after %d bytes: %w", name, len(b), err)
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("dataset: %s unpacks to more than %d bytes", name, maxBytes)
	}
	return parse(name, b)
}

// Name is the file that the households come from.
func (d *Dataset) Name() string { return d.name }

// Start is when the first slot begins, in seconds since the epoch: 2018-10-28T23:00:00Z for the Swiss data.
func (d *Dataset) Start() int64 { return d.start }

// Days is how many days were measured; time repeats after them.
func (d *Dataset) Days() int { return d.days }

// Len is the number of households.
func (d *Dataset) Len() int { return len(d.households) }

// Household returns the household i, counted from 0, in the order of the file; i beyond the last begins again at the first.
func (d *Dataset) Household(i int) *Household {
	return &d.households[((i%len(d.households))+len(d.households))%len(d.households)]
}

// ByID finds a household by its meter's id; it is a linear search, for occasional use.
func (d *Dataset) ByID(id string) (*Household, bool) {
	for i := range d.households {
		if d.households[i].id == id {
			return &d.households[i], true
		}
	}
	return nil, false
}

// For gives a meter with any id a household to live on: its own if the id is a household's, else always the same one.
func (d *Dataset) For(id string) *Household {
	if h, ok := d.ByID(id); ok {
		return h
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return d.Household(int(h.Sum64() % uint64(len(d.households))))
}

// parser walks over the file with line and column at hand for errors.
type parser struct {
	name string
	b    []byte
	line int
	col  int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("dataset: %s, line %d, column %d: %s", p.name, p.line, p.col, fmt.Sprintf(format, args...))
}

// field cuts the next field off; last tells that it ended its line.
func (p *parser) field() (f []byte, last bool) {
	p.col++
	for i, c := range p.b {
		switch c {
		case ',':
			f, p.b = p.b[:i], p.b[i+1:]
			return f, false
		case '\n':
			f, p.b = p.b[:i], p.b[i+1:]
			if i > 0 && f[i-1] == '\r' {
				f = f[:i-1]
			}
			return f, true
		}
	}
	f, p.b = p.b, nil
	return f, true
}

func parse(name string, b []byte) (*Dataset, error) {
	p := &parser{name: name, b: b}
	if err := p.header(); err != nil {
		return nil, err
	}
	d := &Dataset{name: name}
	var first, expect time.Time
	for len(p.b) > 0 {
		p.line++
		p.col = 0
		number, date, err := p.rowHead()
		if err != nil {
			return nil, err
		}
		h := d.last()
		if h == nil || h.number != number {
			if err := d.closeHousehold(p); err != nil {
				return nil, err
			}
			if first.IsZero() {
				first = date
				d.start = date.Unix() - Zone
			}
			expect = first
			h = d.open(number)
		}
		if !date.Equal(expect) {
			p.col = 2
			return nil, p.errorf("day %s, want %s: each meter needs every day once, in order", date.Format(time.DateOnly), expect.Format(time.DateOnly))
		}
		expect = expect.AddDate(0, 0, 1)
		if err := p.values(h); err != nil {
			return nil, err
		}
		if len(h.sums) > maxDays*SlotsPerDay+1 {
			return nil, p.errorf("meter %d has more than %d days", number, maxDays)
		}
	}
	p.col = 1
	if err := d.closeHousehold(p); err != nil {
		return nil, err
	}
	if d.Len() == 0 {
		return nil, p.errorf("no household in the file")
	}
	if d.days%7 != 0 {
		return nil, p.errorf("%d days a meter, want whole weeks", d.days)
	}
	for i := range d.households {
		d.households[i].finish(d.start)
	}
	return d, nil
}

func (d *Dataset) last() *Household {
	if len(d.households) == 0 {
		return nil
	}
	return &d.households[len(d.households)-1]
}

func (d *Dataset) open(number uint32) *Household {
	sums := make([]uint32, 1, max(d.days, 7)*SlotsPerDay+1)
	d.households = append(d.households, Household{id: "M" + strconv.FormatUint(uint64(number), 10), number: number, sums: sums})
	return d.last()
}

// closeHousehold checks the household read last against the first one.
func (d *Dataset) closeHousehold(p *parser) error {
	h := d.last()
	if h == nil {
		return nil
	}
	days := len(h.sums) / SlotsPerDay
	if d.Len() == 1 {
		d.days = days
	}
	if days != d.days {
		return p.errorf("meter %d has %d days, the first one has %d", h.number, days, d.days)
	}
	if d.Len() > maxHouseholds {
		return p.errorf("more than %d meters", maxHouseholds)
	}
	return nil
}

// header checks the names of the columns: meter, date, h0000 … h2330.
func (p *parser) header() error {
	p.line = 1
	for i := range SlotsPerDay + 2 {
		want := fmt.Sprintf("h%02d%02d", (i-2)/2, (i-2)%2*30)
		switch i {
		case 0:
			want = "meter"
		case 1:
			want = "date"
		}
		f, last := p.field()
		if string(f) != want {
			return p.errorf("column is named %q, want %q", clip(f), want)
		}
		if last != (i == SlotsPerDay+1) {
			return p.errorf("want %d columns", SlotsPerDay+2)
		}
	}
	return nil
}

func (p *parser) rowHead() (uint32, time.Time, error) {
	f, last := p.field()
	number, err := strconv.ParseUint(string(f), 10, 32)
	if err != nil {
		return 0, time.Time{}, p.errorf("meter %q is not a number of 32 bits", clip(f))
	}
	if last {
		return 0, time.Time{}, p.errorf("the line ends here, want %d columns", SlotsPerDay+2)
	}
	f, last = p.field()
	date, err := time.Parse(time.DateOnly, string(f))
	if err != nil {
		return 0, time.Time{}, p.errorf("date %q, want one such as 2018-10-29", clip(f))
	}
	if last {
		return 0, time.Time{}, p.errorf("the line ends here, want %d columns", SlotsPerDay+2)
	}
	return uint32(number), date, nil
}

func (p *parser) values(h *Household) error {
	for i := range SlotsPerDay {
		f, last := p.field()
		// The largest household of Europe stays far below 10 MWh in half an hour; so the sum of maxDays fits 64 bits with
		// room, and that of the file is checked against 32.
		if len(f) == 0 || len(f) > 7 {
			return p.errorf("value %q, want a whole number of Wh, at most 9999999", clip(f))
		}
		v := uint32(0)
		for _, c := range f {
			if c < '0' || c > '9' {
				return p.errorf("value %q, want a whole number of Wh, at most 9999999", clip(f))
			}
			v = v*10 + uint32(c-'0')
		}
		sum := h.sums[len(h.sums)-1]
		if sum+v < sum {
			return p.errorf("the sum of meter %d does not fit 32 bits", h.number)
		}
		h.sums = append(h.sums, sum+v)
		if last != (i == SlotsPerDay-1) {
			return p.errorf("want %d columns", SlotsPerDay+2)
		}
	}
	return nil
}

// clip keeps a wrong file from filling the log.
func clip(b []byte) string {
	if len(b) > 32 {
		return string(b[:32]) + "…"
	}
	return string(b)
}
