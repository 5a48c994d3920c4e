package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

func formatRun(t *testing.T, in string, args ...string) (out, errs string, status int) {
	t.Helper()
	var o, e bytes.Buffer
	status = Main(context.Background(), append([]string{"format"}, args...), Stdio{In: strings.NewReader(in), Out: &o, Err: &e, Env: func(string) (string, bool) { return "", false }})
	return o.String(), e.String(), status
}

// The example of docs/formats.md does what the page says.
func TestFormatExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "    name: mine")
	text, _, _ = strings.Cut("    name: mine"+text, "\n\n")
	var yaml []string
	for l := range strings.SplitSeq(text, "\n") {
		yaml = append(yaml, strings.TrimPrefix(l, "    "))
	}
	file := t.TempDir() + "/mine.yaml"
	if err := os.WriteFile(file, []byte(strings.Join(yaml, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	const message = "a5000012346a674f48000004d25f"
	if !strings.Contains(string(page), message) {
		t.Fatal("the page has another message")
	}
	if out, errs, status := formatRun(t, "", "check", file); status != 0 || !strings.HasSuffix(out, "messages under up/…/x-mine\n") {
		t.Fatalf("%d %s%s", status, out, errs)
	}
	fields, errs, status := formatRun(t, "", "decode", "--layout", file, message)
	if status != 0 || !strings.Contains(fields, `"energy": 12340`) || !strings.Contains(fields, `"time": "2026-07-27T12:30:00Z"`) {
		t.Fatalf("%d %s%s", status, fields, errs)
	}
	if out, errs, status := formatRun(t, fields, "encode", "--layout", file, "-"); status != 0 || out != message+"\n" {
		t.Errorf("%d %s%s", status, out, errs)
	}
	if out, errs, status := formatRun(t, "", "decode", "--layout", file, "--kept", "--base64", "pQAAEjRqZ09IAAAE0l8="); status != 0 || !strings.Contains(out, `"import": 12340`) {
		t.Errorf("%d %s%s", status, out, errs)
	}
	out, _, status := formatRun(t, "", "decode", "--layout", file, "-o", "json", message[:26]+"00")
	if status != 1 || out != `{"error":"sum at offset 13: 0x00, reckoned 0x5f: check sum is wrong","reason":"checksum","field":"sum","offset":13}`+"\n" {
		t.Errorf("%d %s", status, out)
	}
}

func TestFormatEvents(t *testing.T) {
	const frame = "1081000102880105ff017201e70400000278"
	fields, errs, status := formatRun(t, "", "decode", "--event", "el", frame)
	if status != 0 || !strings.Contains(fields, `"value": 632`) {
		t.Fatalf("%d %s%s", status, fields, errs)
	}
	if out, errs, status := formatRun(t, fields, "encode", "--event", "el", "-"); status != 0 || out != frame+"\n" {
		t.Errorf("%d %s%s", status, out, errs)
	}
	telegram, err := os.ReadFile("../dsmr/testdata/v5.txt")
	if err != nil {
		t.Fatal(err)
	}
	fields, errs, status = formatRun(t, string(telegram), "decode", "--event", "p1", "-")
	if status != 0 {
		t.Fatal(errs)
	}
	if out, errs, status := formatRun(t, fields, "encode", "--event", "p1", "--raw", "-"); status != 0 || out != string(telegram) {
		t.Errorf("%d %q%s", status, out, errs)
	}
	if out, _, status := formatRun(t, "", "decode", "--event", "p1", "--kept", "@../dsmr/testdata/v5.txt"); status != 0 || !strings.Contains(out, `"import": 6825`) {
		t.Errorf("%d %s", status, out)
	}
	for _, args := range [][]string{{"decode", frame}, {"decode", "--event", "xx", frame}, {"decode", "--event", "el", "zz"}, {"check"}} {
		if _, errs, status := formatRun(t, "", args...); status != ExitUsage {
			t.Errorf("%v: %d %s", args, status, errs)
		}
	}
	if _, errs, status := formatRun(t, "", "check", "../../go.mod"); status != 1 || !strings.Contains(errs, "declaration is not usable") {
		t.Errorf("%d %s", status, errs)
	}
}

// What is wrong with fields or files is told with the field, its value and where it stands, and in no terms of ours.
func TestFormatGarbage(t *testing.T) {
	dir := t.TempDir()
	long := dir + "/long"
	if err := os.WriteFile(long, bytes.Repeat([]byte("x"), 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	layout := "--layout=../../examples/formats/hokuto.yaml"
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"check", long}, "more than 1048576 bytes, which no declaration has"},
		{[]string{"check", os.DevNull}, "the file is empty"},
		{[]string{"check", dir}, "is a directory"},
		{[]string{"decode", layout, "@" + long}, "more than 1048576 bytes, want one message"},
		{[]string{"decode", layout, ""}, "start at offset 0: the message ends at 0"},
		{[]string{"encode", "--event", "el", ""}, "at offset 0: it ends before the JSON document does"},
		{[]string{"encode", "--event", "el", "[]"}, "at offset 0: array, want an object"},
		{[]string{"encode", "--event", "el", `{"tid":"a"}`}, "tid at offset 7: string, want a whole number"},
		{[]string{"encode", "--event", "el", `{"esv":"Get_Res","properties":[{"epc":"E0","value":"x"}]}`}, `property E0 (cumulative energy, forward): "x" is none of its values`},
		{[]string{"encode", "--event", "p1", `{"identification":7}`}, "identification at offset 18: number, want a string"},
		{[]string{"encode", "--event", "p1", `{"identification":"ISk5x","object":[]}`}, "object at offset 35: there is no such field"},
		{[]string{"encode", "--event", "dlms", `{"x":1}`}, "x at offset 5: there is no such field"},
		{[]string{"encode", "--event", "dlms", `{"body":{"unsigned":999}}`}, "unsigned: 999 does not fit in 1 octets"},
		{[]string{"encode", layout, "{"}, "at offset 1: it ends before the JSON document does"},
		{[]string{"encode", layout, "[]"}, "at offset 0: array, want an object"},
	} {
		if out, errs, status := formatRun(t, "", tc.args...); status != 1 || !strings.Contains(errs, tc.want) {
			t.Errorf("%q: %d %s%s\nwant %s", tc.args, status, out, errs, tc.want)
		}
	}
}
