package concentrator

import (
	"github.com/wattbus/wattbus/internal/bridge"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/gateway"
)

// Stats is a snapshot of a concentrator.
type Stats struct {
	ID       string
	Upstream bridge.Stats
	Broker   broker.Stats
	SN       *gateway.Stats // nil without a gateway
}

// Stats gives a snapshot.
func (c *Concentrator) Stats() Stats {
	s := Stats{ID: c.o.ID, Upstream: c.bridge.Stats(), Broker: c.broker.Stats()}
	if c.sn != nil {
		sn := c.sn.Stats()
		s.SN = &sn
	}
	return s
}
