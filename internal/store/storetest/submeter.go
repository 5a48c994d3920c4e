package storetest

import (
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// subMeters keep the first value of each time, and are listed with their newest one.
func subMeters(t *testing.T, b *bench) {
	gas := store.SubMeter{Ordinal: 0, Device: 1, ID: "G0039001936990619", Channel: 1, Medium: cim.MediumGas}
	heat := store.SubMeter{Ordinal: 1, Device: 4_000_000_000, ID: "channel-2", Channel: 2, Medium: cim.MediumHeat}
	one := store.SubValue{Sub: 0, Time: 100, Value: 107, Unit: cim.UnitCubicMetre, Scale: -3}
	two := store.SubValue{Sub: 0, Time: 4_000_000_000, Value: 1<<53 - 1, Unit: cim.UnitCubicMetre, Scale: -9}
	between := store.SubValue{Sub: 0, Time: 200, Value: 108, Unit: cim.UnitCubicMetre, Scale: -3}
	joule := store.SubValue{Sub: 1, Time: 150, Value: 12_345, Unit: cim.UnitJoule, Scale: 6}
	b.commit(&store.Commit{Stream: "S", Sequence: 1, SubMeters: []store.SubMeter{heat, gas}, SubValues: []store.SubValue{two, one}}, true)
	b.commit(&store.Commit{Stream: "S", Sequence: 1, SubValues: []store.SubValue{between}}, false)
	type newest struct {
		store.SubMeter
		store.SubValue
	}
	check := func(want ...newest) {
		t.Helper()
		same(t, "sub-meters", list(t, func(f func(newest) error) error {
			return b.SubMeters(t.Context(), func(m store.SubMeter, v store.SubValue) error { return f(newest{m, v}) })
		}), want)
	}
	values := func(what string, q store.SubValueQuery, want ...store.SubValue) {
		t.Helper()
		same(t, what, list(t, func(f func(store.SubValue) error) error { return b.SubValues(t.Context(), q, f) }), want)
	}
	check(newest{gas, two}, newest{heat, store.SubValue{Sub: 1}})

	// The channel may change; a value that is there already stays; a late one finds its place.
	gas.Channel = 3
	again := one
	again.Value = 999
	b.commit(&store.Commit{SubMeters: []store.SubMeter{gas}, SubValues: []store.SubValue{again, between, joule, between}}, true)
	b.reopen()
	check(newest{gas, two}, newest{heat, joule})
	values("all", store.SubValueQuery{To: 1<<32 - 1, Limit: 9}, one, between, two)
	values("limited", store.SubValueQuery{To: 1<<32 - 1, Limit: 2}, one, between)
	values("a span", store.SubValueQuery{From: 101, To: 4_000_000_000, Limit: 9}, between)
	values("of another", store.SubValueQuery{Sub: 1, To: 1000, Limit: 9}, joule)
	values("of none", store.SubValueQuery{Sub: 2, To: 1000, Limit: 9})

	var many []store.SubValue
	for i := range uint32(12_000) {
		many = append(many, store.SubValue{Sub: 1, Time: 1_000_000 + i, Value: uint64(i), Unit: cim.UnitWh})
	}
	b.commit(&store.Commit{SubValues: many}, true)
	for _, tc := range []struct {
		limit, want int
	}{{1, 1}, {9, 2}, {9, 0}} {
		if n, err := b.Expire(t.Context(), store.ExpireIntervals, 1000, tc.limit); err != nil || n != tc.want {
			t.Fatalf("%d removed, %v; want %d", n, err, tc.want)
		}
	}
	values("left", store.SubValueQuery{To: 1<<32 - 1, Limit: 9}, two)
	check(newest{gas, two}, newest{heat, many[len(many)-1]})
}
