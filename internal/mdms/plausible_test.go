package mdms

import (
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// TestJumps: a register that jumps is a dead letter and changes nothing; a meter that was exchanged is believed from its second
// reading on, at once if it begins lower.
func TestJumps(t *testing.T) {
	t.Parallel()
	c := newCentre(t, clock.New(at(20), 1))
	c.opts.Backfill.Off = true
	c.halt()
	c.run()
	w := newWorld(c, 1, t0+3600, 18, false)
	m := w.meters[w.ids[0]]
	w.register(m)
	seq := uint32(0)
	say := func(reg uint64) {
		c.send(m.path, topic.Meter, m.id, "reading", record.Reading{Header: record.Header{Time: m.start + seq*1800}, Import: reg, Sequence: uint16(seq)}.Append(nil))
		seq++
		c.flush()
	}
	for _, reg := range []uint64{1000, 1500, 1 << 50, 2500, 3000} { // one lie
		say(reg)
	}
	for _, reg := range []uint64{1e9, 1e9 + 500, 1e9 + 900} { // another meter
		say(reg)
	}
	for _, reg := range []uint64{10, 20} { // and a new one
		say(reg)
	}
	want := []int64{500, -1, -1, 500, -1, -1, 400, -1, 10}
	var page api.Page[api.Reading]
	c.until("all entered", 120*time.Second, func() bool {
		if tot, ok := c.totals(); !ok || tot.Meters == 0 {
			return false
		}
		page = ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, api.ReadingQuery{ID: m.id, To: unix(m.start + 9*1800)})
		return len(page.Items) == 9 && page.Items[8].Import != nil
	})
	for i, r := range page.Items {
		got := int64(-1)
		if r.Import != nil {
			got = *r.Import
		}
		if got != want[i] {
			t.Errorf("interval %d: %d, want %d", i, got, want[i])
		}
	}
	var dead []bus.DeadLetter
	c.until("dead letters", 120*time.Second, func() bool {
		var err error
		dead, err = c.bus.DeadLetters(t.Context(), 10, 0)
		return err == nil && len(dead) == 2
	})
	for i, detail := range []string{"import register from 3000 to 1000000000 Wh in 1800 s", "import register from 1500 to 1125899906842624 Wh in 1800 s"} {
		if d := dead[i]; d.Topic != "up/C1/meter/M0000/reading" || d.Reason != "value" || !strings.Contains(d.Detail, detail) || len(d.Payload) != record.ReadingSize {
			t.Errorf("%+v", d)
		}
	}
	w.stop()
}
