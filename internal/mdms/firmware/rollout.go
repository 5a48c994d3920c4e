package firmware

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

func formatID(id uint64) string { return strconv.FormatUint(id, 10) }

// ParseID reads the id of a roll-out as the API writes it, or returns an *api.Problem.
func ParseID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 63)
	if err != nil || id == 0 || formatID(id) != s {
		return 0, api.BadRequest("id", "%.40q is no id of a roll-out, want a decimal number", s)
	}
	return id, nil
}

// Create accepts a roll-out of an image to the meters of a list. Nothing goes out before the next Changed. Errors are *api.Problem and name the field.
func (e *Engine) Create(req api.RollOutRequest, l *List, img record.Image) (api.RollOut, error) {
	r, err := e.check(&req, img)
	if err != nil {
		return api.RollOut{}, err
	}
	if err := e.room(l); err != nil {
		return api.RollOut{}, err
	}
	e.begun++
	now := e.o.Wall()
	r.id = e.o.NewID()
	r.doc.ID, r.doc.Created, r.doc.State = formatID(r.id), now.UTC(), api.RollOutRunning
	r.doc.Expires = now.Add(r.lasts).UTC()
	r.first = l.first
	r.doc.Progress.First = r.first
	r.enlist(l)
	r.doc.History = []api.Transition{{State: r.doc.State, Time: now.UTC()}}
	if n := len(r.members); e.o.ApproveFrom >= 0 && n >= e.o.ApproveFrom {
		why := api.Say("rollout.many", "n", n, "from", e.o.ApproveFrom)
		r.doc.State, r.doc.Approval = api.RollOutPending, &api.Approval{Why: why.String(), Said: why}
		r.doc.Expires = now.Add(e.o.ApproveWithin).UTC()
		r.doc.History[0] = api.NewTransition(r.doc.State, now, why)
	}
	r.deadline = r.doc.Expires
	r.listing = true
	e.know(r)
	left := stepMembers
	e.work(r, &left, now)
	e.note(r, "create", req.By, map[string]any{"image": req.Image, "version": r.doc.Version, "target": req.Target, "meters": len(r.members), "state": r.doc.State,
		"activateAt": req.ActivateAt, "onCommand": req.OnCommand, "first": req.First})
	e.settle(r, now)
	e.touch(r)
	return e.view(r), nil
}

// check checks what needs no knowledge of meters.
func (e *Engine) check(req *api.RollOutRequest, img record.Image) (*rollOut, error) {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&req.BlockSize, DefaultBlockSize)
	set(&req.Rate, DefaultRate)
	set(&req.ExpiresIn, int(DefaultExpiry/time.Second))
	in := func(field string, v, low, high float64) error {
		if v < low || v > high || math.IsNaN(v) {
			return api.BadRequest(field, "%v, want %v to %v", v, low, high)
		}
		return nil
	}
	for _, err := range []error{in("blockSize", float64(req.BlockSize), record.MinBlockSize, record.MaxBlockSize), in("rate", float64(req.Rate), 100, 10_000_000),
		in("first", req.First, 0, 100), in("maxFailures", req.MaxFailures, 0, 100), in("expiresIn", float64(req.ExpiresIn), 60, MaxExpiry.Seconds())} {
		if err != nil {
			return nil, err
		}
	}
	r := &rollOut{size: uint16(req.BlockSize), rate: req.Rate, lasts: time.Duration(req.ExpiresIn) * time.Second, activate: record.ActivateNow}
	switch {
	case req.OnCommand && req.ActivateAt != nil:
		return nil, api.BadRequest("activateAt", "is set, and onCommand: want one of the two")
	case req.OnCommand:
		r.activate = record.ActivateNever
	case req.ActivateAt != nil:
		at := req.ActivateAt.Unix()
		if now := e.o.Clock.Now(); at < now.Unix()-60 || at >= math.MaxUint32 {
			return nil, api.BadRequest("activateAt", "%s, want a time that is to come, now it is %s", req.ActivateAt.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
		if end := e.o.Clock.Deadline(r.lasts); !req.ActivateAt.Before(end) && !end.Before(e.o.Clock.Now()) {
			return nil, api.BadRequest("activateAt", "%s, but the roll-out expires at %s, and no meter activates the image after that: want an earlier time, or a longer expiresIn",
				req.ActivateAt.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
		}
		r.activate = uint32(at)
	}
	if n := record.Blocks(img.Size, r.size); n > record.MaxBlocks {
		return nil, api.BadRequest("blockSize", "%d: the image would have %d blocks, want at most %d", req.BlockSize, n, record.MaxBlocks)
	}
	r.setImage(img)
	r.doc = api.RollOut{Image: req.Image, Version: img.Version.String(), Model: img.Model, Target: req.Target, By: req.By, ActivateAt: req.ActivateAt, OnCommand: req.OnCommand,
		BlockSize: req.BlockSize, Rate: req.Rate, First: req.First, MaxFailures: req.MaxFailures}
	return r, nil
}

func (r *rollOut) setImage(img record.Image) {
	r.image, r.loaded, r.blocks = img, true, record.Blocks(img.Size, r.size)
}

// room refuses what would be too much, and meters that are in another roll-out: two would take turns in their memory for ever.
func (e *Engine) room(l *List) error {
	if len(e.order) >= e.o.MaxOpen {
		return &api.Problem{Title: "Too many roll-outs", Status: 429, Detail: fmt.Sprintf("%d have not ended, as many as are allowed: wait, or cancel one", len(e.order))}
	}
	if n := e.Stats().Members; n+len(l.members) > e.o.MaxMembers {
		return &api.Problem{Title: "Too many meters", Status: 429, Field: "target", Detail: fmt.Sprintf("with %d more, %d meters would be in roll-outs, want at most %d", len(l.members), n+len(l.members), e.o.MaxMembers)}
	}
	for _, r := range e.order {
		if r.open() && r.taken < len(r.members) {
			return api.Conflict("roll-out %d to %d meters is still being begun, so that nobody knows yet who is in it: try again in some seconds", r.id, len(r.members))
		}
	}
	if l.looked != len(l.members) || l.begun != e.begun { // another one has begun meanwhile, or nobody looked
		e.Look(l, 0, len(l.members))
	}
	if l.taken > 0 {
		return &api.Problem{Title: "Conflict", Status: 409, Field: "target", Detail: fmt.Sprintf("%d of the meters are in another roll-out that has not ended, the first of them %s: wait for its end, or cancel it", l.taken, l.where)}
	}
	return nil
}

// Look looks which of a list's members, from one on and at most n, are in another roll-out: before Create, in turns of its own, for a million of them
// take longer than one may.
func (e *Engine) Look(l *List, from, n int) {
	beginning := slices.ContainsFunc(e.order, func(r *rollOut) bool { return r.open() && r.taken < len(r.members) })
	if from == 0 {
		l.looked, l.taken, l.where, l.begun = 0, 0, "", e.begun
	}
	if from != l.looked || beginning { // Create looks anew
		return
	}
	to := min(from+n, len(l.members))
	l.looked = to
	if len(e.of) == 0 {
		return
	}
	for i := range l.members[from:to] {
		for _, m := range e.of[l.members[from+i].dev] {
			if !m.r.open() { // about to be ended with it
				continue
			}
			if l.taken++; l.taken == 1 {
				l.where = fmt.Sprintf("%s, in roll-out %d", m.dev.ID, m.r.id)
			}
			break
		}
	}
}

// List is who a roll-out is for. It is made without the engine: for a million meters that takes longer than a turn may.
type List struct {
	members []member // without their roll-out
	listed  []byte
	first   int

	looked int    // of the members, those that Look looked for in other roll-outs
	begun  uint64 // Engine.begun when it began
	taken  int    // those that it found in one
	where  string // the first of them, and in which
}

// Len is the number of its members.
func (l *List) Len() int { return len(l.members) }

// NewList lists devices, those of a first stage of so many per cent first: which ones these are follows from their ids, and is spread over all.
func NewList(devices []*cim.EndDevice, per float64) *List {
	n := 0
	if n = int(math.Ceil(float64(len(devices)) * per / 100)); !(per > 0 && n < len(devices)) {
		n = 0
	}
	return newList(devices, n)
}

func newList(devices []*cim.EndDevice, first int) *List {
	type keyed struct {
		key uint64
		dev *cim.EndDevice
	}
	keys := make([]keyed, len(devices))
	h := fnv.New64a()
	for i, dev := range devices {
		h.Reset()
		_, _ = h.Write([]byte(dev.ID)) // never fails
		x := h.Sum64()
		keys[i] = keyed{(x ^ x>>33) * 0xff51afd7ed558ccd, dev}
	}
	slices.SortFunc(keys, func(a, b keyed) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.dev.ID, b.dev.ID)) })
	l := &List{members: make([]member, len(devices)), listed: ordinals(devices), first: first}
	for i, k := range keys {
		l.members[i] = member{dev: k.dev, due: never}
	}
	return l
}

// enlist makes the devices of a list the members.
func (r *rollOut) enlist(l *List) {
	r.members, r.listed = l.members, l.listed
	r.reasons = map[record.ImageReason]int{}
	r.counts[waiting] = len(r.members)
}

// know makes a roll-out known to the engine; work takes in its meters.
func (e *Engine) know(r *rollOut) {
	e.open[r.id] = r
	e.order = append(e.order, r)
	r.lanes = map[string]*lane{}
}

// takeIn makes a meter of a roll-out known to the engine, if it has not ended.
func (e *Engine) takeIn(m *member) {
	if !m.state.finished() {
		e.of[m.dev] = append(e.of[m.dev], m)
		e.place(m)
	}
}

// work takes in, lets go, or ends at most *left of a roll-out's meters.
func (e *Engine) work(r *rollOut, left *int, now time.Time) {
	for ; r.open() && r.taken < len(r.members) && *left > 0; *left-- {
		m := &r.members[r.taken]
		m.r = r
		r.taken++
		e.touchMember(m) // each of them is kept with the roll-out
		if record.FirmwareVersion(m.dev.Firmware) == r.image.Version {
			e.set(m, activated, record.ImageFine)
			continue
		}
		e.takeIn(m)
	}
	for ; r.open() && r.goes() && r.begun < min(r.upto, r.taken) && *left > 0; *left-- {
		m := &r.members[r.begun]
		r.begun++
		if !m.now && !m.state.finished() {
			m.now = true
			e.plan(m, now)
		}
	}
	if !r.open() && r.ended < len(r.members) && *left > 0 {
		e.endSome(r, left)
	}
}

// start lets the meters of the stage have their offers.
func (e *Engine) start(r *rollOut) {
	r.upto = len(r.members)
	if r.first > 0 && !r.widened {
		r.upto = r.first
	}
}

// set brings a meter into another state.
func (e *Engine) set(m *member, s state, why record.ImageReason) {
	if m.state == s && m.reason == why {
		return
	}
	r := m.r
	if m.reason != record.ImageFine {
		r.reasons[m.reason]--
	}
	if why != record.ImageFine {
		r.reasons[why]++
	}
	r.counts[m.state]--
	m.state, m.reason = s, why
	r.counts[s]++
	r.recount(m)
	e.touchMember(m)
	e.touch(r)
}

// end ends a meter's part.
func (e *Engine) end(m *member, s state, why record.ImageReason) {
	e.set(m, s, why)
	m.due = never
	e.unplace(m)
	ms := slices.DeleteFunc(e.of[m.dev], func(x *member) bool { return x == m })
	if len(ms) == 0 {
		delete(e.of, m.dev)
	} else {
		e.of[m.dev] = ms
	}
}

// settle looks whether the stage or the whole roll-out has ended.
func (e *Engine) settle(r *rollOut, now time.Time) {
	if !r.open() {
		return
	}
	if r.finished() == len(r.members) {
		e.conclude(r, api.RollOutDone, now, nil)
		return
	}
	if r.first == 0 || r.widened || r.doc.State != api.RollOutRunning {
		return
	}
	bad := 0
	for i := range r.members[:r.first] {
		switch m := &r.members[i]; {
		case !m.state.finished():
			return
		case m.state != activated:
			bad++
		}
	}
	r.widened = true
	if share := 100 * float64(bad) / float64(r.first); share > r.doc.MaxFailures {
		e.step(r, api.RollOutPaused, now, api.Say("rollout.bad", "bad", bad, "n", r.first, "share", r.doc.MaxFailures))
		return
	}
	e.step(r, api.RollOutRunning, now, api.Say("rollout.first", "n", r.first))
	e.start(r)
}

// conclude ends a roll-out; what has not ended of it ends with it, in steps. What comes from its meters meanwhile changes nothing.
func (e *Engine) conclude(r *rollOut, state string, now time.Time, why *api.Said) {
	e.step(r, state, now, why)
	e.note(r, "end", audit.Centre, map[string]any{"state": state, "states": e.view(r).Progress.States, "why": why.String()})
	r.lanes, r.order = nil, nil
	if r.finished() == len(r.members) {
		r.ended = len(r.members)
	}
	left := stepMembers
	e.work(r, &left, now)
}

// rest is what the meters become that have not ended when their roll-out has.
func (r *rollOut) rest() state {
	if r.doc.State == api.RollOutExpired {
		return expired
	}
	return cancelled
}

// shown is a meter's state as it is told: behind the end of a roll-out none is under way, although they are ended in steps.
func (r *rollOut) shown(s state) state {
	if r.open() || s.finished() {
		return s
	}
	return r.rest()
}

// Drop is a command to meters that may hold the image of a roll-out which was cancelled, and do not run it: they are to drop it.
type Drop struct {
	RollOut, Image, By string
	Expires            time.Time // of the offers: who hears of neither gives it up by itself
	Meters             []string
}

// endSome ends some of the meters of a roll-out that has ended.
func (e *Engine) endSome(r *rollOut, left *int) {
	rest := r.rest()
	var drop []string
	for ; r.ended < len(r.members) && *left > 0; *left-- {
		m := &r.members[r.ended]
		m.r, m.lane = r, nil
		r.ended++
		if m.state.finished() {
			continue
		}
		if m.now && rest == cancelled && m.dev.Kind == topic.Meter {
			drop = append(drop, m.dev.ID)
		}
		e.end(m, rest, record.ImageFine)
	}
	if len(drop) > 0 {
		e.drops = append(e.drops, Drop{RollOut: r.doc.ID, Image: r.doc.Image, By: r.endedBy, Expires: r.doc.Expires, Meters: drop})
	}
}

// recount keeps how many blocks are there among those who receive.
func (r *rollOut) recount(m *member) {
	n := uint16(0)
	if m.state == receiving {
		n = m.first
		for _, w := range m.window {
			n += uint16(bits.OnesCount64(w))
		}
	}
	r.parts += int(n) - int(m.part)
	m.part = n
}

func (e *Engine) step(r *rollOut, state string, now time.Time, why *api.Said) {
	r.doc.State = state
	if len(r.doc.History) < historyMost {
		r.doc.History = append(r.doc.History, api.NewTransition(state, now, why))
	}
	r.stored = time.Time{} // kept at once
	e.touch(r)
}

// Do changes a roll-out. Errors are *api.Problem: 404, or 409 where that cannot be done in its state.
func (e *Engine) Do(a api.RollOutAction) (api.RollOut, error) {
	id, err := ParseID(a.ID)
	if err != nil {
		return api.RollOut{}, err
	}
	if len(a.Comment) > 1000 {
		return api.RollOut{}, api.BadRequest("comment", "%d bytes, want at most 1000", len(a.Comment))
	}
	r := e.open[id]
	if r == nil || !r.open() {
		return api.RollOut{}, api.Conflict("roll-out %s has ended, or there is none", a.ID)
	}
	now := e.o.Wall()
	was := r.doc.State
	by := cmp.Or(a.By, audit.Centre)
	switch {
	case a.Action == "pause" && was == api.RollOutRunning:
		e.step(r, api.RollOutPaused, now, api.Say("rollout.paused", "who", by))
	case a.Action == "resume" && was == api.RollOutPaused:
		e.step(r, api.RollOutRunning, now, api.Say("rollout.resumed", "who", by))
		e.start(r)
	case a.Action == "cancel":
		r.endedBy = a.By
		e.conclude(r, api.RollOutCancelled, now, api.Say("rollout.cancelled", "who", by))
	case a.Action == "approve" && was == api.RollOutPending:
		if a.By == r.doc.By {
			return e.view(r), api.Conflict("roll-out %s was asked for by %s, too: another person has to approve it, with a token of that person's own", a.ID, a.By)
		}
		e.decided(r, a, now)
		r.doc.Expires = now.Add(r.lasts).UTC()
		r.deadline = r.doc.Expires
		r.kept = false // it goes out once this is kept
		e.step(r, api.RollOutRunning, now, api.Say("command.approved", "who", by))
	case a.Action == "reject" && was == api.RollOutPending:
		e.decided(r, a, now)
		r.doc.Approval.Rejected = true
		e.conclude(r, api.RollOutCancelled, now, api.Say("command.rejected", "who", by))
	case !slices.Contains([]string{"pause", "resume", "approve", "reject"}, a.Action):
		return e.view(r), api.BadRequest("action", "%.40q, want pause, resume, cancel, approve or reject", a.Action)
	default:
		return e.view(r), api.Conflict("roll-out %s is %s: that cannot be done", a.ID, was)
	}
	e.note(r, a.Action, a.By, map[string]any{"comment": a.Comment, "state": r.doc.State})
	return e.view(r), nil
}

func (e *Engine) decided(r *rollOut, a api.RollOutAction, now time.Time) {
	at := now.UTC()
	r.doc.Approval.By, r.doc.Approval.Time, r.doc.Approval.Comment = a.By, &at, a.Comment
}

// Uses names a roll-out of an image that has not ended; "" if there is none.
func (e *Engine) Uses(image string) string {
	for _, r := range e.order {
		if r.open() && r.doc.Image == image {
			return r.doc.ID
		}
	}
	return ""
}

func (e *Engine) note(r *rollOut, action, actor string, detail any) {
	e.trail = append(e.trail, audit.Entry{Time: e.o.Wall().UTC(), Actor: cmp.Or(actor, audit.Centre), Action: "rollout." + action, Subject: r.doc.ID, Detail: audit.Detail(detail)})
}
