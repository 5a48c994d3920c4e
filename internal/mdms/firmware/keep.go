package firmware

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// Changes are what changed since the last call of Changed.
type Changes struct {
	RollOuts []store.RollOut
	Members  []store.RollOutMember
	Drops    []Drop        // commands for the same commit
	Events   []api.Event   // of type firmware, to be published after the commit
	Audit    []audit.Entry // for the same commit
}

// kept is the document of a roll-out in the store: its API form, and what a restart needs beside it.
type kept struct {
	api.RollOut
	Engine engineDoc `json:"engine,omitzero"`
}

type engineDoc struct {
	Activate uint32        `json:"activate,omitempty"`
	Lasts    time.Duration `json:"lasts,omitempty"`
	Widened  bool          `json:"widened,omitempty"`
	EndedBy  string        `json:"endedBy,omitempty"`
	// Meters are all of them, until each was kept by itself: the differences of their ordinals, ascending, as varints.
	Meters []byte `json:"meters,omitempty"`
}

// Decode gives the API form of a roll-out from the store.
func Decode(r store.RollOut) (api.RollOut, error) {
	var doc api.RollOut
	if err := json.Unmarshal(r.Doc, &doc); err != nil {
		return doc, fmt.Errorf("roll-out %d in the store: %w", r.ID, err)
	}
	return doc, nil
}

func (e *Engine) touch(r *rollOut) { r.dirty = true }

func (e *Engine) touchMember(m *member) {
	m.changed = uint32(max(e.o.Clock.Now().Unix(), 0))
	if !m.dirty {
		m.dirty = true
		m.r.dirtyMembers = append(m.r.dirtyMembers, m)
	}
}

// Changed hands out what changed since the last call. From now on the engine may send what belongs to the roll-outs in it: commit them
// before the next Tick. A roll-out is handed out at most once a second, and of the meters of all some at a time: what a restart does not
// find it asks anew. One that has ended stays open in the store until all of its meters are there as they ended.
func (e *Engine) Changed() Changes {
	now := e.o.Wall()
	out := Changes{Audit: e.trail, Drops: e.drops}
	e.trail, e.drops = nil, nil
	left := membersAtOnce
	for _, r := range slices.Clone(e.order) {
		due := r.dirty && (!r.kept || !now.Before(r.stored.Add(keepEvery)))
		if !due && !r.more {
			continue
		}
		n := min(left, len(r.dirtyMembers))
		for _, m := range r.dirtyMembers[:n] {
			m.dirty = false
			out.Members = append(out.Members, store.RollOutMember{RollOut: r.id, Device: m.dev.Ordinal, State: uint8(m.state), Reason: uint8(m.reason), Changed: m.changed})
		}
		r.dirtyMembers = r.dirtyMembers[n:]
		left -= n
		if len(r.dirtyMembers) == 0 {
			r.dirtyMembers = nil
		}
		r.more = len(r.dirtyMembers) > 0 || r.open() && r.taken < len(r.members) || !r.open() && r.ended < len(r.members)
		whole := !r.more && (r.listing || !r.open()) // with the last of its meters
		if r.listing = r.listing && r.more; !r.listing {
			r.listed = nil
		}
		if due || whole {
			e.handOut(r, due, now, &out)
		}
		if !r.open() && !r.more {
			delete(e.open, r.id)
			e.order = slices.DeleteFunc(e.order, func(x *rollOut) bool { return x == r })
			continue
		}
		if !r.kept {
			r.kept = true
			if r.doc.State == api.RollOutRunning {
				e.start(r)
			}
			r.kept = r.doc.State == api.RollOutRunning // one that is approved goes out once that is kept
		}
	}
	return out
}

// handOut adds the document of a roll-out, and the event that tells of it.
func (e *Engine) handOut(r *rollOut, tell bool, now time.Time, out *Changes) {
	r.dirty, r.stored = false, now
	doc := e.view(r)
	keep := kept{doc, engineDoc{Activate: r.activate, Lasts: r.lasts, Widened: r.widened, EndedBy: r.endedBy}}
	if r.listing {
		keep.Engine.Meters = r.listed
	}
	whole, err := json.Marshal(keep)
	if err == nil && tell {
		doc.Target = short(doc.Target)
		var data []byte
		if data, err = json.Marshal(doc); err == nil {
			e.events++
			out.Events = append(out.Events, api.Event{SpecVersion: "1.0", ID: fmt.Sprintf("%d-%x-%x", r.id, now.UnixNano(), e.events), Type: "wattbus." + api.EventFirmware + ".v1",
				Subject: r.doc.ID, Source: "/roll-out/" + r.doc.ID, Time: now.UTC(), ContentType: "application/json", Data: data})
		}
	}
	if err != nil { // cannot happen: times are within years 0 to 9999, and nothing else can fail
		e.log.Error("roll-out not encoded", "roll_out", r.id, "error", err)
		return
	}
	out.RollOuts = append(out.RollOuts, store.RollOut{ID: r.id, Open: r.open() || r.more, Doc: whole})
}

// ordinals lists meters in few bytes.
func ordinals(devices []*cim.EndDevice) []byte {
	all := make([]uint32, len(devices))
	for i, dev := range devices {
		all[i] = dev.Ordinal
	}
	slices.Sort(all)
	var b []byte
	last := uint32(0)
	for _, n := range all {
		b = binary.AppendUvarint(b, uint64(n-last))
		last = n
	}
	return b
}

// eachOrdinal calls f with what ordinals listed.
func eachOrdinal(b []byte, f func(uint32)) error {
	last := uint64(0)
	for len(b) > 0 {
		d, n := binary.Uvarint(b)
		if n <= 0 || last+d > math.MaxUint32 {
			return errors.New("its list of meters is broken")
		}
		last += d
		f(uint32(last))
		b = b[n:]
	}
	return nil
}

// short is a target without the names of a list.
func short(t api.Target) api.Target {
	if n := len(t.Meters); n > 0 {
		t.Meters, t.Listed = nil, n
	}
	return t
}

// view is the API form of a roll-out.
func (e *Engine) view(r *rollOut) api.RollOut {
	doc := r.doc
	doc.History = slices.Clone(r.doc.History)
	p := &doc.Progress
	p.Total, p.States, p.Blocks, p.Bytes = len(r.members), map[string]int{}, r.sent, r.bytes
	for st, n := range r.counts {
		if n > 0 {
			p.States[r.shown(state(st)).String()] += n
		}
	}
	p.Reasons = nil
	for why, n := range r.reasons {
		if n > 0 {
			if p.Reasons == nil {
				p.Reasons = map[string]int{}
			}
			p.Reasons[why.String()] = n
		}
	}
	if r.blocks == 0 || len(r.members) == 0 {
		return doc
	}
	have := (r.counts[verified]+r.counts[activated])*r.blocks + r.parts
	p.Received = float64(int(1000*float64(have)/float64(r.blocks)/float64(len(r.members)))) / 10
	return doc
}

// Get returns a roll-out that has not ended, or has just.
func (e *Engine) Get(id uint64) (api.RollOut, bool) {
	if r := e.open[id]; r != nil {
		return e.view(r), true
	}
	return api.RollOut{}, false
}

// All returns the roll-outs that have not ended, by id.
func (e *Engine) All() map[uint64]api.RollOut {
	out := make(map[uint64]api.RollOut, len(e.order))
	for _, r := range e.order {
		out[r.id] = e.view(r)
	}
	return out
}

// Members appends the meters of a roll-out that has not ended, from one on and at most n, in no order; false if it is not here.
func (e *Engine) Members(out []store.RollOutMember, id uint64, from, n int) ([]store.RollOutMember, bool) {
	r := e.open[id]
	if r == nil {
		return out, false
	}
	for i := from; i < min(from+n, len(r.members)); i++ {
		m := &r.members[i]
		out = append(out, store.RollOutMember{RollOut: id, Device: m.dev.Ordinal, State: uint8(r.shown(m.state)), Reason: uint8(m.reason), Changed: m.changed})
	}
	return out, true
}

// StateOf reads the name of a state as the store keeps it.
func StateOf(name string) (uint8, bool) {
	s, ok := parseState(name)
	return uint8(s), ok
}

// Restore takes over the open roll-outs from the store, each with its meters, when all devices are known. Those that had taken the image are
// asked what they have. What cannot be understood is left out and named in the error.
func (e *Engine) Restore(open []store.RollOut, members func(rollOut uint64, f func(store.RollOutMember) error) error) error {
	var errs []error
	now := e.o.Wall()
	for _, k := range slices.Backward(open) { // oldest first
		var doc kept
		if err := json.Unmarshal(k.Doc, &doc); err != nil {
			errs = append(errs, fmt.Errorf("open roll-out %d in the store: %w", k.ID, err))
			continue
		}
		r := &rollOut{id: k.ID, doc: doc.RollOut, size: uint16(doc.BlockSize), rate: max(doc.Rate, 1), activate: doc.Engine.Activate, lasts: doc.Engine.Lasts,
			deadline: doc.Expires, first: doc.Progress.First, widened: doc.Engine.Widened, endedBy: doc.Engine.EndedBy, kept: doc.State != api.RollOutPending, stored: now}
		r.doc.Progress = api.RollOutProgress{First: r.first}
		if doc.State == api.RollOutDone { // and not all of its meters were kept as they ended: they are asked
			r.doc.State = api.RollOutRunning
		}
		var devices []*cim.EndDevice
		of := map[*cim.EndDevice]store.RollOutMember{}
		if err := members(k.ID, func(m store.RollOutMember) error {
			if dev, ok := e.o.Device(m.Device); ok && m.State < uint8(states) {
				devices = append(devices, dev)
				of[dev] = m
			}
			return nil
		}); err != nil {
			return err
		}
		if err := eachOrdinal(doc.Engine.Meters, func(n uint32) {
			if dev, ok := e.o.Device(n); ok {
				if _, there := of[dev]; !there {
					devices = append(devices, dev)
				}
			}
		}); err != nil {
			errs = append(errs, fmt.Errorf("open roll-out %d in the store: %w", k.ID, err))
		}
		r.enlist(newList(devices, r.first))
		for i := range r.members {
			m := &r.members[i]
			m.r = r
			was, there := of[m.dev]
			if !there { // the centre died before it was kept
				e.touchMember(m)
				r.listing, r.more = true, true
				continue
			}
			r.counts[waiting]--
			m.state, m.reason, m.changed = state(was.State), record.ImageReason(was.Reason), was.Changed
			r.counts[m.state]++
			if m.reason != record.ImageFine {
				r.reasons[m.reason]++
			}
		}
		e.know(r)
		if id, err := record.ParseImageID(r.doc.Image); err == nil && r.open() { // before there are turns that wait for it; what fails now is tried again when it is needed
			if img, ok := e.o.Image(id); ok {
				r.setImage(img)
			}
		}
		for i := range r.members {
			m := &r.members[i]
			m.now = !m.state.finished() && m.state != waiting
			if r.open() {
				e.takeIn(m)
			}
		}
		r.taken = len(r.members)
		if !r.open() { // it ended, and not all of its meters were kept as they ended: the next Ticks go on with it
			r.dirty, r.more = true, true
			continue
		}
		v, err := record.ParseFirmwareVersion(r.doc.Version)
		for i := range r.members {
			m := &r.members[i]
			switch {
			case m.state.finished():
			case err == nil && m.dev.Firmware == uint32(v):
				e.arrived(m)
			case m.state != waiting:
				if m.state != verified || r.activate != record.ActivateNever {
					e.plan(m, now) // as fast as the rates allow
				}
			}
		}
		if r.doc.State == api.RollOutRunning {
			e.start(r)
		}
		e.settle(r, now)
	}
	return errors.Join(errs...)
}

// Busy reports whether meters are still to be taken in, let go, ended or kept.
func (e *Engine) Busy() bool {
	return slices.ContainsFunc(e.order, func(r *rollOut) bool { return r.busy() || r.more })
}
