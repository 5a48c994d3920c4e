package outage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// maxWindows bounds the maintenance windows that are not over; those that are over are in the store only.
const maxWindows = 10_000

// PastWindows is for how long, s of business time, windows that are over are remembered, the newest maxWindows of them.
const PastWindows = 86400

// window is planned work: what goes out below it while it lasts is no outage. It is recorded all the same.
type window struct {
	id       uint64
	from, to uint32
	scope    string
	level    uint8 // of an element
	doc      api.Maintenance
	outage   *outage
	begun    bool
	dirty    bool
}

func (w *window) active(now uint32) bool { return now >= w.from && now < w.to }

// covers reports whether a device lies in the window.
func (w *window) covers(t *track) bool {
	switch w.scope {
	case "all":
		return true
	case "meter":
		return t.dev.ID == w.doc.Name
	case topic.Concentrator:
		for n := t.node; n != nil && n.parent != nil; n = n.parent {
			if n.id == w.doc.Name {
				return true
			}
		}
		return false
	}
	return t.grid.of(w.level, w.doc.Name) && (w.doc.Feeder == "" || t.grid.feeder() == w.doc.Feeder)
}

// below reports whether the window covers a whole transformer.
func (w *window) below(x *element) bool {
	return w.scope == "all" || w.level > 0 && x.of(w.level, w.doc.Name) && (w.doc.Feeder == "" || x.feeder() == w.doc.Feeder)
}

// covered is the window that a device lies in now, nil for none.
func (e *Engine) covered(t *track, now uint32) *window {
	for _, w := range e.windows {
		if w.begun && w.active(now) && w.covers(t) {
			return w
		}
	}
	return nil
}

// wasCovered reports whether a device lay in a window at a time up to PastWindows ago: what began then is planned, also where it is
// told only when the work is over.
func (e *Engine) wasCovered(t *track, at uint32) bool {
	lay := func(w *window) bool { return w.active(at) && w.covers(t) }
	return slices.ContainsFunc(e.windows, lay) || slices.ContainsFunc(e.past, lay)
}

// own reports whether a device lies in a window of its own: one that does not cover its whole transformer, so that its absence
// says nothing of its neighbours.
func (e *Engine) own(t *track, now uint32) bool {
	for _, w := range e.windows {
		if w.begun && w.active(now) && (w.scope == "meter" || w.scope == topic.Concentrator) && w.covers(t) {
			return true
		}
	}
	return false
}

func (e *Engine) plannedOut(x *element, now uint32) bool {
	for _, w := range e.windows {
		if w.begun && w.active(now) && w.below(x) {
			return true
		}
	}
	return false
}

// AddMaintenance plans a window. Its times are business time.
func (e *Engine) AddMaintenance(q api.MaintenanceRequest) (api.Maintenance, error) {
	now := e.now()
	w, err := e.checkWindow(q, now)
	if err != nil {
		return api.Maintenance{}, err
	}
	w.id = e.o.NewID()
	w.doc.ID = strconv.FormatUint(w.id, 10)
	w.doc.Created = utc(now)
	e.windows = append(e.windows, w)
	e.keepWindow(w)
	e.turnWindows(now)
	return w.view(now), nil
}

// view is the window as the API tells it.
func (w *window) view(now uint32) api.Maintenance {
	d := w.doc
	switch {
	case now >= w.to:
		d.State = "over"
	case w.active(now):
		d.State = "active"
	default:
		d.State = "planned"
	}
	return d
}

func (e *Engine) checkWindow(q api.MaintenanceRequest, now uint32) (*window, error) {
	if len(e.windows) >= maxWindows {
		return nil, api.Conflict("%d maintenance windows are planned or under way; end some first", len(e.windows))
	}
	w := &window{scope: q.Scope}
	switch level, ok := levelOf(q.Scope); {
	case q.Scope == "all", q.Scope == "meter", q.Scope == topic.Concentrator:
	case !ok:
		return nil, api.BadRequest("scope", "%.40q, want meter, transformer, lateral, feeder, concentrator or all", q.Scope)
	default:
		w.level = level
	}
	q.Name = strings.TrimSpace(q.Name)
	switch {
	case q.Scope == "all" && q.Name != "":
		return nil, api.BadRequest("name", "%.40q: a window over all has no name", q.Name)
	case q.Scope != "all" && (q.Name == "" || len(q.Name) > 64):
		return nil, api.BadRequest("name", "want what the work is on: an id or a name of up to 64 bytes")
	case (q.Scope == "meter" || q.Scope == topic.Concentrator) && topic.CheckID(q.Name) != nil:
		return nil, api.BadRequest("name", "%.40q is no id of a %s", q.Name, q.Scope)
	case w.level > 0 && !e.grid.known(w.level, q.Name, q.Feeder), q.Scope == "meter" && !e.knownMeter(q.Name), q.Scope == topic.Concentrator && e.nodes[q.Name] == nil:
		return nil, api.BadRequest("name", "the registry knows no %s %.40q", q.Scope, q.Name)
	case len(q.Reason) > 200:
		return nil, api.BadRequest("reason", "%d bytes, want up to 200", len(q.Reason))
	}
	from, to := q.From, q.To
	if from.IsZero() {
		from = utc(now)
	}
	switch {
	case to.IsZero():
		return nil, api.BadRequest("to", "want the end of the work: a window without one would hide outages for good")
	case !to.After(from):
		return nil, api.BadRequest("to", "%s is not after the start, %s", to.UTC().Format(time.RFC3339), from.UTC().Format(time.RFC3339))
	case to.Unix() <= int64(now):
		return nil, api.BadRequest("to", "%s is in the past of the centre, whose time is %s", to.UTC().Format(time.RFC3339), cim.Stamp(now))
	case to.Sub(from) > 31*24*time.Hour:
		return nil, api.BadRequest("to", "%v after the start, want at most 31 days", to.Sub(from))
	case from.Unix() < 0 || to.Unix() > 1<<32-1:
		return nil, api.BadRequest("from", "want 1970 to 2106")
	}
	w.from, w.to = uint32(from.Unix()), uint32(to.Unix())
	w.doc = api.Maintenance{Scope: q.Scope, Name: q.Name, Feeder: q.Feeder, From: utc(w.from), To: utc(w.to), Reason: q.Reason, By: q.By}
	return w, nil
}

// knownMeter reports whether there is a device of that id that is no concentrator.
func (e *Engine) knownMeter(id string) bool {
	dev, ok := e.find(id)
	return ok && dev.Kind != topic.Concentrator
}

// known reports whether there is an element of that name.
func (g *grid) known(level uint8, name, feeder string) bool {
	for _, x := range g.elements {
		if x.level == level && x.name == name && (feeder == "" || x.feeder() == feeder) {
			return true
		}
	}
	return false
}

// find returns the element of a place at a level, nil for none.
func (g *grid) find(p Place, level uint8) *element {
	k := gridKey{level, p.Substation, p.Feeder, p.Lateral, p.Transformer}
	switch level {
	case levelFeeder:
		k.lateral, k.transformer = "", ""
	case levelLateral:
		k.transformer = ""
	}
	return g.elements[k]
}

// EndMaintenance ends a window now, or takes back one that has not begun.
func (e *Engine) EndMaintenance(id uint64, by string) (api.Maintenance, error) {
	i := slices.IndexFunc(e.windows, func(w *window) bool { return w.id == id })
	if i < 0 {
		return api.Maintenance{}, api.NotFound("no maintenance window %d is planned or under way", id)
	}
	w, now := e.windows[i], e.now()
	w.doc.To, w.doc.EndedBy = utc(max(now, w.from)), by // no length, if it never began
	w.from, w.to = min(w.from, now), now
	e.keepWindow(w)
	e.turnWindows(now)
	return w.view(now), nil
}

// Maintenance lists the windows that are planned or under way, by their start.
func (e *Engine) Maintenance() []api.Maintenance {
	now := e.now()
	out := []api.Maintenance{}
	for _, w := range e.windows {
		out = append(out, w.view(now))
	}
	slices.SortStableFunc(out, func(a, b api.Maintenance) int { return cmp.Or(a.From.Compare(b.From), strings.Compare(a.ID, b.ID)) })
	return out
}

func (e *Engine) keepWindow(w *window) {
	if !w.dirty {
		w.dirty = true
		e.changed.windows = append(e.changed.windows, w)
	}
}

func (e *Engine) windowsChanged() []store.Maintenance {
	var out []store.Maintenance
	for _, w := range e.changed.windows {
		w.dirty = false
		doc, err := json.Marshal(w.doc)
		if err != nil { // cannot happen: years are within 0 to 9999
			e.log.Error("maintenance window not encoded", "window", w.id, "error", err)
			continue
		}
		out = append(out, store.Maintenance{ID: w.id, Start: w.from, End: w.to, Doc: doc})
	}
	clear(e.changed.windows)
	e.changed.windows = e.changed.windows[:0]
	return out
}

// turnWindows begins and ends the windows whose time has come, and has what lies in them judged anew.
func (e *Engine) turnWindows(now uint32) (next uint32) {
	var turned []*window
	kept := e.windows[:0]
	for _, w := range e.windows {
		switch {
		case !w.begun && w.active(now):
			w.begun = true
			turned = append(turned, w)
		case now >= w.to:
			if w.begun {
				turned = append(turned, w)
			}
			e.past = append(e.past, w)
			continue
		}
		kept = append(kept, w)
		due := w.to
		if !w.begun {
			due = w.from
		}
		if next == 0 || due < next {
			next = due
		}
	}
	clear(e.windows[len(kept):])
	e.windows = kept
	e.past = slices.DeleteFunc(e.past, func(w *window) bool { return w.to+PastWindows <= now })
	e.past = slices.Delete(e.past, 0, max(len(e.past)-maxWindows, 0))
	if len(turned) == 0 {
		return next
	}
	for _, t := range e.tracks {
		if t == nil || t.slot < 0 {
			continue
		}
		for _, w := range turned {
			if w.covers(t) {
				e.touchTrack(t)
				if t.gone() {
					e.later = append(e.later, t)
				}
				break
			}
		}
	}
	return next
}

// windowCase is the case of what goes out by planned work.
func (e *Engine) windowCase(w *window, t *track) *outage {
	if w.outage == nil {
		o := e.newCase(kindMaintenance)
		o.w = w
		o.start = max(t.cut.start, 1)
		o.doc.Start = utc(o.start)
		o.doc.Scope, o.doc.Element = w.scope, w.doc.Name
		o.doc.Maintenance = w.doc.ID
		w.outage = o
		e.touch(o)
	}
	return w.outage
}

// RestoreMaintenance takes over the windows from the store that are not over, or have been for less than PastWindows. It is called before Restore. One that cannot be
// understood is left out and named in the error.
func (e *Engine) RestoreMaintenance(list []store.Maintenance) error {
	var errs []error
	for _, k := range list {
		w := &window{id: k.ID, from: k.Start, to: k.End}
		if err := json.Unmarshal(k.Doc, &w.doc); err != nil {
			errs = append(errs, fmt.Errorf("maintenance window %d in the store: %w", k.ID, err))
			continue
		}
		w.scope = w.doc.Scope
		w.level, _ = levelOf(w.scope)
		e.windows = append(e.windows, w)
	}
	e.turnWindows(e.now())
	return errors.Join(errs...)
}
