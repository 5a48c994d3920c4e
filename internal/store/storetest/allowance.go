package storetest

import (
	"testing"

	"github.com/wattbus/wattbus/internal/store"
)

// allowances are replaced by name, and removed.
func allowances(t *testing.T, b *bench) {
	b.commit(&store.Commit{Allowances: []store.Allowance{{Name: "operator:a", Doc: []byte(`{}`)}, {Name: "feeder:f", Doc: []byte(`{"x":1}`)}, {Name: "none"}}}, true)
	b.commit(&store.Commit{Allowances: []store.Allowance{{Name: "feeder:f", Doc: []byte(`{"x":2}`)}}}, true)
	b.reopen()
	got, err := b.Allowances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "allowances", got, []store.Allowance{{Name: "feeder:f", Doc: []byte(`{"x":2}`)}, {Name: "operator:a", Doc: []byte(`{}`)}})
	b.commit(&store.Commit{Allowances: []store.Allowance{{Name: "feeder:f"}, {Name: "operator:a"}}}, true)
	if got, err = b.Allowances(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("removed: %v, %v", got, err)
	}
}
