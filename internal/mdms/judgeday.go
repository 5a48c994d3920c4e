package mdms

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/store"
)

const (
	stretchAhead = 10 // days behind it, where the gap may end
	historyBack  = 28 // days that make the usual day
)

// pasts keep, for every series, the history up to the day that was judged last: 60 bytes a series.
type pasts struct{ of [2][]past }

type past struct {
	day cim.Day // that the history ends with; 0: none
	h   vee.History
}

func (p *pasts) at(k dayKey) *past {
	list := &p.of[min(k.channel, 1)]
	for int(k.device) >= len(*list) {
		*list = append(*list, past{})
	}
	return &(*list)[k.device]
}

// facts are what is known of a day's device.
type facts struct {
	id     string
	path   string
	from   uint32 // first expected interval
	until  uint32 // nothing from here on is expected; 0: it goes on
	length uint16
	master vee.Master
	lost   []bool // slots of which a value cannot come any more, if it did not; nil: none
	off    uint32 // since when the breaker is open; 0: it is not
}

func (m *MDMS) factsOf(k dayKey) (facts, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.seriesOf(k)
	if s == nil {
		return facts{}, false
	}
	d := m.devices[k.device]
	f := facts{id: d.ID, path: d.EndDevice.Path, from: s.from, until: s.until, length: s.length}
	if d.Breaker.State == cim.BreakerOpen {
		f.off = max(d.Breaker.Since, 1)
	}
	f.lost = s.lostSlots(k.day, cim.DayOf(m.now))
	f.master = m.masterOf(d.ID, max(k.day.Start(), s.from))
	return f, true
}

// lostSlots are the slots of a day that the meter does not hold any more, or was asked for too often.
func (s *series) lostSlots(day, today cim.Day) []bool {
	r := s.find(day)
	length := s.length
	if r != nil {
		length = r.length
	}
	out := make([]bool, 1440/int(length))
	any := false
	for i := range out {
		start := day.Start() + uint32(i)*uint32(length)*60
		out[i] = day+giveUpDays < today || start < s.oldest || r != nil && r.refused(i+1)
		any = any || out[i]
	}
	if !any {
		return nil
	}
	return out
}

// judgeDay judges one day; change are edits to be applied. It returns nil where the newest verdict still says it all.
func (m *MDMS) judgeDay(ctx context.Context, k dayKey, t *task, change map[int]store.Cell) (*judged, error) {
	f, ok := m.factsOf(k)
	if !ok || f.from == 0 && t.block == nil {
		return nil, nil
	}
	b := t.block
	if b == nil {
		var err error
		if b, err = m.loadBlock(k.device, k.channel, k.day); err != nil {
			return nil, err
		}
	}
	prev := t.prev
	if !t.looked {
		var err error
		if prev, err = m.newestVerdict(ctx, k); err != nil {
			return nil, err
		}
	}
	version := uint32(0)
	if b == nil {
		b = emptyBlock(k, f.length)
	} else {
		version = b.Version
	}
	rules := m.judge.rules
	if prev != nil && prev.Raw == version && prev.Rules == rules.ID() && !t.again && change == nil {
		return nil, nil
	}
	x := &dayCase{k: k, b: b, f: f, rules: rules}
	if err := x.prepare(prev, change, t.flags); err != nil {
		return nil, err
	}
	m.checkRegistry(x)
	if version == 0 && prev == nil && change == nil && x.p.Expected != nil && !slices.Contains(x.p.Expected, true) {
		return nil, nil // the meter was not there
	}
	h, err := m.history(ctx, k, f.from)
	if err != nil {
		return nil, err
	}
	if f.off != 0 && f.off < k.day.Start()+dayLength {
		x.f.master.Off = true
	}
	before := h.h
	v := rules.Validate(x.f.master, &x.p, &before)
	x.findings = v.Findings
	if !x.empty {
		h.h.Add(&x.p, x.usable(&v))
		h.day = k.day
	}
	if x.open(&v) {
		if err := m.estimate(ctx, x, &before); err != nil {
			return nil, err
		}
	}
	out := &judged{verdict: x.verdict(version, prev), findings: x.findings}
	if prev != nil && prev.Raw == out.verdict.Raw && prev.Rules == out.verdict.Rules && prev.Quality == out.verdict.Quality && bytes.Equal(prev.Doc, out.verdict.Doc) {
		return nil, nil
	}
	return out, nil
}

func emptyBlock(k dayKey, length uint16) *store.Block {
	n := 1440 / int(length)
	b := &store.Block{Device: k.device, Channel: k.channel, Day: k.day, Length: length, Wh: make([]uint32, n), Quality: make([]cim.Quality, n)}
	for i := range b.Wh {
		b.Wh[i] = cim.NoValue
	}
	return b
}

func (m *MDMS) newestVerdict(ctx context.Context, k dayKey) (*store.Verdict, error) {
	var out *store.Verdict
	err := m.o.Store.Verdicts(ctx, store.BlockQuery{Device: k.device, Channel: k.channel, From: k.day, To: k.day + 1}, func(v *store.Verdict) error {
		out = v
		return nil
	})
	return out, err
}

// history is what the days before left behind, out of the store if the series did not just go on. On the day on which the series begins,
// that of a million new meters maybe, there is none to be asked for.
func (m *MDMS) history(ctx context.Context, k dayKey, begins uint32) (*past, error) {
	p := m.judge.past.at(k)
	if p.day != 0 && p.day == k.day-1 {
		return p, nil
	}
	fresh := &past{}
	if p.day < k.day {
		fresh = p // else it is a day of the past, whose history nobody needs again
	}
	*fresh = past{}
	if begins != 0 && cim.DayOf(begins) >= k.day {
		return fresh, nil
	}
	from := k.day - min(k.day, historyBack)
	err := m.o.Store.Blocks(ctx, store.BlockQuery{Device: k.device, Channel: k.channel, From: from, To: k.day}, func(b *store.Block) error {
		p := vee.Period{Start: b.Day.Start(), Length: uint32(b.Length) * 60, Wh: signed(nil, b.Wh)}
		fresh.h.Add(&p, nil)
		return nil
	})
	return fresh, err
}

func signed(dst []int64, wh []uint32) []int64 {
	for _, v := range wh {
		if v == cim.NoValue {
			dst = append(dst, vee.None)
		} else {
			dst = append(dst, int64(v))
		}
	}
	return dst
}

// dayCase is a day while it is judged.
type dayCase struct {
	k        dayKey
	b        *store.Block
	f        facts
	rules    *vee.Rules
	p        vee.Period
	first    int
	empty    bool                // the block holds no value
	edits    map[int]store.Cell  // that people decided, by slot
	cells    map[int]store.Cell  // what else differs from validated values
	was      map[int]*store.Cell // estimates and edits of the verdict before
	fill     []bool              // slots to be estimated
	findings []vee.Finding
}

// prepare makes the period, and takes over what people decided.
func (x *dayCase) prepare(prev *store.Verdict, change map[int]store.Cell, flags []slotFlag) error {
	b := x.b
	x.p = vee.Period{Channel: x.k.channel, Start: x.k.day.Start(), Length: uint32(b.Length) * 60, Wh: signed(make([]int64, 0, len(b.Wh)), b.Wh)}
	x.empty = !slices.ContainsFunc(x.p.Wh, func(v int64) bool { return v != vee.None })
	if x.f.from > x.p.Start {
		x.first = int(min((x.f.from-x.p.Start+x.p.Length-1)/x.p.Length, uint32(len(b.Wh))))
	}
	last := len(b.Wh)
	if until := x.f.until; until != 0 && until < x.p.Start+dayLength {
		last = int((until - min(until, x.p.Start)) / x.p.Length)
	}
	if x.first > 0 || last < len(b.Wh) || slices.Contains(b.Quality, cim.Joined) {
		x.p.Expected = make([]bool, len(b.Wh))
		for i := range x.p.Expected {
			x.p.Expected[i] = i >= x.first && i < last && b.Quality[i] != cim.Joined
		}
	}
	if len(x.f.lost) == len(b.Wh) {
		x.p.Lost = x.f.lost
	}
	for _, s := range flags {
		if i := int(s.slot); i < len(b.Wh) {
			if x.p.Flags == nil {
				x.p.Flags = make([]vee.Flag, len(b.Wh))
			}
			x.p.Flags[i] |= s.flag
		}
	}
	if b.HasReg && len(b.Anchors) > 0 {
		x.p.Registers = append(x.p.Registers, vee.RegisterAt{Wh: b.Register})
	}
	for _, a := range b.Anchors {
		x.p.Registers = append(x.p.Registers, vee.RegisterAt{At: int(a.At), Wh: a.Register})
	}
	if prev == nil && change == nil {
		return nil
	}
	x.edits, x.was = map[int]store.Cell{}, map[int]*store.Cell{}
	if prev != nil && prev.Length == b.Length {
		doc, err := prev.Decode()
		if err != nil {
			return err
		}
		for i := range doc.Cells {
			c := &doc.Cells[i]
			x.was[c.Slot] = c
			if c.Edit != 0 && c.Slot < len(b.Wh) && (c.Quality == cim.Edited || equalRaw(c.Raw, b.Wh[c.Slot])) {
				x.edits[c.Slot] = *c
			}
		}
	}
	for i, c := range change {
		x.edits[i] = c
	}
	return nil
}

func equalRaw(p *uint32, raw uint32) bool {
	if p == nil {
		return raw == cim.NoValue
	}
	return *p == raw
}

func rawOf(wh uint32) *uint32 {
	if wh == cim.NoValue {
		return nil
	}
	return &wh
}

// usable are the values that may make what is usual; nil: all.
func (x *dayCase) usable(v *vee.Verdict) []bool {
	if v.By == nil {
		return nil
	}
	out := make([]bool, len(v.By))
	for i := range out {
		out[i] = v.OK(i)
	}
	return out
}

// open makes the cells of doubted values and finds the slots to be estimated; it reports whether there are any.
func (x *dayCase) open(v *vee.Verdict) bool {
	found := false
	for i := range x.p.Wh {
		if e, ok := x.edits[i]; ok && (e.Wh != nil || e.Quality != cim.Estimated) {
			x.late(i)
			continue
		}
		_, wanted := x.edits[i] // an edit that asks for an estimate
		missing := x.p.Wh[i] == vee.None && (x.p.Expected == nil && i >= x.first || x.p.Expected != nil && x.p.Expected[i])
		bad := v.By != nil && (v.By[i] == vee.Failed || v.By[i] == vee.Suspect && x.rules.EstimateSuspect)
		switch {
		case missing || bad || wanted:
			if x.fill == nil {
				x.fill = make([]bool, len(x.p.Wh))
			}
			x.fill[i], found = true, true
		case !v.OK(i):
			x.put(i, store.Cell{Quality: cim.Raw, Code: vee.QualitySuspect, Raw: rawOf(x.b.Wh[i])})
		default:
			x.late(i)
		}
	}
	return found
}

func (x *dayCase) put(i int, c store.Cell) {
	if x.cells == nil {
		x.cells = map[int]store.Cell{}
	}
	c.Slot = i
	c.Lost = x.p.Lost != nil && x.p.Lost[i] && x.p.Wh[i] == vee.None
	x.cells[i] = c
}

// late tells of a value that came after an estimate of it was made, or against an edit.
func (x *dayCase) late(i int) {
	c := x.was[i]
	if c == nil || c.Wh == nil || x.b.Wh[i] == cim.NoValue || equalRaw(c.Raw, x.b.Wh[i]) {
		return
	}
	if f, ok := x.rules.Late(&x.p, i, int64(*c.Wh), c.Quality == cim.Edited); ok {
		x.findings = append(x.findings, f)
	}
}

// verdict puts it all together.
func (x *dayCase) verdict(version uint32, prev *store.Verdict) store.Verdict {
	out := store.Verdict{Device: x.k.device, Channel: x.k.channel, Day: x.k.day, Length: x.b.Length, Version: 1, Raw: version, Rules: x.rules.ID(), Quality: cim.Validated}
	if prev != nil {
		out.Version = prev.Version + 1
	}
	doc := store.VerdictDoc{First: x.first}
	rank := map[cim.Quality]int{cim.Validated: 0, cim.Edited: 1, cim.Estimated: 2, cim.Raw: 3, cim.Missing: 4}
	for i := range x.p.Wh {
		c, ok := x.cells[i]
		if e, edited := x.edits[i]; edited && (e.Wh != nil || e.Quality != cim.Estimated) {
			c, ok = e, true
		}
		if !ok {
			continue
		}
		doc.Cells = append(doc.Cells, c)
		if rank[c.Quality] > rank[out.Quality] {
			out.Quality = c.Quality
		}
	}
	if doc.First > 0 || len(doc.Cells) > 0 {
		out.Doc, _ = json.Marshal(doc) // plain structs
	}
	return out
}

// estimate fills the gaps of the day.
func (m *MDMS) estimate(ctx context.Context, x *dayCase, h *vee.History) error {
	s, at, err := m.stretch(ctx, x)
	if err != nil {
		return err
	}
	s.Usual, s.Days = h.Usual, h.Days
	for i := range x.fill {
		if x.edits[i].Edit != 0 {
			s.Lift = true // a person decided
		}
	}
	if s.Outages, err = m.outagesOf(ctx, x.f, s.Start, x.p.Start+dayLength); err != nil {
		return err
	}
	es, findings := x.rules.Estimate(x.f.master, s, at, at+len(x.p.Wh))
	for i := range findings {
		findings[i].First -= at
		findings[i].Last -= at
	}
	x.findings = append(x.findings, findings...)
	for _, e := range es {
		i := e.Index - at
		if !x.fill[i] || e.Wh >= int64(cim.NoValue) {
			continue
		}
		wh := uint32(e.Wh)
		c := store.Cell{Wh: &wh, Raw: rawOf(x.b.Wh[i]), Quality: cim.Estimated, Code: e.Quality(), Method: e.Name(), Edit: x.edits[i].Edit}
		if e.Method == vee.Outage {
			c.Quality = cim.Validated
		}
		for _, n := range e.Numbers {
			c.Numbers = append(c.Numbers, store.Number(n))
		}
		x.put(i, c)
	}
	for i, want := range x.fill {
		if _, ok := x.cells[i]; want && !ok {
			c := store.Cell{Quality: cim.Missing, Code: vee.QualityMissing, Raw: rawOf(x.b.Wh[i])}
			if x.b.Wh[i] != cim.NoValue {
				c.Quality, c.Code = cim.Raw, vee.QualityFailed
			}
			x.put(i, c)
		}
	}
	return nil
}

// stretch makes what lies around the day, and says at which slot of it the day begins.
func (m *MDMS) stretch(ctx context.Context, x *dayCase) (*vee.Stretch, int, error) {
	back := cim.Day(x.rules.Weeks)*7 + 1 // that samples may lie back, by a local day
	from := max(x.k.day-min(x.k.day, back), cim.DayOf(x.f.from))
	from = min(from, x.k.day)
	per := len(x.p.Wh)
	s := &vee.Stretch{Start: from.Start(), Length: x.p.Length}
	at := int(x.k.day-from) * per
	var day []int64
	fit := func(b *store.Block) {
		for n := int(b.Day-from) * per; len(s.Wh) < n; { // days without a block
			s.Wh = append(s.Wh, vee.None)
		}
		base := len(s.Wh)
		day = signed(day[:0], b.Wh)
		if len(day) == per {
			s.Wh = append(s.Wh, day...)
		} else {
			s.Wh = regrid(s.Wh, day, per)
		}
		if b.HasReg {
			s.Registers = append(s.Registers, vee.RegisterAt{At: base, Wh: b.Register})
		}
		for _, a := range b.Anchors {
			if n := int(a.At) * per; n%len(b.Wh) == 0 {
				s.Registers = append(s.Registers, vee.RegisterAt{At: base + n/len(b.Wh), Wh: a.Register})
			}
		}
		for i, q := range b.Quality {
			if q == cim.Joined && len(b.Wh) == per { // its energy stands in the slot behind, which is no sample
				s.Wh[base+i] = 0
				s.MarkDoubt(base + i)
			}
		}
	}
	q := store.BlockQuery{Device: x.k.device, Channel: x.k.channel, From: from, To: x.k.day + stretchAhead + 1}
	done := false
	err := m.o.Store.Blocks(ctx, q, func(b *store.Block) error {
		if b.Day >= x.k.day && !done {
			done = true
			fit(x.b)
			if b.Day == x.k.day {
				return nil
			}
		}
		fit(b)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("days around %v of device %d: %w", x.k.day, x.k.device, err)
	}
	if !done {
		fit(x.b)
	}
	for i, want := range x.fill {
		if want {
			s.Wh[at+i] = vee.None
		}
	}
	m.addRegistry(x, s, at)
	// Where the meter was not there nothing was used, which is no sample. One of the day's that is to be estimated all the same is.
	begin, end := int(max(x.f.from, s.Start)-s.Start)/int(s.Length), len(s.Wh)
	if until := x.f.until; until != 0 {
		end = int((until - min(until, s.Start)) / s.Length)
	}
	for i := range s.Wh {
		wanted := i >= at && i < at+per && x.fill[i-at]
		if s.Wh[i] == vee.None && !s.IsShort(i) && (i < begin || i >= end && !wanted) {
			s.Wh[i] = 0
			s.MarkDoubt(i)
		}
	}
	return s, at, nil
}

// regrid appends a day's values in slots of another length: shorter ones are added up, longer ones do not tell their parts.
func regrid(dst, day []int64, per int) []int64 {
	for i := range per {
		v := int64(vee.None)
		if len(day)%per == 0 {
			n := len(day) / per
			v = 0
			for _, p := range day[i*n : (i+1)*n] {
				if p == vee.None {
					v = vee.None
					break
				}
				v += p
			}
		}
		dst = append(dst, v)
	}
	return dst
}

// outagesOf are the confirmed outages of a meter within a time.
func (m *MDMS) outagesOf(ctx context.Context, f facts, from, to uint32) ([]vee.Span, error) {
	var out []vee.Span
	before := uint64(0)
	for range 20 { // pages; older ones are past what is estimated
		page, err := m.o.Store.Outages(ctx, before, 500, false)
		if err != nil {
			return nil, err
		}
		for _, o := range page {
			if before = o.ID; o.Start >= to || o.End != 0 && o.End <= from {
				continue
			}
			doc, err := decodeOutage(o)
			if err != nil {
				return nil, err
			}
			if doc.Kind == "power-lost" && doc.Meter == f.id {
				end := o.End
				if end == 0 {
					end = uint32(min(uint64(m.o.Clock.Unix()), uint64(to)))
				}
				out = append(out, vee.Span{From: o.Start, To: end})
			}
		}
		if len(page) < 500 || page[len(page)-1].Start+90*dayLength < from {
			break
		}
	}
	return out, nil
}

// slotFlag is what a meter said of one interval.
type slotFlag struct {
	slot uint16
	flag vee.Flag
}
