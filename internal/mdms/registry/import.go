package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wattbus/wattbus/internal/cim"
)

// ErrChanged is returned for an import while which the registry was changed by somebody else.
var ErrChanged = errors.New("registry: it was changed meanwhile")

// Reading is what a meter told last.
type Reading struct {
	Time           uint32 // 0: nothing yet
	Import, Export uint64 // Wh
	NoExport       bool   // Export is not known
}

// Options of an import.
type Options struct {
	Now  uint32                                // business time: from when a change holds that does not say so
	Last func(meter string, at uint32) Reading // up to a time
}

// Tally counts things of one sort in an import.
type Tally struct{ New, Changed, Unchanged int }

// Summary is what an import does.
type Summary struct {
	Lines                              int // without the header
	UsagePoints, Meters, Installations Tally
	Wrong                              int // problems, also those that are not told
	WrongLines                         int // lines that have some
}

// Changes reports how many changes there are.
func (s *Summary) Changes() (n int) {
	for _, t := range []Tally{s.UsagePoints, s.Meters, s.Installations} {
		n += t.New + t.Changed
	}
	return n
}

// Import compares a CSV file with a registry and collects what would change, without changing it. What it holds is the
// changes only, some 300 bytes a line; lines that tell nothing new cost nothing.
type Import struct {
	o          Options
	base       *Registry
	generation uint64
	// stage holds the changes. The time of recording in it is the line that a change comes from.
	stage    *Registry
	sum      Summary
	problems []Problem
	at       int              // line of the record under way; 0: all are read
	bad      map[int]struct{} // lines with problems
}

// NewImport begins an import.
func NewImport(base *Registry, o Options) *Import {
	if o.Last == nil {
		o.Last = func(string, uint32) Reading { return Reading{} }
	}
	return &Import{o: o, base: base, generation: base.Generation(), stage: New(), bad: map[int]struct{}{}}
}

// Summary returns the counts so far.
func (im *Import) Summary() Summary { return im.sum }

// Problems returns what is wrong, by line, up to MaxProblems.
func (im *Import) Problems() []Problem { return im.problems }

func (im *Import) wrong(p Problem) {
	im.sum.Wrong++
	im.bad[cmp.Or(im.at, p.Line)] = struct{}{} // a cell may stand in another line than its record begins in
	im.sum.WrongLines = len(im.bad)
	if len(im.problems) < MaxProblems {
		p.Value = clipped(p.Value)
		im.problems = append(im.problems, p)
	}
}

// Read reads the whole file and checks it, each line by itself and all together. Its error is that of the reader, ctx's, or
// ErrHeader; what is wrong with lines is in Problems.
func (im *Import) Read(ctx context.Context, r io.Reader) error {
	x := newRecords(r)
	if err := x.readHeader(); err != nil {
		return err
	}
	for {
		if im.sum.Lines%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		fields, bad, err := x.next()
		switch {
		case errors.Is(err, io.EOF):
			im.at = 0
			im.checkTogether()
			return nil
		case err != nil:
			return err
		}
		im.sum.Lines++
		if bad != nil {
			im.at = bad.Line
			im.wrong(*bad)
			continue
		}
		im.at = x.line(x.column("usage_point"))
		im.enter(x, fields)
	}
}

// enter enters one line.
func (im *Import) enter(x *records, fields []string) {
	var s statement
	before := im.sum.Wrong
	says := [4]bool{}
	take := func(g group, empty bool) {
		for c := range x.cols {
			if x.cols[c].group != g {
				continue
			}
			v, has := x.cell(fields, c)
			if !has || v == "" && !empty {
				continue
			}
			if wrong := x.cols[c].set(&s, v); wrong != "" {
				im.wrong(Problem{Line: x.line(c), Column: x.cols[c].Name, Value: v, Detail: wrong})
			}
		}
	}
	for c := range x.cols {
		if v, _ := x.cell(fields, c); v != "" {
			says[x.cols[c].group] = true
		}
	}
	take(aboutKeys, false)
	line := im.at
	point, meter := s.point.MRID, s.meter.MRID
	if im.sum.Wrong > before { // of whom the rest is cannot be said, but what is wrong with it
		for _, g := range []group{aboutPoint, aboutMeter, aboutInstallation} {
			take(g, true)
		}
		return
	}
	switch {
	case point == "" && meter == "":
		im.wrong(Problem{Line: line, Detail: "it names neither a usage point nor a meter"})
		return
	case says[aboutPoint] && point == "":
		im.wrong(Problem{Line: line, Column: "usage_point", Detail: "is empty, but there are facts of a usage point on the line"})
		return
	case says[aboutMeter] && meter == "":
		im.wrong(Problem{Line: line, Column: "meter", Detail: "is empty, but there are facts of a meter on the line"})
		return
	}
	if says[aboutPoint] || meter == "" {
		im.enterPoint(&s, line, func() { take(aboutPoint, true) })
	}
	if says[aboutMeter] || point == "" {
		im.enterMeter(&s, line, func() { take(aboutMeter, true) })
	}
	if point != "" && meter != "" || says[aboutInstallation] {
		take(aboutInstallation, false)
		if im.sum.Wrong == before {
			im.enterInstallation(&s, line)
		}
	}
}

// enterPoint enters what a line says of a usage point; take fills in its cells.
func (im *Import) enterPoint(s *statement, line int, take func()) {
	id, before := s.point.MRID, im.sum.Wrong
	from := im.begin(s, func(at uint32) bool { _, _, ok := im.pointAt(id, at); return ok })
	old, said, known := im.pointAt(id, from)
	s.point = old
	if !known {
		s.point = cim.UsagePoint{Factor: cim.FactorOne}
	}
	s.point.MRID, s.point.From = id, from
	take()
	if im.sum.Wrong > before {
		return
	}
	switch {
	case known && old.Same(&s.point) && (old.From == from || !s.hasFrom):
		im.sum.UsagePoints.Unchanged++
		return
	case said != 0 && (old.From == from || !s.hasFrom):
		im.wrong(Problem{Line: line, Column: "usage_point", Value: id, Detail: fmt.Sprintf("line %d tells something else of it for the same time; fill in valid_from if both are true", said)})
		return
	case im.hasPoint(id):
		im.sum.UsagePoints.Changed++
	default:
		im.sum.UsagePoints.New++
	}
	im.stage.Add(Change{Recorded: uint32(line), UsagePoint: &s.point})
}

// begin is from when a statement holds: as it says, else ever since for what is new and from now on for the rest.
func (im *Import) begin(s *statement, known func(at uint32) bool) uint32 {
	switch {
	case s.hasFrom:
		return s.from
	case known(im.o.Now):
		return im.o.Now
	}
	return 0
}

func (im *Import) enterMeter(s *statement, line int, take func()) {
	id, before := s.meter.MRID, im.sum.Wrong
	from := im.begin(s, func(at uint32) bool { _, _, ok := im.meterAt(id, at); return ok })
	old, said, known := im.meterAt(id, from)
	s.meter = old
	s.meter.MRID, s.meter.From = id, from
	take()
	if im.sum.Wrong > before {
		return
	}
	switch {
	case known && old.Same(&s.meter) && (old.From == from || !s.hasFrom):
		im.sum.Meters.Unchanged++
		return
	case said != 0 && (old.From == from || !s.hasFrom):
		im.wrong(Problem{Line: line, Column: "meter", Value: id, Detail: fmt.Sprintf("line %d tells something else of it for the same time; fill in valid_from if both are true", said)})
		return
	case im.hasMeter(id):
		im.sum.Meters.Changed++
	default:
		im.sum.Meters.New++
	}
	im.stage.Add(Change{Recorded: uint32(line), Meter: &s.meter})
}

func (im *Import) enterInstallation(s *statement, line int) {
	i := s.install
	switch {
	case i.UsagePoint == "":
		im.wrong(Problem{Line: line, Column: "usage_point", Detail: "is empty: where was the meter installed?"})
		return
	case i.Meter == "":
		im.wrong(Problem{Line: line, Column: "meter", Detail: "is empty: which meter was installed?"})
		return
	case i.Start == 0:
		im.wrong(Problem{Line: line, Column: "installed", Detail: "is empty: want when the meter came to the usage point"})
		return
	}
	old, said, known := im.installation(i.Meter, i.Start)
	if known {
		// What a line leaves out stays as it is.
		keep(&i, &old)
	}
	if known && i == old {
		im.sum.Installations.Unchanged++
		return
	}
	m, _, _ := im.meterAt(i.Meter, i.Start)
	if column, value, wrong := checkInstallation(&i, m.Dials); wrong != "" {
		im.wrong(Problem{Line: line, Column: column, Value: value, Detail: wrong})
		return
	}
	if i.Last.HasImport || i.Last.HasExport {
		if column, value, wrong := againstReading(&i, im.o.Last(i.Meter, i.End), m.Dials); wrong != "" {
			im.wrong(Problem{Line: line, Column: column, Value: value, Detail: wrong})
			return
		}
	}
	switch {
	case said != 0:
		im.wrong(Problem{Line: line, Column: "meter", Value: i.Meter, Detail: fmt.Sprintf("line %d tells something else of the same installation", said)})
		return
	case known:
		im.sum.Installations.Changed++
	default:
		im.sum.Installations.New++
	}
	im.stage.Add(Change{Recorded: uint32(line), Installation: &i})
}

func keep(i, old *cim.MeterInstallation) {
	if i.End == 0 {
		i.End = old.End
	}
	if i.Reason == "" {
		i.Reason = old.Reason
	}
	pair := func(p, was *cim.RegisterPair) {
		if !p.HasImport {
			p.Import, p.HasImport = was.Import, was.HasImport
		}
		if !p.HasExport {
			p.Export, p.HasExport = was.Export, was.HasExport
		}
	}
	pair(&i.First, &old.First)
	pair(&i.Last, &old.Last)
}

// againstReading says how the final register of an installation contradicts what the meter told, "" if it does not: a meter with dials
// may have rolled over since.
func againstReading(i *cim.MeterInstallation, r Reading, dials uint8) (column, value, wrong string) {
	if i.End == 0 || i.End == i.Start || r.Time == 0 || r.Time < i.Start || r.Time > i.End {
		return "", "", ""
	}
	most := mostBetween(r.Time, i.End)
	for _, c := range []struct {
		name       string
		has        bool
		told, read uint64
	}{{"import", i.Last.HasImport, i.Last.Import, r.Import}, {"export", i.Last.HasExport && !r.NoExport, i.Last.Export, r.Export}} {
		if span := rollsAt(dials); span != 0 {
			c.read %= span // that of a load profile is added up
		}
		column, value = "remove_"+c.name+"_wh", fmt.Sprint(c.told)
		switch {
		case c.has && fell(c.read, c.told, dials):
			return column, value, fmt.Sprintf("is below the %d Wh that meter %s told at %s: read it again", c.read, i.Meter, cim.Stamp(r.Time))
		case c.has && advance(c.read, c.told, dials) > most:
			return column, value, tooHigh("what meter "+i.Meter+" told", c.read, r.Time, i.End, most)
		}
	}
	return "", "", ""
}
