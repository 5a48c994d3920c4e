package mdms

import (
	"context"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
)

// Under load a result that somebody waits for lies behind readings: in the EEB, on the way into the stream and out of it. So the EEB also
// sends a copy of it ahead, which is kept nowhere on the way.
//
//	EEB ──copy──────────────────────────> ahead ──┐
//	EEB ──batch──> stream WB_UP, synced ──> consume ┴─> loop
//
// The copy is committed like anything else. What lies before the result in the stream comes later, like anything that was delayed; the
// result in the stream is one that was heard before, and changes nothing more.

// listenAhead takes what comes ahead, until stop is called.
func (m *MDMS) listenAhead() (in <-chan bus.Batch, stop func(), err error) {
	ch := make(chan bus.Batch, most)
	stop, err = m.o.Bus.OnNow(func(b bus.Batch) {
		select {
		case ch <- b:
		default: // it comes in a batch, too
		}
	})
	return ch, stop, err
}

// consumeAhead hands to the loop what came ahead, all that there is at once.
func (m *MDMS) consumeAhead(ctx context.Context, in <-chan bus.Batch) {
	for {
		var w work
		select {
		case b := <-in:
			w.ahead = append(w.ahead, b)
		case <-ctx.Done():
			return
		}
		for more := true; more; {
			select {
			case b := <-in:
				w.ahead = append(w.ahead, b)
			default:
				more = false
			}
		}
		if m.do(ctx, &w) != nil { // the loop has ended, and says why
			return
		}
	}
}

// enterAhead takes the copy of a result.
func (m *MDMS) enterAhead(x *entry) {
	d := m.byID[x.ID]
	typ, err := record.Check(x.Payload)
	if err != nil || typ != record.TypeResult || d == nil || d.Kind != x.Kind || d.retired {
		return // its batch tells
	}
	m.ledger.at = x.at
	x.Path = m.intern(d, x.Path)
	if m.enterResult(d, x) == nil {
		m.markStale(d)
	}
}
