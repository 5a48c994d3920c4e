package mdms

import (
	"context"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// jumpMargin is how many seconds of the highest power are allowed on top, for clocks that are not exact.
const jumpMargin = 60

// maxBuried bounds the dead letters that are kept of one turn; all are counted.
const maxBuried = 100

// jump is what a register did that no meter does, "" for nothing: it grew by more than can have passed the meter since the
// reading before. One that fell is believed at once: the meter was exchanged.
func (d *device) jump(r record.Reading) string {
	was := &d.Registers
	if was.Time == 0 || r.Time <= was.Time {
		return ""
	}
	most := record.MaxEnergy(r.Time-was.Time) + record.MaxEnergy(jumpMargin)
	imports, exports := d.imp.from != 0 || was.Import != 0, d.exp != nil || was.Export != 0 // what it never told does not grow
	switch {
	case imports && r.Import > was.Import && r.Import-was.Import > most:
		return fmt.Sprintf("import register from %d to %d Wh in %d s", was.Import, r.Import, r.Time-was.Time)
	case exports && r.Export > was.Export && r.Export-was.Export > most:
		return fmt.Sprintf("export register from %d to %d Wh in %d s", was.Export, r.Export, r.Time-was.Time)
	}
	return ""
}

// believable reports whether a reading may be used. One whose register jumped becomes a dead letter, unless the one before it
// jumped as well and this one goes on from there: then the meter was exchanged for one that had counted already.
func (m *MDMS) believable(d *device, x *entry, r record.Reading) bool {
	what := d.jump(r)
	if what == "" {
		d.doubted = nil
		return true
	}
	if before := d.doubted; before != nil && r.Time > before.Time && r.Import >= before.Import && r.Export >= before.Export {
		most := record.MaxEnergy(r.Time-before.Time) + record.MaxEnergy(jumpMargin)
		if r.Import-before.Import <= most && r.Export-before.Export <= most {
			d.doubted = nil
			return true
		}
	}
	d.doubted = &r
	m.met.dead.WithLabelValues(record.Reason(record.ErrValue)).Inc()
	if len(m.buried) < maxBuried {
		m.buried = append(m.buried, bus.DeadLetter{Topic: "up/" + topic.Join(x.Path, x.Kind) + "/" + x.ID + "/" + x.Event,
			Reason: record.Reason(record.ErrValue), Detail: "reading: " + what, Received: time.UnixMilli(x.Received).UTC(),
			Size: len(x.Payload), Payload: append([]byte(nil), x.Payload...)})
	}
	return false
}

// bury keeps dead letters. They are of use to people only, so one that cannot be kept holds nothing up.
func (m *MDMS) bury(ctx context.Context, letters []bus.DeadLetter) {
	if len(letters) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := m.o.Bus.PublishDead(ctx, letters...); err != nil && ctx.Err() == nil {
		m.log.Warn("dead letters not kept", "letters", len(letters), "error", err)
	}
}
