package storetest

import (
	"errors"
	"testing"

	"github.com/wattbus/wattbus/internal/store"
)

// interruptions are found while they go on, by their outage and by their start; the newest word on one counts.
func interruptions(t *testing.T, b *bench) {
	one := store.Interruption{ID: 11, Case: 5, Device: 1, Start: 100}
	two := store.Interruption{ID: 12, Case: 5, Device: 4_000_000_000, Start: 200, End: 300, Flags: store.InterruptionInferred | store.InterruptionAssumed}
	three := store.Interruption{ID: 13, Device: 3, Start: 4_000_000_000}
	b.commit(&store.Commit{Interruptions: []store.Interruption{one, two, three}}, true)
	check := func(what string, q store.InterruptionQuery, want ...store.Interruption) {
		t.Helper()
		same(t, what, list(t, func(f func(store.Interruption) error) error { return b.Interruptions(t.Context(), q, f) }), want)
	}
	check("open", store.InterruptionQuery{Open: true}, one, three)
	check("of a case", store.InterruptionQuery{Case: 5}, one, two)
	check("of a case, second page", store.InterruptionQuery{Case: 5, After: 11, Limit: 9}, two)
	check("of no case", store.InterruptionQuery{Case: 77})
	check("by start", store.InterruptionQuery{From: 100, To: 200}, one)
	check("by start, limited", store.InterruptionQuery{To: 1<<32 - 1, Limit: 2}, one, two)
	one.Case, one.End = 6, 400
	b.commit(&store.Commit{Interruptions: []store.Interruption{one}}, true)
	b.reopen()
	check("open", store.InterruptionQuery{Open: true}, three)
	check("of another case", store.InterruptionQuery{Case: 6}, one)
	if n, err := b.Expire(t.Context(), store.ExpireOutages, 400, 9); err != nil || n != 1 {
		t.Fatalf("%d expired, %v", n, err)
	}
	check("left", store.InterruptionQuery{To: 1<<32 - 1}, one, three)

	b.commit(&store.Commit{Outages: []store.Outage{{ID: 5, Start: 1, End: 2, Doc: []byte("x")}}}, true)
	if o, err := b.Outage(t.Context(), 5); err != nil || o.Start != 1 || o.End != 2 || string(o.Doc) != "x" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, id := range []uint64{6, 1 << 63} {
		if _, err := b.Outage(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("outage %d: %v", id, err)
		}
	}
}

// maintenance windows are listed newest first, and while they are not over.
func maintenance(t *testing.T, b *bench) {
	past, now := store.Maintenance{ID: 3, Start: 10, End: 20, Doc: []byte("a")}, store.Maintenance{ID: 4, Start: 10, End: 4_000_000_000, Doc: []byte("b")}
	b.commit(&store.Commit{Maintenance: []store.Maintenance{past, now}}, true)
	check := func(before uint64, limit int, after uint32, want ...store.Maintenance) {
		t.Helper()
		got, err := b.Maintenance(t.Context(), before, limit, after)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "windows", got, want)
	}
	check(0, 9, 0, now, past)
	check(4, 9, 0, past)
	check(0, 1, 0, now)
	check(0, 9, 20, now)
	now.End, now.Doc = 20, []byte("c")
	b.commit(&store.Commit{Maintenance: []store.Maintenance{now}}, true)
	check(0, 9, 20)
	check(0, 9, 19, now, past)
}
