package command

import (
	"fmt"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/topic"
)

// MaxListed bounds the meters that a list names.
const MaxListed = 20_000

// CheckTarget checks what needs no knowledge of meters: exactly one kind of target, and ids and paths that can be some.
func CheckTarget(t api.Target) error {
	set := 0
	for _, has := range []bool{t.Meter != "", t.Meters != nil, t.Path != "", t.Group != nil, t.Query != nil} {
		if has {
			set++
		}
	}
	if set != 1 {
		return api.BadRequest("target", "%d of meter, meters, path, group and query are set, want exactly one", set)
	}
	return nil
}

// Found are the meters of a path or a query that were looked up without the engine, each once, and what becomes the command for them. For a million
// meters that takes longer than a turn may.
type Found struct {
	c         *control
	devices   []*cim.EndDevice
	looked    bool   // at who is protected
	protected int    // how many of them have customers who must not be cut off without approval
	first     string // the first of these
}

// NewFound makes the meters of one command. protected is asked for each of them; nil:
// the engine asks, should it have to know.
func NewFound(devices []*cim.EndDevice, protected func(*cim.EndDevice) bool) *Found {
	f := &Found{c: &control{}, devices: devices}
	f.c.enlist(devices)
	if protected != nil {
		f.protect(protected)
	}
	return f
}

func (f *Found) protect(protected func(*cim.EndDevice) bool) {
	f.looked = true
	for _, dev := range f.devices {
		if protected(dev) {
			if f.protected++; f.protected == 1 {
				f.first = dev.ID
			}
		}
	}
}

// enlist makes devices the members of a command.
func (c *control) enlist(devices []*cim.EndDevice) {
	c.members = make([]member, len(devices))
	for i, dev := range devices {
		c.members[i] = member{c: c, dev: dev}
	}
}

// Resolve finds the meters of a target as a command would.
func (e *Engine) Resolve(t api.Target) ([]*cim.EndDevice, error) {
	p := plan{req: api.CommandRequest{Target: t}}
	if err := e.checkTarget(&p); err != nil {
		return nil, err
	}
	return p.devices, nil
}

// NobodyBelow is the problem of a path without meters.
func NobodyBelow(path string) error {
	return &api.Problem{Title: "Not found", Status: 404, Field: "target.path", Detail: fmt.Sprintf("no meter is known below %q", path)}
}

// addressed reports whether one message reaches the whole target: a path or a group has a topic.
func (p *plan) addressed() bool { return p.req.Target.Path != "" || p.req.Target.Group != nil }

// listed takes the meters of a list. All of them have to be known: a list with a slip of the pen is not carried out in part.
func (e *Engine) listed(p *plan, ids []string) error {
	p.bulk = true
	if len(ids) == 0 || len(ids) > MaxListed {
		return api.BadRequest("target.meters", "%d meters, want 1 to %d", len(ids), MaxListed)
	}
	seen := make(map[string]bool, len(ids))
	var wrong api.Faults
	for i, id := range ids {
		field := fmt.Sprintf("target.meters[%d]", i)
		if err := topic.CheckID(id); err != nil {
			wrong.Invalid(field, "%v", err)
			continue
		}
		if seen[id] {
			wrong.Invalid(field, "%s stands there a second time", id)
			continue
		}
		seen[id] = true
		dev, ok := e.find(id)
		switch {
		case !ok:
			wrong.Unknown(field, "no meter %q is known", id)
		case dev.Kind == topic.Concentrator && p.req.Type != api.CommandPing:
			wrong.Invalid(field, "%q is a concentrator: it answers ping only", id)
		default:
			p.devices = append(p.devices, dev)
		}
	}
	return wrong.Problem(len(ids), "meters", "nothing was sent to any")
}

// CheckQuery refuses a query that would mean every meter.
func CheckQuery(q api.TargetQuery) error {
	if q == (api.TargetQuery{}) {
		return api.BadRequest("target.query", "it is empty and would mean every meter: say at least one thing, such as path, feeder, tag or state")
	}
	return nil
}

// NobodyFits is the problem of a query without meters.
func NobodyFits() error {
	return &api.Problem{Title: "Not found", Status: 404, Field: "target.query", Detail: "no meter fits the query"}
}

// short is a target without the names of a list, for lists of commands and live events.
func short(t api.Target) api.Target {
	if n := len(t.Meters); n > 0 {
		t.Meters, t.Listed = nil, n
	}
	return t
}
