package mdms

import (
	"context"
	"slices"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/topic"
)

// found looks up, outside of the loop and part by part, the meters of a command for a path or a query, nil for another target. What is wrong with the
// target as such the engine says.
func (m *MDMS) found(q *api.CommandRequest) (*command.Found, error) {
	devices, err := m.lookUp(q.Target)
	if err != nil || devices == nil {
		return nil, err
	}
	protected := m.protected
	if q.Type != api.CommandDisconnect {
		protected = nil
	}
	return command.NewFound(devices, protected), nil
}

// lookUp finds the meters below a path, or of a query; nil for another target. m.mu is not held.
func (m *MDMS) lookUp(t api.Target) ([]*cim.EndDevice, error) {
	switch {
	case command.CheckTarget(t) != nil:
		return nil, nil
	case t.Query != nil:
		if err := command.CheckQuery(*t.Query); err != nil {
			return nil, err
		}
		out, err := m.selected(*t.Query)
		if err == nil && len(out) == 0 {
			err = command.NobodyFits()
		}
		return out, err
	case t.Path == "" || topic.CheckPath(t.Path) != nil:
		return nil, nil
	}
	out := m.metersBelow(t.Path)
	if len(out) == 0 {
		return nil, command.NobodyBelow(t.Path)
	}
	return out, nil
}

// metersBelow reads the meters below a path, who may be all there are, off the columns.
func (m *MDMS) metersBelow(path string) []*cim.EndDevice {
	var out []*cim.EndDevice
	m.mu.RLock()
	below := m.below(path)
	for n := range m.columns {
		if c := &m.columns[n]; c.listed && below[c.path] {
			out = append(out, &m.devices[n].EndDevice)
		}
	}
	m.mu.RUnlock()
	return slices.DeleteFunc(out, func(d *cim.EndDevice) bool { return d.Kind != topic.Meter }) // which never changes
}

// selected finds the meters of a query, by id, or by usage point where the query is about those. m.mu is not held.
func (m *MDMS) selected(q api.TargetQuery) ([]*cim.EndDevice, error) {
	if topic.CheckPath(q.Path) != nil {
		return nil, api.BadRequest("target.query.path", "%.40q, want ids of concentrators, outermost first, joined by /", q.Path)
	}
	switch q.State {
	case "", api.StateNeverSeen, api.StatePowerLost, api.StateUnreachable, api.StateCommLost, api.StateSleeping, api.StateDisconnected, api.StateOnline:
	default:
		return nil, api.BadRequest("target.query.state", "%.40q, want one of never-seen, power-lost, unreachable, comm-lost, sleeping, disconnected, online", q.State)
	}
	var out []*cim.EndDevice
	take := func(d *device) {
		if d != nil && d.Kind == topic.Meter && !d.retired && (q.Path == "" || topic.Contains(q.Path, d.EndDevice.Path)) && (q.State == "" || outage.State(&d.EndDevice) == q.State) {
			out = append(out, &d.EndDevice)
		}
	}
	if q.Substation == "" && q.Feeder == "" && q.Transformer == "" && q.Tag == "" && q.Contract == "" {
		m.mu.Lock() // the index may have to be put in order
		all := m.ids.all()
		m.mu.Unlock()
		for part := range slices.Chunk(all, walkPart) {
			m.mu.RLock()
			for _, d := range part {
				take(d)
			}
			m.mu.RUnlock()
		}
		return out, nil
	}
	at := m.o.Clock.Unix()
	sel := registry.Query{At: at, Known: registry.Now, Substation: q.Substation, Feeder: q.Feeder, Transformer: q.Transformer, Tag: q.Tag}
	if q.Contract != "" {
		c, ok := cim.ParseContract(q.Contract)
		if !ok {
			return nil, api.BadRequest("target.query.contract", "%.40q, want active, vacant or disconnected", q.Contract)
		}
		sel.Contract = &c
	}
	var points []string
	m.registry.List(sel, func(u cim.UsagePoint) bool { points = append(points, u.MRID); return true })
	for part := range slices.Chunk(points, walkPart) { // not under the registry's lock, which List holds
		var ids []string
		for _, p := range part {
			if in, ok := m.registry.MeterAt(p, at, registry.Now); ok {
				ids = append(ids, in.Meter)
			}
		}
		m.mu.RLock()
		for _, id := range ids {
			take(m.byID[id])
		}
		m.mu.RUnlock()
	}
	return out, nil
}

// protected reports a meter whose customer must not be cut off without a second person: the registry says so.
func (m *MDMS) protected(d *cim.EndDevice) bool {
	u, _, ok := m.registry.Place(d.ID, m.o.Clock.Unix(), registry.Now)
	return ok && u.Protected
}

// feederOf names the feeder that a meter hangs on, "" where the registry does not say. m.mu is held.
func (m *MDMS) feederOf(d *cim.EndDevice) string {
	if x := m.byID[d.ID]; x != nil && int(x.place.feeder) < len(m.grid.all) {
		return m.grid.all[x.place.feeder]
	}
	return ""
}

func (m *MDMS) queryQuarantines(context.Context, struct{}) (api.Page[api.Quarantine], error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return api.Page[api.Quarantine]{Items: m.commands.Quarantines()}, nil
}

func (m *MDMS) queryBudgets(context.Context, struct{}) (api.Budgets, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := api.Budgets{ApproveFrom: m.commands.ApproveFrom(), Breakers: m.commands.Budgets(), Backfill: m.planner.Budget()}
	out.Backfill.Off = m.o.Backfill.Off
	return out, nil
}

func (m *MDMS) releaseQuarantine(ctx context.Context, q api.QuarantineRelease) (api.Quarantine, error) {
	return change(ctx, m, func() (api.Quarantine, error) { return m.commands.Release(q) })
}
