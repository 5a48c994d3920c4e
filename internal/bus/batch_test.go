package bus

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func entries(b *Batch) []Entry {
	var out []Entry
	for e := range b.All() {
		out = append(out, e)
	}
	return out
}

var sample = []Entry{
	{1_700_000_000_000, "C1/C7", "meter", "M1", "reading", []byte{1, 2, 3}},
	{1_700_000_000_001, "C1/C7", "meter", "M2", "reading", []byte{4}},
	{1_699_999_999_999, "", "concentrator", "C1", "status", []byte("lost")},
	{1_700_000_000_500, "C1/C7", "meter", "M.1..x", "reading", []byte{}},
}

func encode(t testing.TB, es []Entry) []byte {
	t.Helper()
	var e Encoder
	for i := range es {
		if err := e.Append(&es[i]); err != nil {
			t.Fatal(err)
		}
	}
	return e.Take(nil)
}

func TestBatchBytes(t *testing.T) {
	got := hex.EncodeToString(encode(t, []Entry{{256, "C1", "meter", "M1", "lost", []byte{0xaa}}, {257, "C1", "meter", "M2", "lost", nil}}))
	want := "01" + "00000002" + "0000000000000100" + // version, entries, base
		"00" + "00" + "02" + "4331" + "05" + "6d65746572" + "04" + "6c6f7374" + // +0 ms, new route: C1, meter, lost
		"02" + "4d31" + "01" + "aa" + // M1, one byte
		"02" + "01" + "02" + "4d32" + "00" // +1 ms, route 1, M2, nothing
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestBatchRoundTripAndReuse(t *testing.T) {
	var e Encoder
	var reuse []byte
	for range 3 { // an encoder is used again and again; routes start anew in each batch
		for i := range sample {
			if err := e.Append(&sample[i]); err != nil {
				t.Fatal(err)
			}
		}
		if e.Count() != len(sample) || e.Len() == 0 {
			t.Fatalf("count %d, len %d", e.Count(), e.Len())
		}
		data := e.Take(reuse)
		b, err := DecodeBatch(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := entries(&b); !reflect.DeepEqual(got, sample) {
			t.Fatalf("got %v", got)
		}
		reuse = data
	}
	if e.Take(nil) != nil {
		t.Fatal("an empty encoder gives a batch")
	}
}

func TestBatchRefusals(t *testing.T) {
	var e Encoder
	for _, x := range []Entry{
		{ID: strings.Repeat("x", 256)},
		{Path: strings.Repeat("x", 1025)},
		{Kind: strings.Repeat("x", 1025)},
		{Event: strings.Repeat("x", 1025)},
		{Payload: make([]byte, MaxMessage+1)},
	} {
		if err := e.Append(&x); err == nil {
			t.Errorf("accepted %.20s…", fmt.Sprint(x))
		}
	}
	good := encode(t, sample)
	for n := range good {
		if _, err := DecodeBatch(good[:n]); !errors.Is(err, ErrBatch) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"version":  func(b []byte) []byte { b[0] = 2; return b },
		"count":    func(b []byte) []byte { b[4]++; return b },
		"fewer":    func(b []byte) []byte { b[4]--; return b },
		"huge":     func(b []byte) []byte { b[1] = 0xff; return b },
		"trailing": func(b []byte) []byte { return append(b, 0) },
		"route":    func(b []byte) []byte { b[14] = 9; return b },
	} {
		if _, err := DecodeBatch(change(bytes.Clone(good))); !errors.Is(err, ErrBatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBatchStopsEarly(t *testing.T) {
	b, err := DecodeBatch(encode(t, sample))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range b.All() {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Fatal(n)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(encode(f, sample))
	f.Add(encode(f, sample[:1]))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBatch(data)
		if err != nil {
			return
		}
		es := entries(&b)
		if len(es) != b.Count {
			t.Fatalf("%d entries, announced %d", len(es), b.Count)
		}
		if len(es) == 0 {
			return
		}
		again, err := DecodeBatch(encode(t, es))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(entries(&again), es) {
			t.Fatal("another round gives other entries")
		}
	})
}

func FuzzDecodeDown(f *testing.F) {
	d := Down{Target: 1, Path: "C1", Kind: "meter", Event: "cmd", QoS: 1, Payload: []byte{1, 2}}
	data, err := d.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:9])
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := DecodeDown(data)
		if err != nil {
			if !errors.Is(err, ErrDown) {
				t.Fatal(err)
			}
			return
		}
		again, err := d.Append(nil)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x became %x, %v", data, again, err)
		}
	})
}

func manyEntries(n int) []Entry {
	es := make([]Entry, n)
	for i := range es {
		es[i] = Entry{1_700_000_000_000 + int64(i/100), "C1/C" + fmt.Sprint(i%20), "meter", fmt.Sprintf("M%07d", i), "reading", make([]byte, 32)}
	}
	return es
}

func TestIterationAllocatesNothing(t *testing.T) {
	b, err := DecodeBatch(encode(t, manyEntries(1000)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if a := testing.AllocsPerRun(10, func() {
		for e := range b.All() {
			n += len(e.ID) + len(e.Payload)
		}
	}); a > 10 { // what else goes on in this process allocates, too
		t.Fatalf("%v allocations for 1000 entries", a)
	}
}

func BenchmarkEncode(b *testing.B) {
	es := manyEntries(5000)
	var e Encoder
	var reuse []byte
	b.ReportAllocs()
	for b.Loop() {
		for i := range es {
			if err := e.Append(&es[i]); err != nil {
				b.Fatal(err)
			}
		}
		reuse = e.Take(reuse)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(es)), "ns/entry")
	b.ReportMetric(float64(len(reuse))/float64(len(es)), "bytes/entry")
}

func BenchmarkDecode(b *testing.B) {
	data := encode(b, manyEntries(5000))
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		x, err := DecodeBatch(data)
		if err != nil {
			b.Fatal(err)
		}
		for e := range x.All() {
			n += len(e.Payload)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*5000), "ns/entry")
}

func TestSubjects(t *testing.T) {
	for id, want := range map[string]string{
		"M1": "M1", "M.1": "M.1", "a..b": "a%2E%2Eb", "a.": "a%2E", "a.b.": "a%2Eb%2E",
	} {
		if got := EscapeID(id); got != want {
			t.Errorf("EscapeID(%q) = %q, want %q", id, got, want)
		}
		if got := UnescapeID(EscapeID(id)); got != id {
			t.Errorf("UnescapeID(EscapeID(%q)) = %q", id, got)
		}
	}
	if got := EventSubject("meter", "state", "a."); got != "wb.ev.meter.state.a%2E" {
		t.Error(got)
	}
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"a.b", "a.b", true}, {"a.*", "a.b", true}, {"a.>", "a.b.c", true}, {">", "x", true}, {"a.b", "a.c", false},
		{"a.b.c", "a.b", false}, {"a.b", "a.b.>", false}, {"a.x.>", "a.*.c", true},
	} {
		if got := collide(tc.a, tc.b); got != tc.want {
			t.Errorf("collide(%q, %q) = %v", tc.a, tc.b, got)
		}
	}
	if got := []string{token(""), token("a b"), token("oversized")}; !slices.Equal(got, []string{"other", "a-b", "oversized"}) {
		t.Error(got)
	}
}
