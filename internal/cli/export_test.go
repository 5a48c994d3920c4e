package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

// keptData makes a data directory with a meter's three whole days, 2018-12-01 to 2018-12-03.
func keptData(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(context.Background(), sqlite.Options{Path: filepath.Join(dir, "wattbus.db")})
	if err != nil {
		t.Fatal(err)
	}
	const day = cim.Day(17866) // 2018-12-01
	c := &store.Commit{}
	for n, id := range []string{"M1", "M2", "M3"} {
		c.Devices = append(c.Devices, cim.EndDevice{Ordinal: uint32(n), Kind: "meter", ID: id, Interval: 30, Expected: day.Start(), Complete: (day + 3).Start()})
		for d := day; d < day+3; d++ {
			b := store.Block{Device: uint32(n), Day: d, Length: 30, Version: 1, Recorded: (day + 3).Start() + 60, HasReg: true, Register: uint64(d-day) * 4800}
			for range 48 {
				b.Wh, b.Quality = append(b.Wh, 100), append(b.Quality, cim.Raw)
			}
			c.Blocks = append(c.Blocks, b)
		}
	}
	if _, err := st.Commit(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestExportOfADataDirectory(t *testing.T) {
	data, out := keptData(t), t.TempDir()
	const calendar = "../../examples/tariff-day-night.yaml"
	args := func(more ...string) []string {
		return append([]string{"export", "--data", data, "--from", "2018-12-02", "--to", "2018-12-03", "--part", "2"}, more...)
	}
	file := filepath.Join(out, "bills.csv")
	text, errs, status := call(t, nil, args("--what", "determinants", "--calendars", calendar, "--out", file, "-o", "json")...)
	var sum exportSummary
	if err := json.Unmarshal([]byte(text), &sum); status != ExitDone || err != nil || !sum.Whole || sum.Summary.Points != 3 || sum.SHA256 == "" {
		t.Fatalf("status %d, summary %+v, errors %q, %v", status, sum, errs, err)
	}
	csv, err := os.ReadFile(file)
	// The 2nd of December 2018 is a Sunday: all of it is low.
	if err != nil || strings.Count(string(csv), "M1,import,2018-12-01T23:00:00Z,2018-12-02T23:00:00Z,day-night,energy,energy,low,4800,Wh") != 1 ||
		!strings.Contains(string(csv), "check,difference,total,0,Wh") {
		t.Errorf("%v\n%s", err, csv)
	}
	if _, errs, status = call(t, nil, args("--what", "determinants", "--calendars", calendar, "--out", file, "--as-known-at", sum.Known)...); status != ExitDone || !strings.Contains(errs, "whole already") {
		t.Errorf("again: status %d, %q", status, errs)
	}
	if _, errs, status = call(t, nil, args("--what", "determinants", "--calendars", calendar, "--out", file, "--as-known-at", "2018-12-05T00:00:00Z")...); status != ExitFailed || !strings.Contains(errs, "another question") {
		t.Errorf("as known at another time: status %d, %q", status, errs)
	}
	if _, errs, status = call(t, nil, "export", "--verify", "--out", file); status != ExitDone {
		t.Errorf("verify: status %d, %q", status, errs)
	}
	dir := filepath.Join(out, "green")
	if _, errs, status = call(t, nil, args("--format", "espi", "--out", dir)...); status != ExitDone {
		t.Fatalf("espi: status %d, %q", status, errs)
	}
	for _, name := range []string{"000001/M1.xml", "000001/M2.xml", "000002/M3.xml", "manifest.jsonl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(out, "*.parts")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.WriteFile(file, csv[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, status = call(t, nil, "export", "--verify", "--out", file); status != ExitFailed || !strings.Contains(errs, "is not what it was") {
		t.Errorf("verify of a changed file: status %d, %q", status, errs)
	}
}

// What is asked for of some meters is of all of these, from a centre as from a data directory.
func TestExportOfSomeMeters(t *testing.T) {
	data, out := keptData(t), t.TempDir()
	export := func(name string, from ...string) string {
		t.Helper()
		file := filepath.Join(out, name)
		args := append([]string{"export", "--from", "2018-12-02", "--to", "2018-12-03", "--meters", "M1", "--meters", "M3", "--out", file}, from...)
		if _, errs, status := call(t, nil, args...); status != ExitDone {
			t.Fatalf("%s: status %d, %s", name, status, errs)
		}
		text, err := os.ReadFile(file)
		if err != nil || strings.Count(string(text), "\nM1,") != 48 || strings.Count(string(text), "\nM3,") != 48 || strings.Contains(string(text), "M2,") {
			t.Errorf("%s: %v, %d of M1 and %d of M3", name, err, strings.Count(string(text), "\nM1,"), strings.Count(string(text), "\nM3,"))
		}
		return string(text)
	}
	direct := export("direct.csv", "--data", data)
	centre := serve(t, "center", "--data", data, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // its parts come up one after the other
		if _, errs, status := call(t, nil, "sums", "--day", "2018-12-02", "--server", "http://"+centre.addr("http")); status == ExitDone {
			break
		} else if time.Now().After(end) {
			t.Fatal(errs)
		}
	}
	for _, wrong := range [][]string{{"--format", "espi", "--what", "registers", "--out", out + "/espi/"}, {"--what", "determinants", "--out", out + "/none.csv"}, {"--zone", "Europe/Zurch", "--out", out + "/zone.csv"}, {"--meters", "M8", "--out", out + "/m8.csv"}} {
		if _, errs, status := call(t, nil, append([]string{"export", "--month", "2018-12", "--run", "wrong", "--server", "http://" + centre.addr("http")}, wrong...)...); status == ExitDone {
			t.Errorf("%v: %s", wrong, errs)
		}
	}
	if text, errs, status := call(t, nil, "runs", "-o", "csv", "--server", "http://"+centre.addr("http")); status != ExitDone || strings.Contains(text, "wrong") {
		t.Errorf("what was refused keeps its name: %s, %s", text, errs)
	}
	if got := export("centre.csv", "--server", "http://"+centre.addr("http")); got != direct {
		t.Error("the centre exports something else than its data directory holds")
	}
}

func TestExportRefusals(t *testing.T) {
	data, out := keptData(t), t.TempDir()
	bad := filepath.Join(out, "bad.yaml")
	if err := os.WriteFile(bad, []byte("name: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(out, "full")
	if err := os.MkdirAll(filepath.Join(full, "something"), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		text   string
	}{
		{"--out a.csv", ExitUsage, "flags --from and --to"},
		{"--month 2018-12", ExitUsage, "flag --out"},
		{"--month 2018-13 --out a.csv", ExitUsage, "want a month such as"},
		{"--month 2018-12 --from 2018-12-01 --out a.csv", ExitUsage, "give either"},
		{"--from 2018-12-02 --to 2018-12-02 --out a.csv", ExitUsage, "the period is empty"},
		{"--from yesterday --to 2018-12-02 --out a.csv", ExitUsage, "want a date such as"},
		{"--month 2018-12 --out a.xml", ExitUsage, "espi or cim"},
		{"--month 2018-12 --out a.txt", ExitUsage, "ends in .csv"},
		{"--month 2018-12 --format espi --what registers --out x/", ExitUsage, "espi tells intervals only"},
		{"--month 2018-12 --what determinants --out a.csv", ExitUsage, "need a tariff calendar"},
		{"--month 2018-12 --what determinants --calendars " + bad + " --out a.csv", ExitUsage, bad + ":1: zone: is missing"},
		{"--month 2018-12 --zone Mars --out a.csv", ExitUsage, "no time zone"},
		{"--month 2018-12 --part 0 --out a.csv", ExitUsage, "flag --part"},
		{"--month 2018-12 --run x --out a.csv", ExitFailed, "kept by a running centre"},
		{"--since-run x --out a.csv", ExitFailed, "kept by a running centre"},
		{"--month 2018-12 --out " + full, ExitFailed, "holds something else (something)"},
	} {
		_, errs, status := call(t, nil, append([]string{"export", "--data", data}, strings.Fields(c.args)...)...)
		if status != c.status || !strings.Contains(errs, c.text) {
			t.Errorf("%s: status %d, %q; want %d, %q", c.args, status, errs, c.status, c.text)
		}
	}
	if _, errs, status := call(t, nil, "export", "--data", filepath.Join(out, "none"), "--month", "2018-12", "--out", "a.csv"); status != ExitFailed || !strings.Contains(errs, "no store of a centre") {
		t.Errorf("no data: status %d, %q", status, errs)
	}
	for _, name := range []string{"a.csv", "a.csv.parts", "x"} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s was left behind", name)
		}
	}
}

func TestLeftOutIsToldByReason(t *testing.T) {
	got := leftOut([]export.Skipped{{Point: "U1", Reason: "no calendar"}, {Point: "U2", Reason: "no zone"}, {Point: "U3", Reason: "no calendar"}})
	if len(got) != 2 || got[0] != "left out, such as U1 U3: no calendar" || got[1] != "left out, such as U2: no zone" {
		t.Errorf("%q", got)
	}
}
