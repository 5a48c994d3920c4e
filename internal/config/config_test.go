package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func flagSet() *pflag.FlagSet {
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.String("http", "127.0.0.1:8080", "")
	f.Int("meters", 494, "")
	f.Duration("expire", time.Minute, "")
	f.StringSlice("upstream", nil, "")
	f.String("token", "", "")
	f.Int("pin", 0, "")
	f.String("config", "", "")
	MarkSecret(f, "token")
	MarkSecret(f, "pin")
	return f
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wattbus.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func env(m map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
}

func TestPrecedence(t *testing.T) {
	f := flagSet()
	if err := f.Parse([]string{"--meters", "7"}); err != nil {
		t.Fatal(err)
	}
	file := write(t, "http: 127.0.0.1:1\nmeters: 9\nexpire: 5s\nupstream: [mqtt://a, 'mqtt://u:hu:sh@b:1']\ntoken: hush\nsn: x\n")
	from, err := ApplyFrom(f, env(map[string]string{"WATTBUS_HTTP": "127.0.0.1:2", "WATTBUS_METERS": "8"}), file, func(k string) bool { return k == "sn" })
	if err != nil {
		t.Fatal(err)
	}
	report := Report(f, from)
	for _, want := range []string{"http: 127.0.0.1:2  # environment WATTBUS_HTTP\n", "meters: \"7\"  # command line\n", "expire: 5s  # " + file + ":3\n",
		"upstream:  # " + file + ":4\n", "pin: <secret>\n", "- mqtt://a\n", "- mqtt://u:<secret>@b:1\n", "token: <secret>  # " + file + ":5\n"} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
	f = flagSet()
	if err := Apply(f, env(map[string]string{"WATTBUS_UPSTREAM": "mqtt://c,mqtt://d"}), "", nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := f.GetStringSlice("upstream"); len(got) != 2 || got[1] != "mqtt://d" {
		t.Error(got)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"meter: 9\n", `:1: unknown key "meter"; did you mean "meters"?`},
		{"http: a\n\nnonsense: 9\n", `:3: unknown key "nonsense"; allowed are expire, http, meters, pin, token, upstream`},
		{"meters: many\n", `:1: key meters: value "many": want a whole number`},
		{"expire: 5\n", `:1: key expire: value "5": want a time with its unit`},
		{"meters: [1, 2]\n", "want one int, got a list of 2"},
		{"http: {a: b}\n", `key "http": want a value or a list of values`},
		{"upstream: [[a]]\n", `key "upstream": want a list of plain values`},
		{"http: a\nhttp: b\n", `:2: key "http" stands already in line 1`},
		{"- http\n", "want keys with values"},
		{"http: [\n", "yaml"},
		{"pin: hush\n", `value "<secret>"`},
	} {
		err := Apply(flagSet(), env(nil), write(t, tc.text), nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("secret in %v", err)
		}
	}
	if err := Apply(flagSet(), env(map[string]string{"WATTBUS_METERS": "x"}), "", nil); err == nil || !strings.Contains(err.Error(), `environment WATTBUS_METERS="x"`) {
		t.Error(err)
	}
	if err := Apply(flagSet(), env(nil), filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil || !strings.Contains(err.Error(), "none.yaml: no such file") {
		t.Error(err)
	}
	if err := Apply(flagSet(), env(nil), write(t, ""), nil); err != nil {
		t.Error("empty file:", err)
	}
}
