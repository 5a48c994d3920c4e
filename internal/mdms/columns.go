package mdms

import (
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/topic"
)

// column is what lists choose a device by. Those of all devices lie close together, by ordinal: to look into a million devices takes a tenth of
// a second and more, most of it waiting for memory; over the columns a walk takes some milliseconds.
type column struct {
	path     uint32 // number of its path in MDMS.hang
	spot     uint32 // number of its place in MDMS.spots
	state    outage.StateNumber
	listed   bool // a meter that is not retired
	measures bool // a meter, retired or not
}

// noteColumn takes over what a device is chosen by, after a change. m.mu is held.
func (m *MDMS) noteColumn(d *device) {
	c := &m.columns[d.Ordinal]
	if p := d.EndDevice.Path; m.hang.value(c.path) != p {
		c.path = m.hang.number(p)
	}
	c.spot = m.spots.number(d.place)
	c.state, c.measures, c.listed = outage.Number(&d.EndDevice), d.meters(), d.meters() && !d.retired
}

// newestRow is the newest day of a device that lies in RAM, nil for none. m.mu is held.
func (m *MDMS) newestRow(n uint32, ch cim.Channel) *dayRow {
	if of := m.ledger.newest[ch]; int(n) < len(of) {
		return of[n]
	}
	return nil
}

// below are the paths, by number, that lie below one or are it. m.mu is held.
func (m *MDMS) below(path string) []bool {
	out := make([]bool, len(m.hang.all))
	for n, p := range m.hang.all {
		out[n] = topic.Contains(path, p)
	}
	return out
}
