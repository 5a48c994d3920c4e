package topic

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Topic
	}{
		{"up/meter/M1/reading", Topic{Direction: Up, Kind: Meter, ID: "M1", Event: "reading"}},
		{"up/C1/C7/meter/M1/reading", Topic{Direction: Up, Path: "C1/C7", Kind: Meter, ID: "M1", Event: "reading"}},
		{"up/C1/concentrator/C7/status", Topic{Direction: Up, Path: "C1", Kind: Concentrator, ID: "C7", Event: "status"}},
		{"dn/meter/M1/cmd", Topic{Direction: Down, Kind: Meter, ID: "M1", Event: "cmd"}},
		{"dn/C1/C7/all/meter/cmd", Topic{Direction: Down, Path: "C1/C7", Target: All, Kind: Meter, Event: "cmd"}},
		{"dn/all/meter/cmd", Topic{Direction: Down, Target: All, Kind: Meter, Event: "cmd"}},
		{"dn/C1/group/12/cmd", Topic{Direction: Down, Path: "C1", Target: Group, Group: 12, Event: "cmd"}},
		{"dn/group/4294967295/cmd", Topic{Direction: Down, Target: Group, Group: 4294967295, Event: "cmd"}},
		{"up/meter/a.b-c_D9/location-ack", Topic{Direction: Up, Kind: Meter, ID: "a.b-c_D9", Event: "location-ack"}},
	} {
		got, err := Parse(tc.in)
		if err != nil || got != tc.want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", tc.in, got, err, tc.want)
		}
		if got.String() != tc.in {
			t.Errorf("Parse(%q).String() = %q", tc.in, got.String())
		}
	}
	for _, in := range []string{
		"", "up", "up/", "up/meter", "up/meter/M1", "up/meter//reading", "up//meter/M1/reading", "/up/meter/M1/reading",
		"up/meter/M1/", "up/meter/M1/Reading", "sideways/meter/M1/reading", "up/toaster/M1/reading", "up/meter/-M1/reading",
		"up/meter/M 1/reading", "up/meter/meter/reading", "up/all/meter/cmd", "up/group/12/cmd", "dn/group/12x/cmd",
		"dn/group/4294967296/cmd", "dn/group/012/cmd", "dn/group/-1/cmd", "dn/all/toaster/cmd", "dn/all/meter/M1/cmd",
		"up/meter/meter/M1/reading", "up/meter/M123456789012345678901234/reading", "up/meter/Mé/reading",
		"up/" + strings.Repeat("C/", MaxPathLength+1) + "meter/M1/reading",
	} {
		if got, err := Parse(in); !errors.Is(err, ErrGrammar) {
			t.Errorf("Parse(%q) = %+v, %v; want ErrGrammar", in, got, err)
		}
	}
}

func TestCharacterAtFault(t *testing.T) {
	if err := CheckID("Mé"); err == nil || !strings.Contains(err.Error(), "character 'é' at 1") {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	if o, id := Parent("C1/C7"); o != "C1" || id != "C7" {
		t.Error(o, id)
	}
	if o, id := Parent("C1"); o != "" || id != "C1" {
		t.Error(o, id)
	}
	if o, id := Parent(""); o != "" || id != "" {
		t.Error(o, id)
	}
	for _, tc := range []struct {
		outer, path string
		want        bool
	}{{"", "C1", true}, {"C1", "C1", true}, {"C1", "C1/C7", true}, {"C1", "C10", false}, {"C1/C7", "C1", false}} {
		if Contains(tc.outer, tc.path) != tc.want {
			t.Errorf("Contains(%q, %q) != %v", tc.outer, tc.path, tc.want)
		}
	}
}

func TestFilters(t *testing.T) {
	for _, tc := range []struct {
		filter, name string
		want         bool
	}{
		{"#", "a/b", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "ab", false}, {"+/b", "a/b", true},
		{"+", "a/b", false}, {"a/+", "a/", true}, {"a/+", "a", false}, {"/+", "/a", true}, {"+/+", "/a", true}, {"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/b/c", "a/b", false},
		{"a/+/c", "a/b/c", true}, {"a/+/#", "a", false}, {"a/+/#", "a/b", true},
	} {
		if CheckFilter(tc.filter) != nil || CheckName(tc.name) != nil {
			t.Errorf("%q or %q refused", tc.filter, tc.name)
		}
		if got := Match(tc.filter, tc.name); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.filter, tc.name, got)
		}
	}
	for _, s := range []string{"", "a#", "#/a", "a/#/b", "a+", "+a", "a/b+/c", "a\x00", "\xff", "##", "++"} {
		if CheckFilter(s) == nil {
			t.Errorf("filter %q accepted", s)
		}
	}
	for _, s := range []string{"", "a/#", "+", "a\x00", "\xc3\x28", strings.Repeat("a", 65536)} {
		if CheckName(s) == nil {
			t.Errorf("name %q accepted", clip(s))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"up/C1/C7/meter/M1/reading", "dn/C1/group/12/cmd", "dn/all/meter/cmd", "up//meter/M1/x", "dn/group/00/cmd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(s)
		if err == nil && got.String() != s {
			t.Fatalf("Parse(%q).String() = %q", s, got.String())
		}
	})
}
