package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

func verdict(device uint32, day cim.Day, version, raw uint32) store.Verdict {
	v := store.Verdict{Device: device, Day: day, Length: 60, Version: version, Recorded: day.Start() + 90_000 + 10*version, Quality: cim.Validated, Raw: raw, Rules: "r1"}
	if version > 1 {
		v.Doc, v.By, v.Quality = []byte(`{"cells":[{"slot":3,"wh":5,"quality":5,"code":"3.7.0","edit":77}]}`), "anna", cim.Edited
	}
	return v
}

func (b *bench) verdicts(q store.BlockQuery) []store.Verdict {
	b.Helper()
	return list(b.T, func(f func(store.Verdict) error) error {
		return b.Verdicts(b.Context(), q, func(v *store.Verdict) error { return f(*v) })
	})
}

func verdicts(t *testing.T, b *bench) {
	export := verdict(1, 3, 1, 1)
	export.Channel = cim.Export
	b.commit(&store.Commit{Verdicts: []store.Verdict{verdict(1, 4, 1, 1), verdict(1, 2, 1, 1), verdict(2, 2, 1, 1), export}}, true)
	b.commit(&store.Commit{Verdicts: []store.Verdict{verdict(1, 2, 2, 2)}}, true)
	again := verdict(1, 2, 1, 9)
	again.Rules = "other"
	b.commit(&store.Commit{Verdicts: []store.Verdict{again}}, true) // exists: stays as it is
	b.reopen()
	q := store.BlockQuery{Device: 1, From: 0, To: 9}
	same(t, "newest", b.verdicts(q), []store.Verdict{verdict(1, 2, 2, 2), verdict(1, 4, 1, 1)})
	q.All = true
	same(t, "all", b.verdicts(q), []store.Verdict{verdict(1, 2, 1, 1), verdict(1, 2, 2, 2), verdict(1, 4, 1, 1)})
	q.AsKnown = verdict(1, 2, 1, 1).Recorded
	same(t, "all as known then", b.verdicts(q), []store.Verdict{verdict(1, 2, 1, 1)})
	q.All = false
	same(t, "as known then", b.verdicts(q), []store.Verdict{verdict(1, 2, 1, 1)})
	same(t, "export", b.verdicts(store.BlockQuery{Device: 1, Channel: cim.Export, From: 3, To: 4}), []store.Verdict{export})
	same(t, "nothing", b.verdicts(store.BlockQuery{Device: 1, From: 3, To: 3}), []store.Verdict(nil))
	same(t, "of a day", list(t, func(f func(store.Verdict) error) error {
		return b.DayVerdicts(t.Context(), 2, func(v *store.Verdict) error { return f(*v) })
	}), []store.Verdict{verdict(1, 2, 2, 2), verdict(2, 2, 1, 1)})
	telling := func(day cim.Day, ch cim.Channel) []store.Verdict {
		return list(t, func(f func(store.Verdict) error) error {
			return b.TellingVerdicts(t.Context(), day, ch, func(v *store.Verdict) error { return f(*v) })
		})
	}
	same(t, "those of a day that say something", telling(2, cim.Import), []store.Verdict{verdict(1, 2, 2, 2)})
	same(t, "those that say nothing", telling(4, cim.Import), []store.Verdict(nil))
	quiet := verdict(1, 2, 3, 3)
	quiet.Doc = nil
	b.commit(&store.Commit{Verdicts: []store.Verdict{quiet}}, true)
	same(t, "once a newer one says nothing", telling(2, cim.Import), []store.Verdict(nil))
	b.commit(&store.Commit{Blocks: []store.Block{block(1, 2, 1, 20), block(1, 2, 2, 21)}}, true)
	same(t, "every version of a block", b.blocks(store.BlockQuery{Device: 1, To: 9, All: true}), []store.Block{block(1, 2, 1, 20), block(1, 2, 2, 21)})
	same(t, "those known then", b.blocks(store.BlockQuery{Device: 1, To: 9, All: true, AsKnown: block(1, 2, 1, 0).Recorded}), []store.Block{block(1, 2, 1, 20)})
}

func unjudged(t *testing.T, b *bench) {
	b.commit(&store.Commit{Blocks: []store.Block{block(1, 2, 1, 20), block(1, 2, 2, 20), block(2, 2, 1, 1), block(3, 2, 1, 1), block(3, 1, 1, 1)},
		Verdicts: []store.Verdict{verdict(1, 2, 1, 1), verdict(2, 2, 1, 0), verdict(2, 2, 2, 1)}}, true)
	same(t, "unjudged", list(t, func(f func(store.BlockInfo) error) error { return b.Unjudged(t.Context(), 2, f) }), []store.BlockInfo{
		{Device: 1, Day: 2, Length: 60, Version: 2}, {Device: 3, Day: 2, Length: 60, Version: 1}})
}

func findings(t *testing.T, b *bench) {
	f := func(id uint64, device uint32, version uint32, rule string, severity uint8) store.Finding {
		return store.Finding{ID: id, Device: device, Day: 2, Version: version, Rule: rule, Severity: severity, From: cim.Day(2).Start(), To: cim.Day(2).Start() + 1800,
			Recorded: 500_000 + version, Doc: []byte(`{"text":"so"}`)}
	}
	all := []store.Finding{f(1, 1, 1, "spike", 2), f(2, 1, 1, "gap", 1), f(3, 2, 1, "zero", 2), f(1<<62, 1, 2, "sum", 3)}
	b.commit(&store.Commit{Verdicts: []store.Verdict{verdict(1, 2, 1, 1), verdict(2, 2, 1, 1)}, Findings: all[:3]}, true)
	b.commit(&store.Commit{Findings: all[:1]}, true) // exists
	second := verdict(1, 2, 2, 2)
	b.commit(&store.Commit{Verdicts: []store.Verdict{second}, Findings: all[3:]}, true)
	all[0].Superseded, all[1].Superseded = second.Recorded, second.Recorded
	b.reopen()
	one := uint32(1)
	for _, tc := range []struct {
		q    store.FindingQuery
		want []int
	}{
		{store.FindingQuery{}, []int{3, 2}}, {store.FindingQuery{All: true}, []int{3, 2, 1, 0}}, {store.FindingQuery{All: true, Device: &one}, []int{3, 1, 0}},
		{store.FindingQuery{All: true, Rule: "gap"}, []int{1}}, {store.FindingQuery{All: true, Severity: 2}, []int{3, 2, 0}},
		{store.FindingQuery{All: true, Before: 3}, []int{1, 0}}, {store.FindingQuery{All: true, Limit: 1}, []int{3}},
		{store.FindingQuery{From: cim.Day(2).Start() + 1800}, nil}, {store.FindingQuery{To: cim.Day(2).Start()}, nil},
		{store.FindingQuery{From: cim.Day(2).Start(), To: cim.Day(2).Start() + 1}, []int{3, 2}},
	} {
		if tc.q.Limit == 0 {
			tc.q.Limit = 9
		}
		got, err := b.Findings(t.Context(), tc.q)
		if err != nil {
			t.Fatal(err)
		}
		var want []store.Finding
		for _, i := range tc.want {
			want = append(want, all[i])
		}
		same(t, "findings", got, want)
	}
}

func edits(t *testing.T, b *bench) {
	ctx := t.Context()
	all := []store.Edit{{ID: 1, Created: 5, Doc: []byte("a")}, {ID: 1 << 62, Created: 6, Open: true, Doc: []byte("b")}}
	b.commit(&store.Commit{Edits: []store.Edit{{ID: 1, Created: 5, Open: true, Doc: []byte("x")}, all[1]}}, true)
	b.commit(&store.Commit{Edits: all[:1]}, true)
	b.reopen()
	got, err := b.Edits(ctx, 0, 9, false)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(got)
	same(t, "edits", got, all)
	if got, err = b.Edits(ctx, 0, 9, true); err != nil {
		t.Fatal(err)
	}
	same(t, "open ones", got, all[1:])
	if got, err = b.Edits(ctx, 2, 9, false); err != nil {
		t.Fatal(err)
	}
	same(t, "older ones", got, all[:1])
	one, err := b.Edit(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "one", one, all[0])
	if _, err := b.Edit(ctx, 3); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
}

func ruleSets(t *testing.T, b *bench) {
	r := store.RuleSet{ID: "abc", Recorded: 7, Text: "zone: UTC\n"}
	b.commit(&store.Commit{RuleSets: []store.RuleSet{r}}, true)
	b.commit(&store.Commit{RuleSets: []store.RuleSet{{ID: "abc", Recorded: 9}}}, true)
	b.reopen()
	got, err := b.RuleSet(t.Context(), "abc")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "rule set", got, r)
	if _, err := b.RuleSet(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
}
