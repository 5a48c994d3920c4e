package mdms

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/store"
)

// households gives the world's meters the load of real households for the days from the data's beginning.
func households(t testing.TB, w *world, slots int) {
	d, err := dataset.Load()
	if err != nil {
		t.Fatal(err)
	}
	start := uint32(d.Start())
	for i := range d.Len() {
		h := d.Household(i)
		m := &simMeter{id: h.ID(), path: []string{"C1/C11", "C1/C12", "C2/C21", "C2/C22"}[i%4]}
		m.truth = truth{start: start, step: 1800}
		for k := range slots + 1 {
			m.reg = append(m.reg, h.Register(int64(start)+int64(k)*1800))
		}
		w.meters[m.id] = m
		w.ids = append(w.ids, m.id)
	}
}

// TestRealBlocks packs days of every household, as they were measured and in quarters of an hour, and tells how many bytes an interval takes:
// in its block, and once more by slot.
func TestRealBlocks(t *testing.T) {
	d, err := dataset.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []uint16{30, 15} {
		t.Run(fmt.Sprintf("%d minutes", length), func(t *testing.T) {
			n, step := 1440/int(length), int64(length)*60
			var blocks, slots, intervals int
			var buf []byte
			for day := range 45 / 3 {
				var all []*store.Block
				for i := range d.Len() {
					h := d.Household(i)
					at := int64(cim.DayOf(uint32(d.Start())).Start()) + int64(3*day+1)*dayLength
					b := &store.Block{Device: uint32(i), Version: 1, Length: length, Register: h.Register(at), HasReg: true, Wh: make([]uint32, n), Quality: make([]cim.Quality, n)}
					for k := range b.Wh {
						b.Wh[k], b.Quality[k] = uint32(h.Energy(at+int64(k)*step, at+int64(k+1)*step)), cim.Recovered
					}
					if buf, err = store.AppendBlock(buf[:0], b); err != nil {
						t.Fatal(err)
					}
					got := store.Block{Length: length}
					if err := store.UnpackBlock(&got, buf); err != nil || !slices.Equal(got.Wh, b.Wh) {
						t.Fatalf("household %s day %d: %v, want %v; %v", h.ID(), day, got.Wh, b.Wh, err)
					}
					all = append(all, b)
					blocks += len(buf)
					intervals += n
				}
				parts, err := store.PackSlots(all, true)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range parts {
					slots += len(p)
				}
				sameSlots(t, parts, all)
			}
			block, slot := float64(blocks)/float64(intervals), float64(slots)/float64(intervals)
			t.Logf("%d intervals: %.3f bytes an interval and %.3f once more by slot", intervals, block, slot)
			if block > 1.3 || slot > 1.15 {
				t.Errorf("%.3f bytes an interval and %.3f by slot, want at most 1.3 and 1.15", block, slot)
			}
		})
	}
}

// sameSlots compares what was packed by slot with the blocks.
func sameSlots(t *testing.T, parts [][]byte, all []*store.Block) {
	t.Helper()
	h, err := store.UnpackSlotHead(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	take := make([]bool, h.Devices)
	for i := range take {
		take[i] = true
	}
	n := 0
	if err := h.Blocks(store.Within{To: dayLength}, parts[1:], &store.Block{}, take, func(b *store.Block) error {
		if w := all[b.Device]; !slices.Equal(b.Wh, w.Wh) || !slices.Equal(b.Quality, w.Quality) || b.Version != w.Version {
			t.Fatalf("%+v, want %+v", b, w)
		}
		n++
		return nil
	}); err != nil || n != len(all) {
		t.Fatalf("%d blocks by slot, want %d; %v", n, len(all), err)
	}
}

// TestWholeHistory collects 45 days of 494 real households over the bus into the store; 2 days of them with -short.
func TestWholeHistory(t *testing.T) {
	t.Parallel()
	slots := 45 * 48
	if testing.Short() {
		slots = 2 * 48
	}
	d, err := dataset.Load()
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.New(time.Unix(d.Start()+int64(slots)*1800+90, 0), 1)
	c := newCentre(t, clk)
	w := newWorld(c, 0, 0, 0, false)
	households(t, w, slots)
	for _, id := range w.ids {
		w.register(w.meters[id])
	}
	start := time.Now()
	c.flush()
	want := int64(len(w.ids) * slots)
	c.until("all collected", 300*time.Second, func() bool {
		tot, ok := c.totals()
		return ok && tot.Completeness.Expected == want && tot.Completeness.Missing == 0
	})
	took := time.Since(start)
	if !testing.Short() {
		w.check()
	}
	w.stop()
	c.halt()
	c.run()
	c.until("opened again", 120*time.Second, func() bool {
		tot, ok := c.totals()
		return ok && tot.Completeness.Missing == 0 && tot.Completeness.Expected == want
	})
	z, err := c.store.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := float64(z.BlockIntervals)
	t.Logf("%d intervals of %d meters with %d requests in %v; packed %.3f, on disk %.3f bytes an interval; %d intervals in %d bytes of chunks",
		want, len(w.ids), w.asked, took.Round(time.Millisecond), float64(z.BlockBytes)/n, float64(z.Bytes)/n, z.ChunkIntervals, z.ChunkBytes)
	if per := float64(z.Bytes) / n; per > 4 && !testing.Short() {
		t.Errorf("%.3f bytes an interval on disk, want at most 4", per)
	}
}
