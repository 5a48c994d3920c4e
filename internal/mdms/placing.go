package mdms

import (
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/topic"
)

// placePart is for how many devices what the registry says of them is taken over in one turn: with a million, all at once would hold up
// everything else for seconds.
const placePart = 2048

// touched are the usage points and the meters that a change of the registry is about.
type touched struct {
	points, meters []string
	read           []string // meters of which it tells registers that people read
}

func (t *touched) add(c *registry.Change) {
	switch {
	case c.UsagePoint != nil:
		t.points = append(t.points, c.UsagePoint.MRID)
	case c.Meter != nil:
		t.meters = append(t.meters, c.Meter.MRID)
	case c.Installation != nil:
		i := c.Installation
		t.meters = append(t.meters, i.Meter)
		if i.First != (cim.RegisterPair{}) || i.Last != (cim.RegisterPair{}) {
			t.read = append(t.read, i.Meter)
		}
	}
}

// placesChanged has what the registry says of them taken over, of the first ones at once. m.mu is not held; only the loop calls it.
func (m *MDMS) placesChanged(t *touched) {
	for _, id := range t.points {
		for _, i := range m.registry.Chain(id, registry.Now) {
			t.meters = append(t.meters, i.Meter)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range t.read {
		if d := m.byID[id]; d != nil {
			d.read = true
		}
	}
	for _, id := range t.meters {
		switch d := m.byID[id]; {
		case d == nil && topic.CheckID(id) != nil:
		case d == nil:
			m.unheard = append(m.unheard, id) // who was heard meanwhile, or is nowhere, is left out when it is looked at
		case !d.placing:
			d.placing = true
			m.placing = append(m.placing, d)
		}
	}
	m.placeSome()
}

// placeSome takes over where some of the devices that wait for it hang, and when they are expected to measure. It reports whether more wait.
// m.mu is held.
func (m *MDMS) placeSome() (more bool) {
	n := min(placePart, len(m.placing))
	for _, d := range m.placing[:n] {
		m.place(d)
	}
	if m.placing = m.placing[n:]; len(m.placing) == 0 {
		m.placing = nil
	}
	return m.placing != nil
}

func (m *MDMS) place(d *device) {
	until, from := d.span.Until, [2]uint32{}
	d.each(func(s *series) { from[s.channel] = s.from })
	m.takePlace(d)
	m.judgeRemoval(d, until)
	d.each(func(s *series) { m.judgeArrival(s, from[s.channel]) })
	if d.read {
		m.judgeEnds(d)
	}
	d.read, d.placing = false, false
}

// placeHourly does that with all devices, bit by bit: what the registry says may hold only from a time on that has come since. m.mu is held.
func (m *MDMS) placeHourly(now uint32) {
	if hour := now / 3600; hour != m.placedHour && !m.replacing.going {
		m.placedHour = hour
		m.replacing.begin()
	}
	for _, d := range m.replacing.part(m.devices, placePart) {
		m.place(d)
	}
}
