package command

import (
	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/record"
)

// What goes into the audit trail: every transition of a command with who brought it about; of breaker commands for many every
// meter's, too, since each is a customer's supply. Changed hands the entries out with the commands that they tell of.

// transition is the detail of an entry about a command.
type transition struct {
	Type         string             `json:"type"`
	State        string             `json:"state,omitempty"`
	Target       *api.Target        `json:"target,omitempty"`
	Params       *api.Params        `json:"params,omitempty"`
	Meters       int                `json:"meters,omitempty"`
	Expires      string             `json:"expires,omitempty"`
	Why          string             `json:"why,omitempty"`
	Said         *api.Said          `json:"said,omitempty"` // the same by its code
	Comment      string             `json:"comment,omitempty"`
	Result       *api.CommandResult `json:"result,omitempty"`
	Approval     *api.Approval      `json:"approval,omitempty"`
	Verification *api.Verification  `json:"verification,omitempty"`
}

// note adds an entry about a command, or about one meter's part in it.
func (e *Engine) note(c *control, action, actor, meter string, d transition) {
	if actor == "" {
		actor = audit.Centre
	}
	if meter == "" {
		meter = c.doc.Target.Meter
	}
	d.Type = c.doc.Type
	if d.Result != nil && len(d.Result.Readings) > 0 {
		r := *d.Result
		r.Readings = nil // a load profile is data, not an act
		d.Result = &r
	}
	e.trail = append(e.trail, audit.Entry{Time: e.o.Wall().UTC(), Actor: actor, Action: "command." + action, Subject: c.doc.ID, Meter: meter, Detail: audit.Detail(d)})
}

// noteCreated tells of a new command with all that was asked for.
func (e *Engine) noteCreated(c *control) {
	d := transition{State: c.doc.State, Target: &c.doc.Target, Meters: c.total(), Approval: c.doc.Approval, Why: c.doc.History[0].Detail, Said: c.doc.History[0].Said}
	if c.doc.Expires != nil {
		d.Expires = c.doc.Expires.Format("2006-01-02T15:04:05.000Z")
	}
	p := c.doc.Params
	d.Params = &p
	e.note(c, "create", c.doc.By, "", d)
}

// noteMember tells of one meter's part in a breaker command for many.
func (e *Engine) noteMember(m *member, st state, r *record.Result) {
	if !m.c.bulk || effect(m.c.op) != "breaker" {
		return
	}
	d := transition{State: st.String()}
	if r != nil {
		d.Result = result(r)
	}
	e.note(m.c, "meter", "", m.dev.ID, d)
}

// noteGroup tells of a new membership of a group.
func (e *Engine) noteGroup(put api.GroupPut, by string, changed int) {
	if by == "" {
		by = audit.Centre
	}
	e.trail = append(e.trail, audit.Entry{Time: e.o.Wall().UTC(), Actor: by, Action: "group.put", Subject: formatID(uint64(put.Group)),
		Detail: audit.Detail(map[string]any{"members": put.Members, "changed": changed})})
}
