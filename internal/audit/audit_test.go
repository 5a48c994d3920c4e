package audit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func trail(t testing.TB, n int) ([]Record, Head) {
	t.Helper()
	var h Head
	out := make([]Record, n)
	for i := range out {
		var err error
		if out[i], err = h.Append(Entry{Time: time.Unix(int64(i), 999), Actor: "alice", Action: "command.create", Subject: fmt.Sprint(i), Detail: Detail(map[string]any{"why": "<&>\u2028 ü"})}); err != nil {
			t.Fatal(err)
		}
	}
	return out, h
}

func check(rs []Record, anchors ...Head) error {
	v := NewVerifier(Head{}, anchors...)
	for _, r := range rs {
		if err := v.Add(r); err != nil {
			return err
		}
	}
	return v.Finish()
}

// TestTampering: whatever is done to a trail of 20 is seen, and where it begins.
func TestTampering(t *testing.T) {
	rs, head := trail(t, 20)
	if err := check(rs, head, Head{7, rs[6].Hash}, Head{}); err != nil {
		t.Fatal(err)
	}
	remade := func(from int, change func(*Record)) []Record {
		out := slices.Clone(rs)
		change(&out[from])
		for i := from; i < len(out); i++ {
			before := Hash{}
			if i > 0 {
				before = out[i-1].Hash
			}
			out[i].Hash = Next(before, out[i].Sequence, out[i].Doc)
		}
		return out
	}
	edit := func(r *Record) { r.Doc = bytes.ReplaceAll(r.Doc, []byte("alice"), []byte("mallo")) }
	for name, tc := range map[string]struct {
		rs []Record
		at uint64
	}{
		"a word changed":      {func() []Record { c := slices.Clone(rs); edit(&c[4]); return c }(), 5},
		"a hash changed":      {func() []Record { c := slices.Clone(rs); c[4].Hash[3] ^= 1; return c }(), 5},
		"the first taken out": {rs[1:], 1},
		"one taken out":       {slices.Delete(slices.Clone(rs), 9, 10), 10},
		"one taken out, renumbered": {func() []Record {
			c := slices.Delete(slices.Clone(rs), 9, 10)
			for i := 9; i < len(c); i++ {
				c[i].Sequence--
			}
			return c
		}(), 10},
		"two swapped":                {func() []Record { c := slices.Clone(rs); c[3], c[4] = c[4], c[3]; return c }(), 4},
		"two swapped, renumbered":    {func() []Record { c := slices.Clone(rs); c[3].Doc, c[4].Doc = c[4].Doc, c[3].Doc; return c }(), 4},
		"one twice":                  {slices.Insert(slices.Clone(rs), 5, rs[4]), 5},
		"the end cut off":            {rs[:15], 16},
		"all of it gone":             {nil, 1},
		"changed, hashes made anew":  {remade(4, edit), 20},
		"all made anew from nothing": {remade(0, edit), 20},
	} {
		var b *Break
		if err := check(tc.rs, head); !errors.As(err, &b) {
			t.Errorf("%s: %v", name, err)
		} else if b.Sequence != tc.at {
			t.Errorf("%s: found at %d, want %d: %v", name, b.Sequence, tc.at, err)
		}
	}
	// What only a head that was written down shows passes without one.
	if err := check(rs[:15]); err != nil {
		t.Error(err)
	}
}

func TestHeadText(t *testing.T) {
	_, h := trail(t, 3)
	got, err := ParseHead(" " + h.String() + "\n")
	if err != nil || got != h {
		t.Fatalf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "3", "x:" + h.Hash.String(), "3:", "3:" + strings.Repeat("z", 64), "3:" + h.Hash.String() + "0", "-1:" + h.Hash.String()} {
		if _, err := ParseHead(bad); !errors.Is(err, ErrHead) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func export(t testing.TB, rs []Record, from Head) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, from)
	for _, r := range rs {
		if err := w.Put(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExport(t *testing.T) {
	rs, head := trail(t, 9)
	whole := export(t, rs, Head{})
	if h, n, err := VerifyExport(bytes.NewReader(whole), head); err != nil || h != head || n != 9 {
		t.Fatalf("%v, %d, %v", h, n, err)
	}
	if h, n, err := VerifyExport(bytes.NewReader(export(t, nil, Head{}))); err != nil || h != (Head{}) || n != 0 {
		t.Fatalf("nothing: %v, %d, %v", h, n, err)
	}
	part := export(t, rs[4:], Head{4, rs[3].Hash})
	if h, n, err := VerifyExport(bytes.NewReader(part), head, Head{4, rs[3].Hash}); err != nil || h != head || n != 5 {
		t.Fatalf("a part: %v, %d, %v", h, n, err)
	}
	if _, _, err := VerifyExport(bytes.NewReader(part), Head{2, rs[1].Hash}); !errors.Is(err, ErrExport) {
		t.Fatalf("a part against a head before it: %v", err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for name, text := range map[string][]byte{
		"no head":       bytes.Join(lines[:9], nil),
		"half a line":   whole[:len(whole)/2],
		"garbage":       []byte("\x00\xff{"),
		"another shape": []byte("{\"a\":1}\n"),
		"empty":         nil,
	} {
		if _, _, err := VerifyExport(bytes.NewReader(text)); !errors.Is(err, ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string][]byte{
		"a word":     bytes.Replace(whole, []byte("alice"), []byte("mallo"), 1),
		"a line out": bytes.Join(append(slices.Clone(lines[:3]), lines[4:]...), nil),
		"end cut":    bytes.Join(append(slices.Clone(lines[:8]), lines[9:]...), nil),
		"swapped":    bytes.Join([][]byte{lines[1], lines[0]}, nil),
	} {
		var b *Break
		if _, _, err := VerifyExport(bytes.NewReader(text)); !errors.As(err, &b) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzVerifyExport(f *testing.F) {
	rs, _ := trail(f, 3)
	f.Add(export(f, rs, Head{}))
	f.Add([]byte("{\"head\":{\"sequence\":0,\"hash\":\"\"}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _, _ = VerifyExport(bytes.NewReader(text))
	})
}
