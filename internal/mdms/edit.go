package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

const (
	maxEditDays = 62
	maxComment  = 1000
)

// proposeEdit checks and keeps an edit. It takes effect once somebody else has approved it.
//
//	proposed ──approve, by another person──> approved: a new verdict of each day
//	         ──reject──────────────────────> rejected
//	         ──withdraw, by who proposed it──> withdrawn
func (m *MDMS) proposeEdit(ctx context.Context, q api.EditRequest) (api.Edit, error) {
	e := api.Edit{Meter: q.Meter, From: q.From.UTC(), To: q.To.UTC(), Action: q.Action, Reason: q.Reason, Comment: q.Comment, State: api.EditProposed, By: q.By}
	ch, err := channelNamed(q.Channel)
	if err != nil {
		return e, err
	}
	e.Channel = ch.String()
	switch {
	case q.By == "":
		return e, api.BadRequest("by", "nobody asks: an edit needs a name")
	case !slices.Contains(api.EditReasons(), q.Reason):
		return e, api.BadRequest("reason", "%.40q, want one of %s", q.Reason, strings.Join(api.EditReasons(), ", "))
	case q.Reason == "other" && strings.TrimSpace(q.Comment) == "":
		return e, api.BadRequest("comment", "the reason other needs one")
	case len(q.Comment) > maxComment:
		return e, api.BadRequest("comment", "%d bytes, want at most %d", len(q.Comment), maxComment)
	case q.Action != api.EditSet && q.Action != api.EditEstimate && q.Action != api.EditAccept:
		return e, api.BadRequest("action", "%.40q, want set, estimate or accept", q.Action)
	case q.Action != api.EditSet && len(q.Values) > 0:
		return e, api.BadRequest("values", "only the action set takes values")
	case m.o.VEE.Off:
		return e, api.BadRequest("action", "validation and estimation are off here, and editing with them")
	}
	k, err := m.editSpan(&e, ch)
	if err != nil {
		return e, err
	}
	if e.Values, err = m.editValues(ctx, k, &e); err != nil {
		return e, err
	}
	if q.Action == api.EditSet && len(q.Values) != len(e.Values) {
		return e, api.BadRequest("values", "%d of them, want one for each of the %d intervals that start in the span", len(q.Values), len(e.Values))
	}
	for i := range q.Values {
		end := q.To
		if i+1 < len(e.Values) {
			end = e.Values[i+1].Start
		}
		most := int64(record.MaxEnergy(uint32(end.Sub(e.Values[i].Start) / time.Second))) // that a meter can tell
		if q.Values[i] < 0 || q.Values[i] > most {
			return e, api.BadRequest("values", "number %d is %d Wh, want 0 to %d", i+1, q.Values[i], most)
		}
		e.Values[i].Value = &q.Values[i]
	}
	if q.Action == api.EditAccept {
		for i := range e.Values {
			if e.Values[i].Value == nil {
				return e, api.BadRequest("action", "the interval at %v has no value that could be accepted", e.Values[i].Start.Format(time.RFC3339))
			}
		}
	}
	e.Created = time.Now().UTC()
	return e, m.do(ctx, &work{call: func() {
		id := m.newID()
		e.ID = strconv.FormatUint(id, 10)
		doc, _ := json.Marshal(e) // plain structs
		m.pending.Edits = append(m.pending.Edits, store.Edit{ID: id, Created: m.now, Open: true, Doc: doc})
		m.note(e.By, "edit.propose", e.ID, e.Meter, editDetail(&e))
	}})
}

// editSpan checks what an edit is about.
func (m *MDMS) editSpan(e *api.Edit, ch cim.Channel) (dayKey, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, err := m.meter(e.Meter)
	if err != nil {
		return dayKey{}, err
	}
	s := m.seriesOf(dayKey{device: d.Ordinal, channel: ch})
	if s == nil {
		return dayKey{}, api.NotFound("meter %s has no channel %v", e.Meter, ch)
	}
	from, to, err := span(e.From, e.To, 0, 0)
	today := cim.DayOf(m.o.Clock.Unix())
	switch {
	case err != nil:
		return dayKey{}, err
	case e.From.IsZero() || e.To.IsZero() || from >= to:
		return dayKey{}, api.BadRequest("to", "an edit needs from and to, and from before to")
	case cim.DayOf(to-1) >= today:
		return dayKey{}, api.BadRequest("to", "only days that are over can be edited: up to %v", unix(today.Start()).Format(time.RFC3339))
	case s.from == 0 || from < s.from:
		return dayKey{}, api.BadRequest("from", "is before the first interval that is expected of the meter, %v", unix(s.from).Format(time.RFC3339))
	case cim.DayOf(from) < cim.Day(m.kept.Load()):
		return dayKey{}, m.checkKept("from", from)
	case cim.DayOf(to-1)-cim.DayOf(from) >= maxEditDays:
		return dayKey{}, api.BadRequest("to", "an edit has at most %d days", maxEditDays)
	}
	return dayKey{cim.DayOf(from), d.Ordinal, ch}, nil
}

// editValues are the intervals of an edit with the values that count now; for accept also those that came.
func (m *MDMS) editValues(ctx context.Context, k dayKey, e *api.Edit) ([]api.EditValue, error) {
	from, to := uint32(e.From.Unix()), uint32(e.To.Unix())
	out := []api.EditValue{}
	for day := k.day; day.Start() < to; day++ {
		a, r, err := m.editDay(ctx, dayKey{day, k.device, k.channel})
		if err != nil {
			return nil, err
		}
		known, err := a.known(r)
		if err != nil {
			return nil, err
		}
		for i := 1; i < len(r.cells); i++ {
			start := r.start(i)
			if r.joined(i) || start < from || start >= to {
				if !r.joined(i) && start < from && r.at(i) > from || start < to && start >= from && r.at(i) > to {
					return nil, notAligned(r, i)
				}
				continue
			}
			if r.at(i) > to {
				return nil, notAligned(r, i)
			}
			v := api.EditValue{Start: unix(start), Original: wattHours(known.Wh[i-1]), Quality: known.Quality[i-1].String()}
			if e.Action == api.EditAccept {
				v.Value = wattHours(r.cells[i].wh)
			}
			out = append(out, v)
		}
	}
	return out, nil
}

func notAligned(r *dayRow, i int) error {
	return api.BadRequest("from", "from and to have to be boundaries of intervals: one is %v to %v", unix(r.start(i)).Format(time.RFC3339), unix(r.at(i)).Format(time.RFC3339))
}

// editDay reads a day as it is in the store: an edit rests on what is sealed.
func (m *MDMS) editDay(ctx context.Context, k dayKey) (*account, *dayRow, error) {
	m.mu.RLock()
	s := m.seriesOf(k)
	a := s.snapshot(k.day, k.day)
	open := s.find(k.day)
	unsealed, waits := open != nil && !open.block, open != nil && open.waits && open.end() <= m.now
	m.mu.RUnlock()
	if waits {
		return nil, nil, api.BadRequest("from", "%v is over and about to be sealed: try again in some seconds", k.day)
	}
	if unsealed {
		return nil, nil, api.BadRequest("from", "%v is not sealed yet: missing intervals are still being collected", k.day)
	}
	clear(a.rows)
	if err := a.load(ctx, m.o.Store, k.day, k.day); err != nil {
		return nil, nil, err
	}
	if err := a.judge(ctx, m.o.Store, k.day, k.day); err != nil {
		return nil, nil, err
	}
	return a, a.row(k.day), nil
}

// decideEdit approves or rejects. What is approved is in the books when it returns.
func (m *MDMS) decideEdit(ctx context.Context, q api.EditDecision) (api.Edit, error) {
	id, err := editID(q.ID)
	if err != nil {
		return api.Edit{}, err
	}
	if q.By == "" || len(q.Comment) > maxComment {
		return api.Edit{}, api.BadRequest("by", "a decision needs a name, and a comment of at most %d bytes", maxComment)
	}
	var out api.Edit
	done := make(chan error, 1)
	f := func(ctx context.Context) {
		var err error
		out, err = m.decide(ctx, id, q)
		done <- err
	}
	if m.o.VEE.Off {
		return out, api.BadRequest("approve", "validation and estimation are off here, and editing with them")
	}
	select {
	case m.judge.calls <- f:
	case <-ctx.Done():
		return out, ctx.Err()
	}
	select {
	case err = <-done:
		return out, err
	case <-ctx.Done():
		return api.Edit{}, ctx.Err()
	}
}

// decide runs on the judge's goroutine, so that nothing else is judged meanwhile.
func (m *MDMS) decide(ctx context.Context, id uint64, q api.EditDecision) (api.Edit, error) {
	e, err := m.edit(ctx, id)
	if err != nil {
		return e, err
	}
	switch {
	case e.State != api.EditProposed:
		return e, api.Conflict("edit %s is %s already, by %s", e.ID, e.State, e.Decider)
	case q.Withdraw && e.By != q.By:
		return e, api.Conflict("edit %s was proposed by %s, who alone can withdraw it; whoever may approve can reject it", e.ID, e.By)
	case q.Approve && e.By == q.By:
		return e, api.Conflict("edit %s was proposed by %s, too: another person has to approve it", e.ID, e.By)
	}
	now := time.Now().UTC()
	e.Decided, e.Decider, e.Decision, e.State = &now, q.By, q.Comment, api.EditRejected
	if q.Withdraw {
		q.Approve, e.State = false, api.EditWithdrawn
	}
	var batch []judged
	if q.Approve {
		e.State = api.EditApproved
		if batch, err = m.applyEdit(ctx, id, &e); err != nil {
			return e, err
		}
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return e, err
	}
	return e, m.putJudged(ctx, batch, &store.Edit{ID: id, Created: uint32(e.Created.Unix()), Doc: doc}, func() {
		action := "edit.reject"
		if q.Approve {
			action = "edit.approve"
		}
		m.note(q.By, action, e.ID, e.Meter, editDetail(&e))
	})
}

// applyEdit judges the days of an edit with what it says, and fills in what was found.
func (m *MDMS) applyEdit(ctx context.Context, id uint64, e *api.Edit) ([]judged, error) {
	ch, err := channelNamed(e.Channel)
	if err != nil {
		return nil, err
	}
	k, err := m.editSpan(e, ch)
	if err != nil {
		return nil, err
	}
	now, err := m.editValues(ctx, k, e)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(now, e.Values, func(a, b api.EditValue) bool {
		return a.Start.Equal(b.Start) && a.Quality == b.Quality && (a.Original == nil) == (b.Original == nil) && (a.Original == nil || *a.Original == *b.Original)
	}) {
		return nil, api.Conflict("the values have changed since edit %s was proposed: reject it, look again and propose another", e.ID)
	}
	var out []judged
	for rest := e.Values; len(rest) > 0; {
		day := cim.DayOf(uint32(rest[0].Start.Unix()))
		n := 0
		for n < len(rest) && cim.DayOf(uint32(rest[n].Start.Unix())) == day {
			n++
		}
		x, err := m.editOfDay(ctx, dayKey{day, k.device, k.channel}, id, e, rest[:n])
		if err != nil {
			return nil, err
		}
		if x != nil {
			x.verdict.By = e.By + ", " + e.Decider
			out = append(out, *x)
		}
		rest = rest[n:]
	}
	return out, nil
}

func (m *MDMS) editOfDay(ctx context.Context, k dayKey, id uint64, e *api.Edit, values []api.EditValue) (*judged, error) {
	_, r, err := m.editDay(ctx, k)
	if err != nil {
		return nil, err
	}
	change := map[int]store.Cell{}
	slots := make([]int, len(values))
	for n, v := range values {
		slot := r.next(int((uint32(v.Start.Unix())-k.day.Start())/r.step())) - 1 // a joined interval stands in its last slot
		c := store.Cell{Slot: slot, Raw: rawOf(r.cells[slot+1].wh), Edit: id}
		switch e.Action {
		case api.EditSet:
			c.Quality, c.Code = cim.Edited, vee.QualityEdited
			if c.Raw == nil {
				c.Code = vee.QualityAdded
			}
			wh := uint32(*v.Value)
			c.Wh = &wh
		case api.EditAccept:
			c.Quality, c.Code, c.Wh = cim.Validated, vee.QualityValidated, c.Raw
		default:
			c.Quality = cim.Estimated
		}
		change[slot], slots[n] = c, slot
	}
	x, err := m.judgeDay(ctx, k, &task{again: true}, change)
	if err != nil || x == nil || e.Action != api.EditEstimate {
		return x, err
	}
	doc, err := x.verdict.Decode()
	if err != nil {
		return nil, err
	}
	found := map[int]*uint32{}
	for _, c := range doc.Cells {
		found[c.Slot] = c.Wh
	}
	for n, slot := range slots {
		wh := found[slot]
		if wh == nil {
			return nil, api.Conflict("the interval at %v cannot be estimated: there is too little to go by", values[n].Start.Format(time.RFC3339))
		}
		values[n].Value = wattHours(*wh)
	}
	return x, nil
}

// edit reads one edit.
func (m *MDMS) edit(ctx context.Context, id uint64) (api.Edit, error) {
	k, err := m.o.Store.Edit(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return api.Edit{}, api.NotFound("there is no edit %d", id)
	}
	if err != nil {
		return api.Edit{}, err
	}
	return decodeEdit(k)
}

func decodeEdit(k store.Edit) (api.Edit, error) {
	var e api.Edit
	if err := json.Unmarshal(k.Doc, &e); err != nil {
		return e, fmt.Errorf("edit %d in the store: %w", k.ID, err)
	}
	return e, nil
}

func (m *MDMS) queryEdit(ctx context.Context, q api.ByID) (api.Edit, error) {
	id, err := editID(q.ID)
	if err != nil {
		return api.Edit{}, err
	}
	return m.edit(ctx, id)
}

func (m *MDMS) queryEdits(ctx context.Context, q api.EditQuery) (api.Page[api.Edit], error) {
	out := api.Page[api.Edit]{Items: []api.Edit{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	before := uint64(0)
	if q.Cursor != "" {
		if before, err = editID(q.Cursor); err != nil {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
	}
	list, err := m.o.Store.Edits(ctx, before, limit+1, q.Open)
	if err != nil {
		return out, err
	}
	if len(list) > limit {
		list = list[:limit]
		out.Next = strconv.FormatUint(list[limit-1].ID, 10)
	}
	for _, k := range list {
		e, err := decodeEdit(k)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, e)
	}
	return out, nil
}
