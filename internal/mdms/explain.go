package mdms

import (
	"context"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/store"
)

// queryExplain tells every value that one interval ever had, and where each came from.
func (m *MDMS) queryExplain(ctx context.Context, q api.ExplainQuery) (api.Explanation, error) {
	ch, err := channelNamed(q.Channel)
	if err != nil {
		return api.Explanation{}, err
	}
	at := q.At.Unix()
	if at < 1 || at > 1<<32-1-dayLength {
		return api.Explanation{}, api.BadRequest("at", "%v is out of range, want 1970 to 2106", q.At)
	}
	if err := m.checkKept("at", uint32(at)); err != nil {
		return api.Explanation{}, err
	}
	if now := m.o.Clock.Unix(); uint32(at) > now {
		return api.Explanation{}, api.BadRequest("at", "%s lies in the future of the centre, whose time is %s", unix(uint32(at)).Format(time.RFC3339), unix(now).Format(time.RFC3339))
	}
	day := cim.DayOf(uint32(at))
	m.mu.RLock()
	d, err := m.meter(q.ID)
	if err != nil {
		m.mu.RUnlock()
		return api.Explanation{}, err
	}
	s := m.seriesOf(dayKey{device: d.Ordinal, channel: ch})
	if s == nil {
		m.mu.RUnlock()
		return api.Explanation{}, api.NotFound("meter %s has no channel %v", q.ID, ch)
	}
	a := s.snapshot(day, day)
	a.rolls = m.rolls(q.ID, uint32(at), registry.Now)
	m.mu.RUnlock()
	if err := a.load(ctx, m.o.Store, day, day); err != nil {
		return api.Explanation{}, err
	}
	if err := a.judge(ctx, m.o.Store, day, day); err != nil {
		return api.Explanation{}, err
	}
	r := a.row(day)
	k, err := a.known(r)
	if err != nil {
		return api.Explanation{}, err
	}
	i := r.next(int((uint32(at) - day.Start()) / r.step()))
	if i >= len(r.cells) {
		return api.Explanation{}, api.NotFound("meter %s has no interval at %v", q.ID, q.At)
	}
	out := api.Explanation{Meter: q.ID, Channel: ch.String(), Start: unix(r.start(i)), End: unix(r.at(i)), Value: wattHours(k.Wh[i-1]),
		Quality: k.Quality[i-1].String(), ReadingQuality: qualityCode(&k, i-1), Versions: []api.ValueVersion{}, Findings: []api.Finding{}}
	x := explainer{m: m, a: a, at: uint32(at), out: &out}
	if err := x.versions(ctx, day); err != nil {
		return out, err
	}
	if open := a.rows[day]; open != nil && !open.block && (open.cells[i].wh != cim.NoValue || open.refused(i)) {
		x.open(open, i)
	}
	if err := x.findings(ctx, d.Ordinal, ch); err != nil {
		return out, err
	}
	if len(out.Versions) == 0 && len(out.Findings) == 0 && !(a.from != 0 && r.start(i) >= a.from && r.expected(i)) {
		return out, api.NotFound("nothing is expected of meter %s at %v, and nothing came", q.ID, q.At.UTC().Format(time.RFC3339))
	}
	return out, nil
}

// explainer collects the versions of one interval.
type explainer struct {
	m    *MDMS
	a    *account
	at   uint32
	out  *api.Explanation
	last *uint32 // raw value of the block version before
	any  bool
}

// versions puts blocks and verdicts together, in the order in which they were recorded.
func (x *explainer) versions(ctx context.Context, day cim.Day) error {
	var verdicts []*store.Verdict
	q := store.BlockQuery{Device: x.a.device, Channel: x.a.channel, From: day, To: day + 1, All: true}
	if err := x.m.o.Store.Verdicts(ctx, q, func(v *store.Verdict) error { verdicts = append(verdicts, v); return nil }); err != nil {
		return err
	}
	raws := map[uint32]uint32{} // raw value by version of the block
	err := x.m.o.Store.Blocks(ctx, q, func(b *store.Block) error {
		for len(verdicts) > 0 && verdicts[0].Raw < b.Version {
			if err := x.verdict(ctx, verdicts[0], raws); err != nil {
				return err
			}
			verdicts = verdicts[1:]
		}
		x.block(b, raws)
		return nil
	})
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if err := x.verdict(ctx, v, raws); err != nil {
			return err
		}
	}
	return nil
}

// slot is the slot that the interval ends with in slots of a length.
func (x *explainer) slot(length uint16) int {
	return int(x.at%dayLength) / (int(length) * 60)
}

func (x *explainer) block(b *store.Block, raws map[uint32]uint32) {
	r := newRow(&x.a.series, b.Day, b.Length)
	r.fromBlock(b)
	i := r.next(x.slot(b.Length))
	if i >= len(r.cells) {
		return
	}
	wh := r.cells[i].wh
	raws[b.Version] = wh
	if x.any && equalRaw(x.last, wh) {
		return // that version changed another interval
	}
	changed := x.any
	x.any, x.last = true, rawOf(wh)
	v := api.ValueVersion{Kind: r.quality(i).String(), Version: b.Version, Value: wattHours(wh), ReadingQuality: vee.QualityRaw, Recorded: maybe(b.Recorded)}
	came(&v, r.quality(i), changed)
	if wh == cim.NoValue {
		v.ReadingQuality = vee.QualityMissing
	}
	if reg := r.reckon()[i]; reg.known {
		v.Register = x.a.dial(reg.value)
	}
	x.out.Versions = append(x.out.Versions, v)
}

// came tells in which message a value came.
func came(v *api.ValueVersion, q cim.Quality, changed bool) {
	code, there := map[cim.Quality]string{cim.Raw: "value.readings", cim.Recovered: "value.profile"}[q]
	if !there {
		v.Say(api.Say("value.none-came"))
		return
	}
	if changed {
		v.Say(api.Say("value.later"))
	}
	v.Say(api.Say(code))
}

func (x *explainer) open(r *dayRow, i int) {
	v := api.ValueVersion{Kind: r.quality(i).String(), Value: wattHours(r.cells[i].wh), ReadingQuality: vee.QualityRaw}
	if r.cells[i].wh == cim.NoValue {
		v.ReadingQuality = vee.QualityMissing
		v.Say(api.Say("value.none-held"))
	} else {
		came(&v, r.quality(i), false)
	}
	if reg, ok := r.register(i); ok {
		v.Register = x.a.dial(reg)
	}
	v.Say(api.Say("value.open"))
	x.out.Versions = append(x.out.Versions, v)
}

func (x *explainer) verdict(ctx context.Context, v *store.Verdict, raws map[uint32]uint32) error {
	doc, err := v.Decode()
	if err != nil {
		return err
	}
	out := api.ValueVersion{Kind: cim.Validated.String(), Version: v.Version, ReadingQuality: vee.QualityValidated, Recorded: maybe(v.Recorded),
		By: v.By, Rules: v.Rules, RawVersion: v.Raw}
	said := api.Say("value.validated")
	if raw, ok := raws[v.Raw]; ok {
		out.Value = wattHours(raw)
	}
	if out.Value == nil {
		out.Kind, out.ReadingQuality = cim.Missing.String(), vee.QualityMissing
		said = api.Say("value.not-estimated")
	}
	// Joined intervals end with their last slot: the cell stands there.
	slot := x.slot(v.Length)
	for _, c := range doc.Cells {
		if c.Slot != slot {
			continue
		}
		out.Kind, out.ReadingQuality, out.Method = c.Quality.String(), c.Code, c.Method
		if c.Wh != nil {
			out.Value = wattHours(*c.Wh)
		}
		for _, n := range c.Numbers {
			out.Numbers = append(out.Numbers, api.Number(n))
		}
		if said = x.judgement(&c); said != nil {
			out.Say(said)
			said = nil
		}
		if c.Lost {
			out.Say(api.Say("value.lost"))
		}
		if c.Edit != 0 {
			if err := x.edit(ctx, &c, &out); err != nil {
				return err
			}
		}
	}
	if said != nil {
		out.Say(said)
	}
	x.out.Versions = append(x.out.Versions, out)
	return nil
}

func (x *explainer) judgement(c *store.Cell) *api.Said {
	switch {
	case c.Quality == cim.Estimated:
		return api.Say("value.estimated", "method", c.Method)
	case c.Quality == cim.Validated && c.Edit == 0:
		return api.Say("value.out")
	case c.Quality == cim.Raw && c.Code == vee.QualityFailed:
		return api.Say("value.failed")
	case c.Quality == cim.Raw:
		return api.Say("value.doubted")
	case c.Quality == cim.Missing:
		return api.Say("value.no-estimate")
	}
	return nil
}

// edit tells who decided.
func (x *explainer) edit(ctx context.Context, c *store.Cell, out *api.ValueVersion) error {
	e, err := x.m.edit(ctx, c.Edit)
	if err != nil {
		return err
	}
	out.Edit, out.Reason, out.Comment, out.By = e.ID, e.Reason, e.Comment, e.By+", "+e.Decider
	out.Text, out.Said = "", nil
	out.Say(api.Say(map[string]string{api.EditSet: "value.set", api.EditEstimate: "value.estimate", api.EditAccept: "value.accept"}[e.Action]))
	out.Say(api.Say("value.decided", "who", e.By, "decider", e.Decider, "reason", e.Reason))
	return nil
}

func (x *explainer) findings(ctx context.Context, device uint32, ch cim.Channel) error {
	found, err := x.m.o.Store.Findings(ctx, store.FindingQuery{Device: &device, From: uint32(x.out.Start.Unix()), To: uint32(x.out.End.Unix()), All: true, Limit: maxPage})
	if err != nil {
		return err
	}
	for i := range found {
		if found[i].Channel != ch {
			continue
		}
		f, err := x.m.finding(&found[i])
		if err != nil {
			return err
		}
		x.out.Findings = append(x.out.Findings, f)
	}
	return nil
}

// editID reads the id of an edit.
func editID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 63)
	if err != nil || id == 0 {
		return 0, api.BadRequest("id", "%.40q is no id of an edit", s)
	}
	return id, nil
}
