package outage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// What a case comes from, as far as the facts tell: what opened, or failed. For an element of the grid it is the element's level. Why that
// happened the facts do not tell: a person does, see StateCause.
const (
	causePartial      = "partial-transformer" // several meters of a transformer and not all: a phase, a branch
	causeService      = "service"             // a meter alone, whose neighbours have supply: its service drop or its fuse
	causeDisconnected = "disconnected"        // its breaker had been open before
	causePlanned      = "planned"
	causeMains        = "mains"              // of a concentrator
	causeStopped      = "stopped"            // a concentrator that took its leave
	causeRadio        = "concentrator-radio" // a meter whose concentrator lost most of the others too
	causeLink         = "link"               // a meter alone, whose way is gone
	causeUnknown      = "unknown"
)

// explain says what a case comes from and what that rests on. Once it is over it stays as it was.
func (e *Engine) explain(o *outage, now uint32) {
	if o.end != 0 && o.doc.Cause != "" {
		return
	}
	c := cause{}
	switch {
	case o.w != nil:
		c.is(causePlanned, "maintenance", o.w.from, 0, o.w.said())
	case o.x != nil:
		if (o.x.restoring || o.old || o.doc.Restored > 0) && o.doc.Cause != "" {
			return // those who are back do not change what it was
		}
		o.x.explain(&c, o.doc.Partial)
	case o.node != nil:
		o.node.explain(&c)
	case o.t != nil && o.t.slot >= 0 && o.doc.Kind == kindPower:
		e.explainMeter(o, &c)
	case o.t != nil && o.t.slot >= 0:
		e.explainLink(o.t, &c, now)
	default:
		return
	}
	o.doc.Cause, o.doc.Grounds = c.name, c.grounds
}

// cause is what explain finds.
type cause struct {
	name    string
	grounds []api.Ground
}

// is adds a ground, and takes its cause unless there is one already.
func (c *cause) is(name, what string, at uint32, weight float64, said *api.Said) {
	if c.name == "" {
		c.name = name
	}
	g := api.Ground{What: what, Weight: weight, Detail: said.String(), Said: said}
	if at != 0 {
		t := utc(at)
		g.Time = &t
	}
	c.grounds = append(c.grounds, g)
}

func (w *window) said() *api.Said {
	if w.doc.Reason == "" {
		return api.Say("ground.window", "id", w.id)
	}
	return api.Say("ground.window-why", "id", w.id, "reason", w.doc.Reason)
}

// explain says why an element is taken to be what opened.
func (x *element) explain(c *cause, partial bool) {
	s := x.tell()
	if x.level == levelTransformer {
		name, code := scopes[x.level], "ground.transformer"
		if partial {
			name, code = causePartial, "ground.transformer-partial"
		}
		c.is(name, "siblings-gone", x.onset, x.odds, api.Say(code, "gone", s.LastGasps+s.Wills+s.Silences+s.NoAnswers, "all", s.Meters, "name", x.name,
			"gasps", s.LastGasps, "alive", s.Alive))
		if x.signs.mains {
			c.is(name, "concentrator-mains", 0, oddsMains, api.Say("ground.mains", "name", x.name))
		}
		return
	}
	out, all, mains := 0, 0, 0
	x.transformers(func(y *element) {
		if len(y.meters) == 0 {
			return
		}
		all++
		if y.out && !y.restoring {
			out++
		}
		if y.signs.mains {
			mains++
		}
	})
	c.is(scopes[x.level], "transformers-out", x.onset, x.odds, api.Say("ground.transformers", "n", out, "all", all, "scope", scopes[x.level], "name", x.name))
	c.is(scopes[x.level], "siblings-gone", 0, 0, api.Say("ground.went", "gasps", s.LastGasps, "gone", s.Wills+s.Silences+s.NoAnswers, "alive", s.Alive))
	if mains > 0 {
		c.is(scopes[x.level], "concentrator-mains", 0, oddsMains, api.Say("ground.mains-many", "n", mains))
	}
}

// explain says what took a concentrator, as far as that is known.
func (n *node) explain(c *cause) {
	if n.dev != nil {
		if p := n.dev.dev.Power; p.State == cim.PowerLost {
			c.is(causeMains, "last-gasp", p.Since, oddsMains, api.Say("ground.mains-own"))
		}
		if n.dev.grid != nil {
			if top := n.dev.grid.top(); top != nil {
				c.is(causeMains, scopes[top.level]+"-out", top.onset, top.odds, api.Say("ground.out-above", "scope", scopes[top.level], "name", top.name))
			}
		}
	}
	switch n.status {
	case nodeOffline:
		c.is(causeStopped, "concentrator-offline", n.since, 0, api.Say("ground.stopped"))
	case nodeLost:
		c.is(causeUnknown, "concentrator-lost", n.since, 0, api.Say("ground.will"))
	}
}

// explainMeter says why one meter alone is without supply.
func (e *Engine) explainMeter(o *outage, c *cause) {
	t := o.t
	if b := t.dev.Breaker; (b.State == cim.BreakerOpen || b.State == cim.BreakerReady) && b.Since < o.start {
		c.is(causeDisconnected, "breaker-"+b.State.String(), b.Since, 0, api.Say("ground.open-before"))
	}
	x := t.grid
	switch {
	case x == nil:
		c.is(causeUnknown, "place", 0, 0, api.Say("ground.no-place"))
	case x.signs.alive > 0:
		c.is(causeService, "siblings-alive", 0, max(oddsAlive*float64(x.signs.alive), 3*oddsAlive), api.Say("ground.siblings-alive", "n", x.signs.alive, "all", x.signs.total, "name", x.name))
	default:
		c.is(causeUnknown, "siblings-silent", 0, 0, api.Say("ground.siblings-unheard", "name", x.name))
	}
}

// explainLink says why the way to one meter is gone.
func (e *Engine) explainLink(t *track, c *cause, now uint32) {
	n := t.node
	others := len(n.devices) - 1
	gone := n.counts[commLost] + n.counts[powerLost] - 1
	if others >= 3 && 2*gone >= others {
		c.is(causeRadio, "concentrator-meters", 0, 0, api.Say("ground.others-gone", "n", gone, "all", others, "id", n.id))
	} else {
		c.is(causeLink, "concentrator-meters", 0, 0, api.Say("ground.others-there", "all", others, "id", n.id, "n", max(gone, 0)))
	}
	if t.goneBy == bySilence {
		c.is("", "silence", t.goneAt, oddsSilence, api.Say("ground.heard-last", "time", cim.Stamp(t.dev.LastSeen)))
	} else {
		c.is("", "will", t.goneAt, oddsWill, api.Say("ground.will"))
	}
}

// reconsider has a case told again if it comes from something else than was thought.
func (e *Engine) reconsider(o *outage, now uint32) {
	if o == nil || o.dirty || o.end != 0 || o.doc.Cause == "" {
		return
	}
	if was := o.doc.Cause; was == causeUnknown || was == causeLink || was == causeRadio || was == causeStopped {
		if e.explain(o, now); o.doc.Cause != was {
			e.touch(o)
		}
	}
}

// reconsiderNodes does so for the concentrators that hang on a transformer.
func (e *Engine) reconsiderNodes(x *element, now uint32) {
	x.concentrators(func(n *node) {
		if n.dev != nil && n.dev.grid == x {
			e.reconsider(n.outage, now)
		}
	})
}

// StateCause notes what a person says that a case came from, an open one or one that is over; kept finds the latter. Errors are
// *api.Problem, or kept's.
func (e *Engine) StateCause(id uint64, q api.OutageChange, kept func() (store.Outage, error)) (api.Outage, error) {
	c := q.Stated
	c.Comment = strings.TrimSpace(c.Comment)
	switch {
	case !slices.Contains(api.CauseCategories, c.Category):
		return api.Outage{}, api.BadRequest("stated.category", "%.40q, want one of %s", c.Category, strings.Join(api.CauseCategories, ", "))
	case len(c.Comment) > maxCauseComment:
		return api.Outage{}, api.BadRequest("stated.comment", "%d bytes, want at most %d", len(c.Comment), maxCauseComment)
	case c.Category == api.CauseOther && c.Comment == "":
		return api.Outage{}, api.BadRequest("stated.comment", "say what it was: the category %s tells nobody", api.CauseOther)
	}
	o := e.caseOf(id)
	if o == nil {
		k, err := kept()
		if err != nil {
			return api.Outage{}, err
		}
		if o, err = decodeCase(k); err != nil {
			return api.Outage{}, fmt.Errorf("outage %d in the store: %w", id, err)
		}
		o.end = k.End
		switch o.kind = "centre"; {
		case o.doc.Concentrator != "":
			o.kind = topic.Concentrator
		case o.doc.Meter != "":
			o.kind = topic.Meter
			if dev, ok := e.find(o.doc.Meter); ok {
				o.kind = dev.Kind
			}
		}
	}
	if o.doc.Merged != "" {
		return api.Outage{}, api.Conflict("outage %d turned out to be a part of outage %s: state the cause of that one", id, o.doc.Merged)
	}
	if q.Was != nil && !stated(&o.doc).Equal(*q.Was) {
		return api.Outage{}, api.Outdated("the cause of outage %d was stated anew meanwhile: get it again", id)
	}
	at := utc(e.now())
	c.Time = &at
	o.doc.Stated = &c
	o.toldAt = 0 // it is kept, and told, at once
	e.explain(o, e.now())
	e.touch(o)
	return o.doc, nil
}

// stated is when a cause was stated, the zero time where none was.
func stated(o *api.Outage) time.Time {
	if o.Stated == nil || o.Stated.Time == nil {
		return time.Time{}
	}
	return *o.Stated.Time
}

// maxCauseComment bounds what a person writes beside a category, in bytes.
const maxCauseComment = 500

// caseOf finds a case that is open, or has changed since it was handed out last; nil for none.
func (e *Engine) caseOf(id uint64) *outage {
	for _, o := range e.changed.outages {
		if o.id == id && !o.dropped {
			return o
		}
	}
	for o := range e.standing {
		if o.id == id {
			return o
		}
	}
	for _, o := range e.cases {
		if o.id == id {
			return o
		}
	}
	for _, n := range e.nodes {
		if n.outage != nil && n.outage.id == id {
			return n.outage
		}
	}
	return nil
}
