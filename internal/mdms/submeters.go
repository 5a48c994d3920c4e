package mdms

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// maxSubMeters bounds the sub-meters of a meter over its life: four channels, and exchanges. What further ones tell is not kept.
const maxSubMeters = 32

// subMeters are the meters behind meters, some 150 bytes each. Their values are in the store alone.
type subMeters struct {
	n  uint32                 // in all
	of map[uint32][]*subMeter // by the ordinal of the device that tells their values, in the order in which they came
}

type subMeter struct {
	store.SubMeter
	newest store.SubValue // Time 0: none
}

// find is the sub-meter with a name; nil if there is none.
func (s *subMeters) find(device uint32, name string) *subMeter {
	for _, x := range s.of[device] {
		if x.ID == name {
			return x
		}
	}
	return nil
}

func (s *subMeters) add(x *subMeter) {
	if s.of == nil {
		s.of = map[uint32][]*subMeter{}
	}
	s.of[x.Device] = append(s.of[x.Device], x)
	s.n++
}

// restoreSubMeters reads the sub-meters. m.mu is held.
func (m *MDMS) restoreSubMeters(ctx context.Context) error {
	return m.o.Store.SubMeters(ctx, func(s store.SubMeter, newest store.SubValue) error {
		if s.Ordinal != m.subs.n {
			return fmt.Errorf("sub-meter %s in the store has ordinal %d, want %d", s.ID, s.Ordinal, m.subs.n)
		}
		m.subs.add(&subMeter{s, newest})
		return nil
	})
}

// enterSubmeter enters the register of a meter behind a device. Meters tell it again with every message until there is a new one, so
// that nearly all are known by their time. A time that has a value keeps it.
func (m *MDMS) enterSubmeter(d *device, x *entry) error {
	p, err := record.DecodeSubmeter(x.Payload)
	if err != nil {
		return err
	}
	m.outages.OnMessage(&d.EndDevice, x.Path, record.TypeSubmeter, p.Header, x.at)
	if !d.meters() {
		return nil
	}
	r := p.Reading()
	if !window(r.Time, x.now) {
		m.ignore("submeter_time")
		return nil
	}
	s := m.subs.find(d.Ordinal, r.Name())
	switch {
	case s == nil:
		if len(m.subs.of[d.Ordinal]) >= maxSubMeters {
			m.ignore("submeters")
			return nil
		}
		s = &subMeter{SubMeter: store.SubMeter{Ordinal: m.subs.n, Device: d.Ordinal, ID: strings.Clone(r.Name()), Channel: r.Channel, Medium: r.Medium}}
		m.subs.add(s)
		m.pending.SubMeters = append(m.pending.SubMeters, s.SubMeter)
	case r.Time == s.newest.Time:
		if r.Value != s.newest.Value || r.Scale != s.newest.Scale || r.Unit != s.newest.Unit {
			m.ignore("submeter_differs")
		}
		return nil
	case r.Time > s.newest.Time && (r.Channel != s.Channel || r.Medium != s.Medium):
		s.Channel, s.Medium = r.Channel, r.Medium
		m.pending.SubMeters = append(m.pending.SubMeters, s.SubMeter)
	}
	v := store.SubValue{Sub: s.Ordinal, Time: r.Time, Value: r.Value, Unit: r.Unit, Scale: r.Scale}
	if r.Time > s.newest.Time {
		s.newest = v
	}
	m.pending.SubValues = append(m.pending.SubValues, v)
	m.outbox.subMeter(d, s, v, x.Received)
	return nil
}

// subMeter tells of a value of a sub-meter. One that comes late may have been told before; its id is the same then.
func (o *outbox) subMeter(d *device, s *subMeter, v store.SubValue, received int64) {
	if !o.listening(d.Kind, api.EventSubMeter) {
		return
	}
	id := d.ID + "/" + s.ID + "/" + strconv.FormatUint(uint64(v.Time), 10)
	o.addAs(id, d, api.EventSubMeter, o.clock.Now(), api.SubMeterEvent{Meter: d.ID, Path: d.EndDevice.Path, SubMeter: s.ID, Medium: s.Medium.String(), Channel: int(s.Channel),
		SubReading: subReading(v), Received: time.UnixMilli(received).UTC()})
}

func subReading(v store.SubValue) api.SubReading {
	return api.SubReading{Time: unix(v.Time), Value: cim.Decimal(v.Value, v.Unit, v.Scale), Unit: v.Unit.String()}
}

func (m *MDMS) querySubMeters(_ context.Context, q api.SubMeterQuery) (api.Page[api.SubMeter], error) {
	out := api.Page[api.SubMeter]{Items: []api.SubMeter{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	after := 0
	if q.Cursor != "" {
		if after, err = strconv.Atoi(q.Cursor); err != nil || after < 1 {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, err := m.meter(q.ID)
	if err != nil {
		return out, err
	}
	all := m.subs.of[d.Ordinal]
	for _, s := range all[min(after, len(all)):] {
		if len(out.Items) == limit {
			out.Next = strconv.Itoa(after + limit)
			break
		}
		it := api.SubMeter{ID: s.ID, Meter: d.ID, Medium: s.Medium.String(), Channel: int(s.Channel)}
		if s.newest.Time != 0 {
			r := subReading(s.newest)
			it.Newest = &r
		}
		out.Items = append(out.Items, it)
	}
	return out, nil
}

func (m *MDMS) querySubReadings(ctx context.Context, q api.SubReadingQuery) (api.Page[api.SubReading], error) {
	out := api.Page[api.SubReading]{Items: []api.SubReading{}}
	limit, err := page(q.Paging, maxReadings)
	if err != nil {
		return out, err
	}
	m.mu.RLock()
	d, err := m.meter(q.ID)
	var s *subMeter
	if err == nil {
		if s = m.subs.find(d.Ordinal, q.SubMeter); s == nil {
			err = api.NotFound("meter %s has no sub-meter %.60s; GET /v1/meters/%s/sub-meters lists those that it has", d.ID, q.SubMeter, d.ID)
		}
	}
	m.mu.RUnlock()
	if err != nil {
		return out, err
	}
	from, to, err := span(q.From, q.To, 0, 1<<32-1)
	if err != nil {
		return out, err
	}
	if q.Cursor != "" {
		at, err := strconv.ParseUint(q.Cursor, 10, 32)
		if err != nil {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
		from = max(from, uint32(at))
	}
	err = m.o.Store.SubValues(ctx, store.SubValueQuery{Sub: s.Ordinal, From: from, To: to, Limit: limit + 1}, func(v store.SubValue) error {
		if len(out.Items) == limit {
			out.Next = strconv.FormatUint(uint64(v.Time), 10)
			return nil
		}
		out.Items = append(out.Items, subReading(v))
		return nil
	})
	return out, err
}
