package api_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

func TestRecognise(t *testing.T) {
	for _, c := range []struct {
		text string
		want []api.Said
	}{
		{"no meter M1 is known", []api.Said{{Code: "problem.no-meter", Params: map[string]string{"meter": "M1"}}}},
		{`"a, want b" is no cursor of this list`, []api.Said{{Code: "problem.cursor", Params: map[string]string{"value": `"a, want b"`}}}},
		{"301 bytes, want at most 300", []api.Said{{Code: "problem.key-bytes", Params: map[string]string{"n": "301"}}}},
		{"9 bytes, want at most 8", []api.Said{{Code: "problem.bytes-most", Params: map[string]string{"n": "9", "most": "8"}}}},
		{`"x", want low, normal or high; nothing was changed`, []api.Said{{Code: "problem.want", Params: map[string]string{"value": `"x"`, "list": "low, normal or high"}}, {Code: "problem.unchanged"}}},
		{`id "group" is a reserved word: outside the topic grammar`, []api.Said{{Code: "letter.id-reserved", Params: map[string]string{"value": `"group"`}}, {Code: "letter.grammar"}}},
		{"F12 is quarantined since 2026-11-29T10:00:00Z: one more; another person has to release F12 first", []api.Said{{Code: "problem.quarantined", Params: map[string]string{"name": "F12", "time": "2026-11-29T10:00:00Z", "why": "one more"}}}},
		{"F12 is quarantined since 2026-11-29T10:00:00Z: one more; another person has to release F13 first", nil},
		{`"{", invalid end of JSON`, []api.Said{{Code: "problem.invalid", Params: map[string]string{"value": `"{"`, "what": "end of JSON"}}}},
		{"the body is too large, want less than 1048576 bytes", []api.Said{{Code: "problem.body-large", Params: map[string]string{"n": "1048576"}}}},
		{`"M1" is a concentrator: it takes no groups; the group is as it was`, []api.Said{{Code: "problem.concentrator-groups", Params: map[string]string{"id": `"M1"`}}, {Code: "problem.group-unchanged"}}},
		{"unexpected end of JSON input", []api.Said{{Code: "problem.json-cut"}}},
		{"invalid character '}' looking for beginning of object key string", nil},
		{"unexpected end of 7", nil},
		{"something that nobody ever said", nil},
		{"", nil},
		{strings.Repeat("is missing; ", 100), nil},
	} {
		if got := api.Recognise(c.text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.text, got, c.want)
		}
	}
}

func TestRecogniseLetter(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"version at offset 0: 0x09, want 0x01: unknown version", "letter.at letter.want letter.version"},
		{"reading: import register at offset 8: 1152921504606846976 Wh, want at most 9007199254740991: value outside its range", "letter.word letter.at letter.most letter.value"},
		{"telegram in line 3 at offset 35: no '!' at the end: wrong length", "letter.at-line letter.text letter.length"},
		{`topic "up/C1/meter/group/reading": id "group" is a reserved word: outside the topic grammar`, "letter.topic letter.id-reserved letter.grammar"},
		{"body at offset 10: structure of 7: nothing in it says what the values are, and no declaration has a list of as many: is missing", "letter.at letter.of letter.text letter.missing"},
		{"Bad request: wattbus_key: want this property, or an id of the message, of 1 to 200 bytes: it keeps a message that comes twice from being carried out twice",
			"letter.text letter.word problem.key"},
		{"nothing: of this: is known", "letter.word letter.text"},
		{"Nothing. Of this", ""},
	} {
		var codes []string
		for _, s := range api.RecogniseLetter(c.text) {
			codes = append(codes, s.Code)
			if !strings.Contains(c.text, s.String()) {
				t.Errorf("%q: %s says %q", c.text, s.Code, s.String())
			}
		}
		if got := strings.Join(codes, " "); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

func TestProblemTell(t *testing.T) {
	p := &api.Problem{Title: "Bad request", Status: 400, Detail: "is missing", Errors: []api.FieldError{{Field: "from", Detail: "is before from"}, {Field: "x", Detail: "whatever"}}}
	told := p.Tell()
	if len(told.Said) != 1 || told.Said[0].Code != "problem.missing" || len(told.Errors[0].Said) != 1 || told.Errors[1].Said != nil || told.Detail != p.Detail {
		t.Errorf("told: %+v", told)
	}
	if p.Said != nil || p.Errors[0].Said != nil {
		t.Error("what was told of is another than it was")
	}
	if (*api.Problem)(nil).Tell() != nil {
		t.Error("no problem is told of as one")
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add("no meter M1 is known")
	f.Add(`"x": id "y" is a reserved word; nothing was changed`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, said := range [][]api.Said{api.Recognise(text), api.RecogniseLetter(text)} {
			for _, s := range said {
				if s.Code != "letter.text" && !strings.Contains(text, s.String()) && !strings.Contains(s.String(), "{") {
					t.Errorf("%q is taken for %s, %q", text, s.Code, s.String())
				}
			}
		}
	})
}

func BenchmarkRecogniseLetter(b *testing.B) {
	for b.Loop() {
		api.RecogniseLetter(`topic "up/C1/meter/group/reading": id "group" is a reserved word: outside the topic grammar`)
	}
}
