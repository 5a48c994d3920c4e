package storetest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wattbus/wattbus/internal/store"
)

// firmware keeps images by any id, once, with their bytes; roll-outs by growing ids, and the newest word on each of their devices.
func firmware(t *testing.T, b *bench) {
	old := store.Image{ID: 0xFEDC_BA98_7654_3210, Recorded: 7, Doc: []byte(`{"a":1}`), Data: bytes.Repeat([]byte{0, 1, 255}, 1<<18)}
	young := store.Image{ID: 5, Recorded: 4_000_000_000, Doc: []byte(`{}`), Data: []byte{1}}
	b.commit(&store.Commit{Images: []store.Image{old, young}}, true)
	b.commit(&store.Commit{Images: []store.Image{{ID: 5, Recorded: 9, Doc: []byte(`{"b":1}`), Data: []byte{2}}}}, true)
	first, second := store.RollOut{ID: 10, Open: true, Doc: []byte("x")}, store.RollOut{ID: 11, Open: true, Doc: []byte("y")}
	one := store.RollOutMember{RollOut: 10, Device: 1, State: 3, Reason: 4, Changed: 100}
	two := store.RollOutMember{RollOut: 10, Device: 4_000_000_000, State: 5, Changed: 4_000_000_000}
	b.commit(&store.Commit{RollOuts: []store.RollOut{first, second}, RollOutMembers: []store.RollOutMember{two, one, {RollOut: 11, Device: 1}}}, true)
	one.State, one.Reason, first.Open, first.Doc = 6, 0, false, []byte("z")
	b.commit(&store.Commit{RollOuts: []store.RollOut{first}, RollOutMembers: []store.RollOutMember{one}}, true)
	b.reopen()

	for _, want := range []store.Image{old, young} {
		got, err := b.Image(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "an image", got, want)
	}
	old.Data, young.Data = nil, nil
	same(t, "images", list(t, func(f func(store.Image) error) error { return b.Images(t.Context(), f) }), []store.Image{young, old})
	if _, err := b.Image(t.Context(), 6); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
	b.commit(&store.Commit{DropImages: []uint64{young.ID, 6}}, true)
	same(t, "images without the dropped one", list(t, func(f func(store.Image) error) error { return b.Images(t.Context(), f) }), []store.Image{old})
	if _, err := b.Image(t.Context(), young.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an image that was dropped: %v", err)
	}
	got, err := b.RollOut(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a roll-out", got, first)
	for _, id := range []uint64{12, 1 << 63} {
		if _, err := b.RollOut(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("roll-out %d: %v", id, err)
		}
	}
	for _, tc := range []struct {
		before uint64
		limit  int
		open   bool
		want   []store.RollOut
	}{{0, 9, false, []store.RollOut{second, first}}, {0, 9, true, []store.RollOut{second}}, {11, 9, false, []store.RollOut{first}}, {0, 1, false, []store.RollOut{second}}} {
		got, err := b.RollOuts(t.Context(), tc.before, tc.limit, tc.open)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "roll-outs", got, tc.want)
	}
	same(t, "members", list(t, func(f func(store.RollOutMember) error) error { return b.RollOutMembers(t.Context(), 10, f) }), []store.RollOutMember{one, two})
	same(t, "no members", len(list(t, func(f func(store.RollOutMember) error) error { return b.RollOutMembers(t.Context(), 77, f) })), 0)
}
