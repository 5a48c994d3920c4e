package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/store"
)

// auditTrail keeps entries behind those that are there, once, and in the commit of what they tell.
func auditTrail(t *testing.T, b *bench) {
	ctx := t.Context()
	if h, err := b.AuditHead(ctx); err != nil || h != (audit.Head{}) {
		t.Fatalf("head of nothing: %v, %v", h, err)
	}
	var head audit.Head
	var want []audit.Record
	more := func(n int) []audit.Record {
		var out []audit.Record
		for range n {
			r, err := head.Append(audit.Entry{Time: time.Unix(int64(head.Sequence), 0), Actor: "alice", Action: "test", Subject: fmt.Sprint(head.Sequence), Detail: audit.Detail("<ü>")})
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
		want = append(want, out...)
		return out
	}
	b.commit(&store.Commit{Audit: more(3)}, true)
	b.commit(&store.Commit{Audit: want[1:3]}, true) // an attempt whose end was not seen
	b.commit(&store.Commit{Audit: append(want[2:3:3], more(2)...)}, true)
	b.reopen()
	got, err := b.Audit(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the trail", got, want)
	if got, err = b.Audit(ctx, 2, 2); err != nil {
		t.Fatal(err)
	}
	same(t, "a part", got, want[2:4])
	if h, err := b.AuditHead(ctx); err != nil || h != head {
		t.Fatalf("head %v, %v, want %v", h, err, head)
	}
	// Another centre that went on from entry 3 writes nothing, and nothing of its commit stays.
	other := audit.Head{Sequence: want[2].Sequence, Hash: want[2].Hash}
	fork, err := other.Append(audit.Entry{Actor: "mallory", Action: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(ctx, &store.Commit{Commands: []store.Command{{ID: 7, Doc: []byte("{}")}}, Audit: []audit.Record{fork}}); !errors.Is(err, store.ErrForked) {
		t.Fatalf("a fork: %v", err)
	}
	if _, err := b.Command(ctx, 7); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the command of a fork: %v", err)
	}
	if got, err = b.Audit(ctx, 0, 100); err != nil {
		t.Fatal(err)
	}
	same(t, "the trail after a fork", got, want)
}
