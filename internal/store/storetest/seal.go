package storetest

import (
	"sync"
	"testing"

	"github.com/wattbus/wattbus/internal/store"
)

// seals: windows are replaced by device, key and event; runs are taken once each, whoever takes them.
func seals(t *testing.T, b *bench) {
	ws := []store.SealWindow{{Device: "M1", Key: 0, Event: "lost", Seen: []byte{1}}, {Device: "M1", Key: 127, Event: "reading", Seen: []byte{2, 3}}, {Device: "M2", Key: 0, Event: "reading", Seen: []byte{4}}}
	for _, put := range [][]store.SealWindow{nil, {ws[1], ws[2]}, {ws[0], {Device: "M2", Key: 0, Event: "reading", Seen: []byte{0}}}, {ws[2]}} {
		if err := b.PutSealWindows(t.Context(), put); err != nil {
			t.Fatal(err)
		}
	}
	b.reopen()
	same(t, "windows", list(t, func(f func(store.SealWindow) error) error { return b.SealWindows(t.Context(), f) }), ws)

	next := func(least, want uint32) {
		t.Helper()
		if got, err := b.NextSealRun(t.Context(), least); err != nil || got != want {
			t.Fatalf("run %d, %v, want %d", got, err, want)
		}
	}
	next(0, 1)
	next(0, 2)
	next(100, 100)
	b.reopen()
	next(50, 101)
	var mu sync.Mutex
	var wg sync.WaitGroup
	taken := map[uint32]bool{}
	for range 4 {
		wg.Go(func() {
			for range 5 {
				n, err := b.NextSealRun(t.Context(), 1)
				mu.Lock()
				if err != nil || taken[n] || n <= 101 {
					t.Errorf("run %d, %v", n, err)
				}
				taken[n] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
