package storetest

import (
	"testing"

	"github.com/wattbus/wattbus/internal/store"
)

// outbox keeps messages for other systems until a commit says that they are done.
func outbox(t *testing.T, b *bench) {
	kept := func() (out []store.Out) {
		t.Helper()
		if err := b.Outbox(t.Context(), func(o store.Out) error { out = append(out, o); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	one, two, three := store.Out{ID: 1 << 61, Data: []byte("one")}, store.Out{ID: 1<<61 + 1, Data: []byte{0, 255}}, store.Out{ID: 1<<61 + 2, Data: []byte("three")}
	b.commit(&store.Commit{Stream: "out", Sequence: 1, Out: []store.Out{two, one}}, true)
	same(t, "two messages", kept(), []store.Out{one, two})
	b.commit(&store.Commit{Stream: "out", Sequence: 1, Out: []store.Out{three}}, false)
	same(t, "after a replay", kept(), []store.Out{one, two})
	b.commit(&store.Commit{OutDone: one.ID, Out: []store.Out{three}}, true)
	same(t, "one is done, one is new", kept(), []store.Out{two, three})
	b.commit(&store.Commit{OutDone: three.ID}, true)
	same(t, "all are done", len(kept()), 0)
}
