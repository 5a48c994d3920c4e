package outage

import "github.com/wattbus/wattbus/internal/cim"

// Retire forgets a device that never comes back: its case is closed, and nobody waits for a sign of it any more. Add makes it
// known again. Nothing may be told of it in between.
func (e *Engine) Retire(dev *cim.EndDevice) {
	t := e.track(dev)
	if t == nil || t.slot < 0 {
		return
	}
	if o := e.cases[t]; o != nil {
		e.closeCase(o, e.now())
		delete(e.cases, t)
	}
	e.endCut(t, e.now(), 0)
	if t.grid != nil {
		t.grid.leave(t)
		e.grid.touch(t.grid)
		t.grid = nil
	}
	t.node.detach(t)
	t.node.counts[t.state]--
	e.counts[t.state]--
	e.devices--
	t.slot, t.due = -1, 0
	e.tracks[dev.Ordinal] = nil
	e.markNode(t.node)
	e.emptied(t.node, e.now())
}
