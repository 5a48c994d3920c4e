package storetest

import (
	"errors"
	"testing"

	"github.com/wattbus/wattbus/internal/store"
)

// runs keeps billing runs by name; a name is given once.
func runs(t *testing.T, b *bench) {
	march, april := store.Run{Name: "march", Recorded: 7, Doc: []byte(`{"a":1}`)}, store.Run{Name: "april", Recorded: 9, Doc: []byte(`{}`)}
	b.commit(&store.Commit{Runs: []store.Run{march, april}}, true)
	b.commit(&store.Commit{Runs: []store.Run{{Name: "march", Recorded: 8, Doc: []byte(`{"b":1}`)}}}, true)
	got, err := b.BillingRun(t.Context(), "march")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a run", got, march)
	var all []store.Run
	if err := b.BillingRuns(t.Context(), func(r store.Run) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	same(t, "all runs", all, []store.Run{april, march})
	if _, err := b.BillingRun(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
}
