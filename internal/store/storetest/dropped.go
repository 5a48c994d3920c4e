package storetest

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// dropped compares what is left of chunks with what the commits leave, whatever of the dropped ones is deleted already, also behind a
// restart, and sees that in the end all of them are.
func dropped(t *testing.T, b *bench) {
	var left interface {
		DroppedChunks(context.Context) (int, error)
	}
	count := func() int {
		t.Helper()
		var ok bool
		if left, ok = b.Store.(interface {
			DroppedChunks(context.Context) (int, error)
		}); !ok {
			t.Fatal("the backend does not tell what it has still to delete")
		}
		n, err := left.DroppedChunks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	rnd := rand.New(rand.NewPCG(30, 1))
	var want []store.Chunk
	most := 0
	for round := range uint32(60) {
		c := &store.Commit{}
		for day := range cim.Day(3) {
			if rnd.IntN(9) == 0 {
				c.DropDays = append(c.DropDays, day)
			}
		}
		want = slices.DeleteFunc(want, func(k store.Chunk) bool { return slices.Contains(c.DropDays, k.Day) })
		for range rnd.IntN(3) {
			c.Chunks = append(c.Chunks, chunk(cim.Day(rnd.IntN(3)), 1000*round, 1+rnd.IntN(400)))
		}
		want = append(want, c.Chunks...)
		b.commit(c, true)
		if most = max(most, count()); round%20 == 19 {
			b.reopen()
		}
		same(t, "chunks", b.chunks(0, 9), want)
	}
	for n := 0; count() > 0; n++ {
		if n == 100 {
			t.Fatalf("%d dropped chunks are still there", count())
		}
		b.commit(&store.Commit{}, true)
	}
	if most < 2 {
		t.Errorf("at most %d dropped chunks were there at once: no commit left any to the next", most)
	}
	b.reopen()
	same(t, "chunks", b.chunks(0, 9), want)
}
