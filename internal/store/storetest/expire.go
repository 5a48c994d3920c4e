package storetest

import (
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// expire removes what is old enough, kind by kind and never more than it is told to.
func expire(t *testing.T, b *bench) {
	if _, some, err := b.FirstDay(t.Context()); some || err != nil {
		t.Fatalf("an empty store has a first day: %v", err)
	}
	gone := func(kind store.Expiry, before uint32, limit, want int) {
		t.Helper()
		if n, err := b.Expire(t.Context(), kind, before, limit); err != nil || n != want {
			t.Fatalf("%v before %d: %d removed, %v; want %d", kind, before, n, err, want)
		}
	}
	const day = cim.Day(1000)
	one, two, three, other := block(1, day, 1, 10), block(1, day, 2, 20), block(1, day, 3, 30), block(2, day+1, 1, 40)
	b.commit(&store.Commit{Blocks: []store.Block{one, two, three, other},
		Commands: []store.Command{{ID: 1, Created: 100, Open: true, Doc: []byte("a")}, {ID: 2, Created: 100, Doc: []byte("b")}, {ID: 3, Created: 200, Doc: []byte("c")}},
		Outages:  []store.Outage{{ID: 1, Start: 1, Doc: []byte("a")}, {ID: 2, Start: 1, End: 100, Doc: []byte("b")}, {ID: 3, Start: 1, End: 200, Doc: []byte("c")}}}, true)

	first := func(want cim.Day, some bool) {
		t.Helper()
		if got, any, err := b.FirstDay(t.Context()); err != nil || got != want || any != some {
			t.Fatalf("the first day is %d, %v, %v; want %d, %v", got, any, err, want, some)
		}
	}
	first(day, true)
	gone(store.ExpireVersions, two.Recorded, 9, 0) // not superseded before that
	gone(store.ExpireVersions, two.Recorded+1, 9, 1)
	same(t, "as known when version 2 was", b.blocks(store.BlockQuery{Device: 1, To: day + 9, AsKnown: two.Recorded}), []store.Block{two})
	gone(store.ExpireVersions, 1<<32-1, 1, 1)
	gone(store.ExpireVersions, 1<<32-1, 9, 0)
	same(t, "newest", b.blocks(store.BlockQuery{Device: 1, To: day + 9}), []store.Block{three})

	gone(store.ExpireIntervals, (day+1).Start()-1, 9, 0)
	gone(store.ExpireIntervals, (day + 1).Start(), 9, 1)
	first(day+1, true)
	same(t, "the day after", b.blocks(store.BlockQuery{Device: 2, To: day + 9}), []store.Block{other})

	// What was judged goes with what it was judged of.
	b.commit(&store.Commit{Verdicts: []store.Verdict{verdict(1, day, 1, 1), verdict(1, day, 2, 1), verdict(2, day+1, 1, 1)}}, true)
	gone(store.ExpireVersions, verdict(1, day, 2, 1).Recorded+1, 9, 1)
	gone(store.ExpireIntervals, (day + 1).Start(), 9, 1)
	same(t, "verdicts", b.verdicts(store.BlockQuery{Device: 1, To: day + 9, All: true}), []store.Verdict(nil))
	same(t, "verdicts of the day after", b.verdicts(store.BlockQuery{Device: 2, To: day + 9, All: true}), []store.Verdict{verdict(2, day+1, 1, 1)})

	gone(store.ExpireCommands, 200, 9, 1)
	gone(store.ExpireCommands, 1<<32-1, 0, 0)
	gone(store.ExpireCommands, 1<<32-1, 9, 1)
	if ms, err := b.Commands(t.Context(), store.CommandQuery{Limit: 9}); err != nil || len(ms) != 1 || ms[0].ID != 1 {
		t.Fatalf("the open command: %+v, %v", ms, err)
	}
	gone(store.ExpireOutages, 200, 9, 1)
	gone(store.ExpireOutages, 1<<32-1, 9, 1)
	if os, err := b.Outages(t.Context(), 0, 9, false); err != nil || len(os) != 1 || os[0].ID != 1 {
		t.Fatalf("the open outage: %+v, %v", os, err)
	}
}
