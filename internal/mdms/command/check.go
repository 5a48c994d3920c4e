package command

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// plan is a request that was found good.
type plan struct {
	req      api.CommandRequest
	op       record.Opcode
	expires  time.Duration
	devices  []*cim.EndDevice
	bulk     bool
	start    time.Time // zero: at once
	priority priority
	verifies uint64
	found    *Found
	payload  map[*cim.EndDevice][]uint32 // of groups: each device's whole membership, sorted
}

func formatID(id uint64) string { return strconv.FormatUint(id, 10) }

// ParseID reads a command id as the API writes it, or returns an *api.Problem.
func ParseID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 || formatID(id) != s {
		return 0, api.BadRequest("id", "%.40q is no command id, want a decimal number", s)
	}
	return id, nil
}

func opcode(typ string) (record.Opcode, bool) {
	switch typ {
	case api.CommandRead:
		return record.OpRead, true
	case api.CommandProfile:
		return record.OpProfile, true
	case api.CommandDisconnect:
		return record.OpDisconnect, true
	case api.CommandReconnect:
		return record.OpReconnect, true
	case api.CommandInterval:
		return record.OpSetInterval, true
	case api.CommandClock:
		return record.OpSetClock, true
	case api.CommandPing:
		return record.OpPing, true
	case api.CommandGroups:
		return record.OpGroups, true
	case api.CommandFirmwareStatus:
		return record.OpFirmwareStatus, true
	case api.CommandFirmwareActivate:
		return record.OpFirmwareActivate, true
	case api.CommandFirmwareDrop:
		return record.OpFirmwareDrop, true
	}
	return 0, false
}

func (e *Engine) check(req api.CommandRequest, found *Found) (plan, error) {
	p := plan{req: req}
	if req.Target.Path != "" || req.Target.Query != nil {
		p.found = found
	}
	var ok bool
	if p.op, ok = opcode(req.Type); !ok {
		return p, api.BadRequest("type", "%.40q is unknown, want read, profile, disconnect, reconnect, interval, clock, ping, groups, firmware-status, firmware-activate or firmware-drop", req.Type)
	}
	if err := checkParams(req.Type, &p.req.Params); err != nil {
		return p, err
	}
	if len(req.By) > 128 {
		return p, api.BadRequest("by", "%d bytes, want at most 128", len(req.By))
	}
	switch seconds := req.ExpiresIn; {
	case seconds == 0:
		p.expires = DefaultExpiry
	case seconds < 0 || seconds > int(MaxExpiry/time.Second):
		return p, api.BadRequest("expiresIn", "%d, want 1 to %d seconds", seconds, int(MaxExpiry/time.Second))
	default:
		p.expires = time.Duration(seconds) * time.Second
	}
	if p.priority, ok = priorityOf(req.Priority, req.Type); !ok {
		return p, api.BadRequest("priority", "%.40q, want low, normal or high", req.Priority)
	}
	if err := e.checkStart(&p); err != nil {
		return p, err
	}
	if err := e.checkTarget(&p); err != nil {
		return p, err
	}
	if req.ExpiresIn == 0 && !p.bulk {
		p.expires = min(p.expires+e.asleep(p.devices[0]), MaxExpiry) // it shall be there when the meter wakes
	}
	if p.op == record.OpDisconnect {
		if need, by := e.budgets.lasts(len(p.devices)); need > 0 && req.ExpiresIn == 0 {
			p.expires = min(p.expires+need, MaxExpiry)
		} else if need > p.expires {
			return p, api.BadRequest("expiresIn", "%d seconds: %d meters take at least %d with a budget of %s", req.ExpiresIn, len(p.devices),
				int(math.Ceil(need.Seconds())), by)
		}
	}
	if p.op == record.OpDisconnect {
		if err := e.blocked(req.By); err != nil {
			return p, err
		}
	}
	if p.op == record.OpReconnect {
		if need, by := e.staggered(p.devices); need > 0 && req.ExpiresIn == 0 {
			p.expires = min(p.expires+need, MaxExpiry)
		} else if need > p.expires {
			return p, api.BadRequest("expiresIn", "%d seconds: these meters take at least %d with %s on each feeder", req.ExpiresIn, int(math.Ceil(need.Seconds())), by)
		}
	}
	if p.op == record.OpGroups {
		whole := slices.Sorted(slices.Values(req.Params.Groups))
		p.payload = make(map[*cim.EndDevice][]uint32, len(p.devices))
		for _, dev := range p.devices {
			p.payload[dev] = whole
		}
	}
	return p, nil
}

// find returns a device by its id, which is unique across kinds.
func (e *Engine) find(id string) (*cim.EndDevice, bool) {
	for _, kind := range topic.Kinds() {
		if dev, ok := e.o.Device(kind, id); ok {
			return dev, true
		}
	}
	return nil, false
}

func (e *Engine) checkTarget(p *plan) error {
	t := p.req.Target
	if err := CheckTarget(t); err != nil {
		return err
	}
	p.req.Target.Listed = 0
	switch {
	case t.Meters != nil:
		return e.listed(p, t.Meters)
	case p.found != nil:
		p.bulk, p.devices = true, p.found.devices
	case t.Query != nil:
		return NobodyFits() // it was not looked up
	case t.Group != nil && *t.Group == 0:
		return noGroup("target.group")
	case t.Meter != "":
		if err := topic.CheckID(t.Meter); err != nil {
			return api.BadRequest("target.meter", "%v", err)
		}
		dev, ok := e.find(t.Meter)
		if !ok {
			return &api.Problem{Title: "Not found", Status: 404, Field: "target.meter", Detail: fmt.Sprintf("no meter %q is known", t.Meter)}
		}
		if dev.Kind == topic.Concentrator && p.op != record.OpPing {
			return api.BadRequest("target.meter", "%q is a concentrator: it answers ping only; to reach the meters below it use path", t.Meter)
		}
		p.devices = []*cim.EndDevice{dev}
	case t.Path != "":
		if err := topic.CheckPath(t.Path); err != nil {
			return api.BadRequest("target.path", "%v", err)
		}
		p.bulk = true
		for _, dev := range e.o.Below(t.Path) {
			if dev.Kind == topic.Meter {
				p.devices = append(p.devices, dev)
			}
		}
		if len(p.devices) == 0 {
			return NobodyBelow(t.Path)
		}
	default:
		p.bulk = true
		for _, id := range e.groups.ids(*t.Group) {
			if dev, ok := e.find(id); ok {
				p.devices = append(p.devices, dev)
			}
		}
		if len(p.devices) == 0 {
			return &api.Problem{Title: "Not found", Status: 404, Field: "target.group", Detail: fmt.Sprintf("group %d has no members", *t.Group)}
		}
	}
	return nil
}

// checkParams refuses parameters that are wrong, missing, or of another type: an arm on a disconnect is a mistake, and a
// mistake with a breaker is not guessed at.
func checkParams(typ string, p *api.Params) error {
	has := []struct {
		field, of string
		set       bool
	}{
		{"from", api.CommandProfile, p.From != nil}, {"to", api.CommandProfile, p.To != nil},
		{"channel", api.CommandProfile, p.Channel != ""}, {"arm", api.CommandReconnect, p.Arm},
		{"minutes", api.CommandInterval, p.Minutes != 0}, {"groups", api.CommandGroups, p.Groups != nil},
		{"image", api.CommandFirmwareActivate, p.Image != ""},
	}
	for _, h := range has {
		if h.field == "image" && typ == api.CommandFirmwareDrop {
			continue
		}
		if h.set && h.of != typ {
			return api.BadRequest("params."+h.field, "belongs to %s, not to %s", h.of, typ)
		}
	}
	switch typ {
	case api.CommandProfile:
		return checkSpan(p)
	case api.CommandFirmwareActivate, api.CommandFirmwareDrop:
		if _, err := record.ParseImageID(p.Image); err != nil {
			return api.BadRequest("params.image", "%v", err)
		}
	case api.CommandInterval:
		if p.Minutes < 1 || p.Minutes > 1440 || 1440%p.Minutes != 0 {
			return api.BadRequest("params.minutes", "%d, want a divisor of 1440, from 1 to 1440", p.Minutes)
		}
	case api.CommandGroups:
		if len(p.Groups) > record.MaxGroups {
			return api.BadRequest("params.groups", "%d groups, want at most %d", len(p.Groups), record.MaxGroups)
		}
		for i, g := range p.Groups {
			if g == 0 {
				return noGroup("params.groups")
			}
			if slices.Contains(p.Groups[:i], g) {
				return api.BadRequest("params.groups", "group %d stands there twice", g)
			}
		}
	}
	return nil
}

// noGroup refuses group 0, which stands for an unused place in a groups message (docs/contract.md, section 2).
func noGroup(field string) error {
	return api.BadRequest(field, "0 is no group, want a number from 1 to 4294967295")
}

func checkSpan(p *api.Params) error {
	switch p.Channel {
	case "", api.ChannelImport, api.ChannelExport, api.ChannelAll:
	default:
		return api.BadRequest("params.channel", "%.40q, want import, export or all", p.Channel)
	}
	if (p.From == nil) != (p.To == nil) {
		field := "params.from"
		if p.To == nil {
			field = "params.to"
		}
		return api.BadRequest(field, "is missing: give both from and to, or neither for the last 6 hours")
	}
	if p.From == nil {
		return nil
	}
	for _, v := range []struct {
		field string
		t     time.Time
	}{{"params.from", *p.From}, {"params.to", *p.To}} {
		if s := v.t.Unix(); s < 1 || s > 1<<32-1 || v.t.Nanosecond() != 0 {
			return api.BadRequest(v.field, "%s, want whole seconds from 1970-01-01T00:00:01Z to 2106-02-07T06:28:15Z", v.t.UTC().Format(time.RFC3339Nano))
		}
	}
	if !p.From.Before(*p.To) {
		return api.BadRequest("params.to", "%s is not after from, %s", p.To.UTC().Format(time.RFC3339), p.From.UTC().Format(time.RFC3339))
	}
	return nil
}

// effect names what a command changes for good; "" if the order against others does not matter.
func effect(op record.Opcode) string {
	switch op {
	case record.OpDisconnect, record.OpReconnect:
		return "breaker"
	case record.OpSetInterval:
		return "interval"
	case record.OpGroups:
		return "groups"
	case record.OpFirmwareActivate, record.OpFirmwareDrop:
		return "firmware"
	}
	return ""
}

// conflicts says why a bulk command must not be broadcast, "" if it may be. A broadcast overtakes what is queued, and it
// reaches whoever is subscribed, so neither may matter: a disconnect must not overtake an earlier reconnect of one of its
// meters, and no meter that may still be subscribed to a group it was taken out of may hear a breaker command for it.
func (e *Engine) conflicts(p plan) *api.Said {
	what := effect(p.op)
	if what == "" {
		return nil
	}
	if g := p.req.Target.Group; g != nil {
		if n := e.groups.leaving[*g]; n > 0 {
			return api.Say("command.meters-left", "n", n)
		}
	}
	n := 0
	for _, dev := range p.devices {
		for _, m := range e.queues.of(dev) {
			if effect(m.c.op) == what {
				n++
				break
			}
		}
	}
	if n == 0 {
		return nil
	}
	return api.Say("command.meters-earlier", "n", n, "what", what)
}
