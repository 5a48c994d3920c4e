package mdms

import (
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

// TestRealBlocks packs 45 days of every household and tells how many bytes an interval takes.
func TestRealBlocks(t *testing.T) {
	d, err := dataset.Load()
	if err != nil {
		t.Fatal(err)
	}
	var bytes, intervals int
	var buf []byte
	for i := range d.Len() {
		h := d.Household(i)
		for day := range 45 {
			at := int64(cim.DayOf(uint32(d.Start())).Start()) + int64(day+1)*dayLength
			b := store.Block{Length: 30, Register: h.Register(at), HasReg: true, Wh: make([]uint32, 48), Quality: make([]cim.Quality, 48)}
			for k := range b.Wh {
				b.Wh[k], b.Quality[k] = h.Wh(at+int64(k)*1800), cim.Recovered
			}
			if buf, err = store.AppendBlock(buf[:0], &b); err != nil {
				t.Fatal(err)
			}
			got := store.Block{Length: 30}
			if err := store.UnpackBlock(&got, buf); err != nil {
				t.Fatal(err)
			}
			for k := range b.Wh {
				if got.Wh[k] != b.Wh[k] {
					t.Fatalf("household %s day %d slot %d: %d, want %d", h.ID(), day, k, got.Wh[k], b.Wh[k])
				}
			}
			bytes += len(buf)
			intervals += 48
		}
	}
	per := float64(bytes) / float64(intervals)
	t.Logf("%d intervals in %d bytes: %.3f bytes an interval", intervals, bytes, per)
	if per > 2 {
		t.Errorf("%.3f bytes an interval, want at most 2", per)
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
	c.until("all collected", 120*time.Second, func() bool {
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
