package mdms

import (
	"context"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/topic"
)

// selected finds the meters of a command's query, by id. m.mu is held.
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
		if d != nil && d.meters() && !d.retired && (q.Path == "" || topic.Contains(q.Path, d.EndDevice.Path)) && (q.State == "" || outage.State(&d.EndDevice) == q.State) {
			out = append(out, &d.EndDevice)
		}
	}
	if q.Substation == "" && q.Feeder == "" && q.Transformer == "" && q.Tag == "" && q.Contract == "" {
		for _, d := range m.ids.all() {
			take(d)
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
	for _, p := range points { // not under the registry's lock, which List holds
		if in, ok := m.registry.MeterAt(p, at, registry.Now); ok {
			take(m.byID[in.Meter])
		}
	}
	return out, nil
}

// protected reports a meter whose customer must not be cut off without a second person: the registry says so. m.mu is held.
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
