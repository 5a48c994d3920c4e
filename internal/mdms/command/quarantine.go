package command

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// Beside the budget of all, which makes disconnections wait, each operator and each feeder has one that is not meant to be
// reached: whoever would exceed it is stopped, and stays so until somebody else has looked.
//
//	within budget ──one more than it allows──> quarantined ──Release, by another──> within budget, which is whole again
//
// The disconnections of a quarantined operator, and those on a quarantined feeder, that have not gone out wait where they are,
// until the release or their expiry; an operator's new ones are refused. What another person approved is not counted against
// the operator: two have looked at it. Reconnections are never stopped.

// allowance is what is left to an operator or a feeder.
type allowance struct {
	budgets budgets
	held    *api.Quarantine // nil: it is within its budget
	dirty   bool
}

// keptAllowance is an allowance in the store.
type keptAllowance struct {
	Left       []float64       `json:"left"`
	At         time.Time       `json:"at"`
	Quarantine *api.Quarantine `json:"quarantine,omitempty"`
}

const (
	allKey      = "all" // the budget of all together, which quarantines nobody
	operatorKey = "operator:"
	feederKey   = "feeder:"
	backKey     = "reconnect:" // a feeder's budget of reconnections, which quarantines nothing
)

// bounds are the budgets of a name.
func (e *Engine) bounds(name string) []Budget {
	switch {
	case name == allKey:
		return e.o.Budgets
	case strings.HasPrefix(name, operatorKey):
		return e.o.OperatorBudgets
	case strings.HasPrefix(name, backKey):
		return e.o.ReconnectBudgets
	}
	return e.o.FeederBudgets
}

func (e *Engine) feeder(dev *cim.EndDevice) string {
	if e.o.Feeder == nil {
		return ""
	}
	return e.o.Feeder(dev)
}

// allowance returns what is left to a name, nil if nothing bounds it.
func (e *Engine) allowance(name string, now time.Time) *allowance {
	if a := e.allowances[name]; a != nil {
		return a
	}
	bs := e.bounds(name)
	if len(bs) == 0 {
		return nil
	}
	a := &allowance{budgets: newBudgets(bs, now)}
	e.allowances[name] = a
	return a
}

// accounts are the names that a disconnection of a meter counts against.
func (e *Engine) accounts(c *control, dev *cim.EndDevice) (names [2]string) {
	if len(e.o.OperatorBudgets) > 0 && c.doc.By != "" && c.doc.Approval == nil {
		names[0] = operatorKey + c.doc.By
	}
	if len(e.o.FeederBudgets) > 0 {
		if f := e.feeder(dev); f != "" {
			names[1] = feederKey + f
		}
	}
	return names
}

// allow takes a meter's disconnection off the allowances that it counts against. It returns false where one of them is
// quarantined, or becomes so by this.
func (e *Engine) allow(m *member, now time.Time) bool {
	names := e.accounts(m.c, m.dev)
	for _, name := range names {
		if a := e.allowances[name]; name != "" && a != nil && a.held != nil {
			e.hold(m, name)
			return false
		}
	}
	for i, name := range names {
		if name == "" {
			continue
		}
		a := e.allowance(name, now)
		if !a.budgets.take(1, now) {
			if i == 1 && names[0] != "" {
				e.allowances[names[0]].budgets.spend(-1)
			}
			e.quarantine(name, a, m, now)
			e.hold(m, name)
			return false
		}
		a.dirty = true
	}
	return true
}

// giveBack undoes allow for a message that was not sent.
func (e *Engine) giveBack(m *member) {
	for _, name := range e.accounts(m.c, m.dev) {
		if a := e.allowances[name]; name != "" && a != nil {
			a.budgets.spend(-1)
		}
	}
}

func (e *Engine) quarantine(name string, a *allowance, m *member, now time.Time) {
	_, b := a.budgets.next(now)
	why := api.Say("quarantine.disconnected", "budget", b, "meter", m.dev.ID)
	a.held = &api.Quarantine{Name: name, Since: now.UTC(), Command: m.c.doc.ID, By: m.c.doc.By, Why: why.String(), Said: why}
	a.dirty = true
	e.stats.Breaches++
	e.log.Error("disconnections stopped: quarantine", "name", name, "why", a.held.Why, "command", m.c.doc.ID)
	e.trail = append(e.trail, audit.Entry{Time: now.UTC(), Actor: audit.Centre, Action: "quarantine.begin", Subject: name, Meter: m.dev.ID, Detail: audit.Detail(a.held)})
}

// hold takes a meter's disconnection out of the queue until the release, so that it holds up nothing.
func (e *Engine) hold(m *member, name string) {
	m.due = 0
	if len(e.held) > 2*e.members { // what ended meanwhile
		e.held = slices.DeleteFunc(e.held, func(m *member) bool { return m.state.finished() })
	}
	e.held = append(e.held, m)
	q := e.queues.of(m.dev)
	if i := slices.Index(q, m); i >= 0 {
		q = append(q[:i:i], q[i+1:]...)
	}
	if e.queues.put(m.dev, q); len(q) > 0 {
		e.head(q[0], e.o.Wall())
	}
	if c := m.c; !c.stopped {
		c.stopped = true
		c.doc.History = append(c.doc.History, api.NewTransition(c.doc.State, e.o.Wall(), api.Say("command.quarantined", "name", name)))
		e.touch(c)
	}
}

// blocked refuses a disconnection of somebody who is quarantined.
func (e *Engine) blocked(by string) error {
	if a := e.allowances[operatorKey+by]; a != nil && a.held != nil {
		return api.Conflict("%s is quarantined since %s: %s; another person has to release %s first", by, a.held.Since.Format(time.RFC3339), a.held.Why, operatorKey+by)
	}
	return nil
}

// withinAllowances reports whether all open meters of a command may be disconnected at once; if so they are taken off.
func (e *Engine) withinAllowances(c *control, now time.Time) bool {
	need := map[string]int{}
	for i := c.low; i < len(c.members); i++ {
		if m := &c.members[i]; !m.state.finished() {
			for _, name := range e.accounts(c, m.dev) {
				if name != "" {
					need[name]++
				}
			}
		}
	}
	for name, n := range need {
		a := e.allowance(name, now)
		for i := range a.budgets {
			if a.budgets[i].fill(now); a.held != nil || a.budgets[i].left < float64(n) {
				return false
			}
		}
	}
	for name, n := range need {
		e.allowances[name].budgets.spend(n)
		e.allowances[name].dirty = true
	}
	return true
}

// Release ends a quarantine. Errors are *api.Problem: 404, 409 for who is the cause of it himself.
func (e *Engine) Release(r api.QuarantineRelease) (api.Quarantine, error) {
	a := e.allowances[r.Name]
	if a == nil || a.held == nil {
		return api.Quarantine{}, api.NotFound("%.80q is not quarantined", r.Name)
	}
	if len(r.Comment) > 1000 {
		return api.Quarantine{}, api.BadRequest("comment", "%d bytes, want at most 1000", len(r.Comment))
	}
	if r.By == a.held.By {
		return *a.held, api.Conflict("%s came into quarantine by a command of %s: another person has to release it, with a token of that person's own", r.Name, r.By)
	}
	now := e.o.Wall()
	q := *a.held
	e.trail = append(e.trail, audit.Entry{Time: now.UTC(), Actor: r.By, Action: "quarantine.release", Subject: r.Name, Detail: audit.Detail(map[string]string{"comment": r.Comment, "why": q.Why})})
	a.held, a.dirty = nil, true
	a.budgets = newBudgets(e.bounds(r.Name), now)
	held := e.held
	e.held = nil
	for _, m := range held {
		if !m.state.finished() {
			m.c.stopped = false
			e.queues.put(m.dev, append(e.queues.of(m.dev), m))
			e.head(m, now) // what another quarantine stops is held again
		}
	}
	return q, nil
}

// Quarantines lists who and what is quarantined, by name.
func (e *Engine) Quarantines() []api.Quarantine {
	out := []api.Quarantine{}
	for _, a := range e.allowances {
		if a.held != nil {
			out = append(out, *a.held)
		}
	}
	slices.SortFunc(out, func(a, b api.Quarantine) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// changedAllowances are those to be kept; one that is whole again is forgotten.
func (e *Engine) changedAllowances(now time.Time) (out []store.Allowance) {
	for name, a := range e.allowances {
		if !a.dirty {
			continue
		}
		k := keptAllowance{At: now.UTC(), Quarantine: a.held}
		whole := a.held == nil
		for i := range a.budgets {
			b := &a.budgets[i]
			b.fill(now)
			k.Left = append(k.Left, b.left)
			whole = whole && b.left >= float64(b.N)
		}
		a.dirty = false
		if whole {
			delete(e.allowances, name)
			out = append(out, store.Allowance{Name: name})
			continue
		}
		doc, err := json.Marshal(k)
		if err != nil { // plain numbers and texts
			e.log.Error("allowance not encoded", "name", name, "error", err)
			continue
		}
		out = append(out, store.Allowance{Name: name, Doc: doc})
	}
	keep := func(name string, bs budgets) {
		k := keptAllowance{At: now.UTC()}
		for i := range bs {
			bs[i].fill(now)
			k.Left = append(k.Left, bs[i].left)
		}
		if doc, err := json.Marshal(k); err == nil { // plain numbers
			out = append(out, store.Allowance{Name: name, Doc: doc})
		}
	}
	if e.spent {
		e.spent = false
		keep(allKey, e.budgets)
	}
	for f := range e.staggering {
		keep(backKey+f, e.feeders[f])
	}
	clear(e.staggering)
	slices.SortFunc(out, func(a, b store.Allowance) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// RestoreAllowances takes over what was left before the restart. It is called before Restore. What cannot be understood counts as
// nothing left.
func (e *Engine) RestoreAllowances(ks []store.Allowance) {
	now := e.o.Wall()
	for _, k := range ks {
		var doc keptAllowance
		err := json.Unmarshal(k.Doc, &doc)
		bs := e.bounds(k.Name)
		if len(bs) == 0 && doc.Quarantine == nil {
			continue
		}
		a := &allowance{budgets: newBudgets(bs, now), held: doc.Quarantine}
		for i := range a.budgets {
			b := &a.budgets[i]
			switch {
			case err != nil || len(doc.Left) != len(a.budgets): // the bounds are others now
				b.left = 0
			default:
				b.left, b.at = min(doc.Left[i], float64(b.N)), doc.At
				if b.at.After(now) {
					b.at = now
				}
			}
		}
		if k.Name == allKey {
			e.budgets, e.told = a.budgets, true
			continue
		}
		if f, ok := strings.CutPrefix(k.Name, backKey); ok {
			e.feeders[f] = a.budgets
			continue
		}
		e.allowances[k.Name] = a
	}
}
