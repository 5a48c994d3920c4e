package store

import (
	"slices"
	"testing"
)

func TestArrivalsText(t *testing.T) {
	want := []Arrivals{{Deadline: "30m", InTime: 1<<63 - 1}, {Deadline: "06:00@Europe/Zurich", InTime: -1, Late: 7}}
	s, err := FormatArrivals(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseArrivals(s); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if s, err := FormatArrivals(nil); s != "" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	for _, name := range []string{"", "a b", "a\nb"} {
		if s, err := FormatArrivals([]Arrivals{{Deadline: name}}); err == nil {
			t.Errorf("%q became %q", name, s)
		}
	}
	for _, bad := range []string{"\n", "x", "x 1", "x 1 2 3", "x one 2", "x 1 two", "x 1 99999999999999999999", " 1 2", "x 1 2\n\n"} {
		if got, err := ParseArrivals(bad); err == nil {
			t.Errorf("%q became %+v", bad, got)
		}
	}
}

func FuzzArrivals(f *testing.F) {
	f.Add("30m 5 6\n06:00@Europe/Zurich 7 8\n")
	f.Add("x 1 2")
	f.Add("\n")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseArrivals(s)
		if err != nil {
			return
		}
		text, err := FormatArrivals(got)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseArrivals(text); err != nil || !slices.Equal(again, got) {
			t.Fatalf("%q: %+v, then %+v, %v", s, got, again, err)
		}
	})
}
