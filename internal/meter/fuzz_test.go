package meter

import (
	"os"
	"path/filepath"
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
	img := imageOf(f, 1, 5, 100, nil)
	f.Add("firmware", offerOf(&img, 1, t0).Append(nil), uint32(0))
	f.Add("block", img.Block(record.Header{}, 1, 64).Append(nil), uint32(0))
	f.Add("cmd", record.Command{ID: 1, Opcode: record.OpFirmwareStatus}.Append(nil), uint32(0))
	f.Fuzz(func(t *testing.T, event string, b []byte, later uint32) {
		m := newTestCore(t0, func(c *config) { c.sources[1], c.update = line(10), updateOf(NewMemorySlot(1000)) })
		if _, err := m.receive(t0, "firmware", offerOf(&img, 1, t0).Append(nil)); err != nil {
			t.Fatal(err)
		}
		m.began(&imageTask{offer: &record.Firmware{RollOut: 1, BlockSize: 64, Manifest: img.Raw, Signature: img.Signature}, manifest: img.Manifest}, nil)
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

// FuzzSamples: whatever is in the file of a load profile, opening it says what is wrong or gives samples in order, and what is kept
// then is found again.
func FuzzSamples(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(samplesHeader))
	f.Add(sample{t0, Sample{Import: 1, Export: 2, Power: -3, Voltage: 4}}.append([]byte(samplesHeader)))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, SamplesName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSamples(dir)
		if err != nil {
			return
		}
		for i := 1; i < len(s.list); i++ {
			if s.list[i-1].at >= s.list[i].at {
				t.Errorf("samples at %d and %d", s.list[i-1].at, s.list[i].at)
			}
		}
		want := Sample{Import: 9}
		if err := s.put(endTime, want); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = OpenSamples(dir); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got, ok := s.at(endTime); !ok || got != want {
			t.Errorf("%+v, %v", got, ok)
		}
	})
}
