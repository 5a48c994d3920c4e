package cli

import (
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

// A mistyped name or word is told with what it most likely was to be, whoever finds the mistake.
func TestHints(t *testing.T) {
	url, b := fixedCentre(t)
	fixedLists(t, b)
	says[api.UsagePointQuery](t, b, api.QueryUsagePoints, list(api.UsagePoint{ID: "UP4711", Meter: "M1000317"}))
	for _, tc := range []struct {
		line, want string // what stands at the end; "" for no hint
	}{
		{"meters M1000319", "there is no meter M1000319; did you mean M1000317?"},
		{"meters M100031", "did you mean M1000317?"},
		{"meters X42", "there is no meter X42"},
		{"meters --state onlin", "did you mean online?"},
		{"meters -o jsn", "want table, wide, json or csv; did you mean json?"},
		{"outages --kind comm-lost,power-los", "did you mean comm-lost,power-lost?"},
		{"outages cause 7264936160 vegetaton", "did you mean vegetation?"},
		{"read query:state=onlin", "did you mean query:state=online?"},
		{"read M1 --priority hihg", "did you mean high?"},
		{"read M1 --log-level debg", "did you mean debug?"},
		{"read M1 --timeout 20000h", "value 20000h0m0s, want 1s to 8760h (a year)"},
		{"read M1 --timeout 30", `"30" for "--timeout" flag: want a time with its unit, such as 30s, 5m, 2h or 1h30m; a day is 24h`},
		{"meter --id M1 --interval 1m", "want a whole number (minutes between readings)"},
	} {
		_, errs, status := call(t, map[string]string{"WATTBUS_SERVER": url}, strings.Fields(tc.line)...)
		first, _, _ := strings.Cut(errs, "\n")
		if status == ExitDone || !strings.HasSuffix(first, tc.want) {
			t.Errorf("%s: status %d, %q, want %q", tc.line, status, first, tc.want)
		}
	}
	_, errs, status := call(t, nil, "meters", "--server", "http://127.0.0.1:1")
	if status != ExitFailed || !strings.Contains(errs, `connection refused; does it run there? "wattbus up" starts one`) {
		t.Errorf("no centre: status %d, %q", status, errs)
	}
	_, errs, status = call(t, nil, "meters", "--server", strings.Replace(url, "http", "https", 1))
	if status != ExitFailed || !strings.Contains(errs, "does its address begin with http:// ?") {
		t.Errorf("no TLS: status %d, %q", status, errs)
	}
}

// What a refused token means depends on whether one was shown.
func TestTokenHints(t *testing.T) {
	for _, tc := range []struct{ token, want string }{{"", "here by --token"}, {"hush", "none that it knows"}} {
		root, a := newRoot(Stdio{})
		cmd, _, err := root.Find([]string{"meters"})
		if err == nil {
			err = cmd.Flags().Set("token", tc.token)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := a.hint(cmd, &api.Problem{Title: "Unauthorized", Status: 401}); !strings.Contains(got, tc.want) || strings.Contains(got, "hush") {
			t.Errorf("%q: %q", tc.token, got)
		}
	}
}

// A file that is not there is a wrong use, whichever command was to read it.
func TestMissingFiles(t *testing.T) {
	for _, line := range []string{"audit verify no-file", "keys list no-file", "targets check no-file", "firmware upload no-file", "format check no-file", "format decode --layout no-file 00",
		"format decode --event p1 @no-file", "config check calendar no-file", "config check vee no-file", "config check center no-file", "registry import no-file", "meters --ca no-file",
		"broker --mqtt 127.0.0.1:0 --passwords no-file", "fleet --concentrator mqtt://127.0.0.1:1 --key-file no-file"} {
		_, errs, status := call(t, nil, strings.Fields(line)...)
		if status != ExitUsage || !strings.Contains(errs, "no-file") {
			t.Errorf("%s: status %d, %q", line, status, errs)
		}
	}
}
