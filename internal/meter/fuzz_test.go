package meter

import (
	"testing"

	"github.com/wattbus/wattbus/internal/record"
)

// Whatever comes down, the meter neither panics nor answers without bound, every answer is a valid message, and the registers
// do not fall.
func FuzzReceive(f *testing.F) {
	f.Add("cmd", record.Command{ID: 1, Opcode: record.OpProfile, Channel: record.ChannelAll, A: t0 - 86400, B: t0}.Append(nil), uint32(0))
	f.Add("cmd", record.Command{ID: 1, Opcode: record.OpDisconnect, Expiry: t0 + 60}.Append(nil), uint32(5000))
	f.Add("cmd", record.Command{ID: 1, Opcode: record.OpSetClock, A: 12}.Append(nil), uint32(5000))
	f.Add("cmd", record.Command{ID: 1, Opcode: record.OpSetClock, A: 0xFFFFFFFF}.Append(nil), uint32(5000))
	f.Add("cmd", record.Command{ID: 1, Opcode: record.OpSetInterval, A: 1}.Append(nil), uint32(100000))
	f.Add("groups", record.Groups{ID: 2, Count: 2, Groups: [8]uint32{1, 2}}.Append(nil), uint32(0))
	f.Add("location-ack", record.LocationAck{Sequence: 9, Interval: 15}.Append(nil), uint32(1))
	f.Fuzz(func(t *testing.T, event string, b []byte, later uint32) {
		m := newTestCore(t0, func(c *config) { c.sources[1] = line(10) })
		m.attempt(t0)
		for _, at := range []uint32{t0, t0 + later%1e6, t0 + later%1e6 + 7000} {
			fx, err := m.receive(at, event, b)
			if err != nil {
				return
			}
			for _, o := range m.due(at) {
				if _, err := record.Validate(o.event, o.payload); err != nil {
					t.Fatalf("%s: %v", o.event, err)
				}
			}
			if fx.answer == nil {
				continue
			}
			n := m.answers(fx.answer)
			if n < 1 || n > 0xFFFF+1 {
				t.Fatalf("%d answers", n)
			}
			for i := 0; i < n; i += 1 + n/50 {
				o := m.answer(fx.answer, i)
				if _, err := record.Validate(o.event, o.payload); err != nil {
					t.Fatalf("answer %d of %d, %s: %v", i, n, o.event, err)
				}
			}
			last := m.answer(fx.answer, n-1)
			if _, err := record.DecodeResult(last.payload); err != nil {
				t.Fatalf("the last answer: %v", err)
			}
			var s State
			if err := s.Apply(m.st.Snapshot(nil)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
