package cli

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/exportfile"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

// exportArgs names the command line, a word a line, that the test binary runs when it was started for that.
const exportArgs = "WATTBUS_TEST_EXPORT"

// TestExportKilled kills an export in each format, with all of its process, when some of its parts are whole, as often as it takes to
// get through. What comes out in the end is what comes out of one that was left alone, byte for byte.
func TestExportKilled(t *testing.T) {
	if args := os.Getenv(exportArgs); args != "" {
		os.Exit(Main(context.Background(), strings.Split(args, "\n"), Stdio{Out: os.Stdout, Err: os.Stderr, Now: time.Now, Env: func(string) (string, bool) { return "", false }}))
	}
	const meters = 8
	for _, c := range []struct{ format, out string }{{"csv", "out/"}, {"parquet", "out/"}, {"espi", "out/"}, {"cim", "out/"}, {"cim", "out.xml"}} {
		t.Run(c.format+" "+c.out, func(t *testing.T) {
			t.Parallel()
			data := keptMeters(t, meters)
			args := func(dir string) []string {
				return []string{"export", "--data", data, "--from", "2018-12-01", "--to", "2018-12-04", "--part", "1", "--format", c.format, "--as-known-at", "2018-12-05T00:00:00Z",
					"--out", dir + "/" + c.out}
			}
			whole, torn := t.TempDir(), t.TempDir()
			if _, errs, status := call(t, nil, args(whole)...); status != ExitDone {
				t.Fatalf("status %d, %s", status, errs)
			}
			kills := 0
			for range 50 { // on a busy machine it may be through before anybody looks
				for want := 1; killedExport(t, args(torn), torn, want); want += 2 + rand.IntN(meters/2) {
					kills++
				}
				if kills > 0 {
					break
				}
				torn = t.TempDir()
			}
			if kills == 0 {
				t.Error("it was never killed midway")
			}
			got, want := exported(t, torn), exported(t, whole)
			if len(got) == 0 || !reflect.DeepEqual(got, want) {
				t.Errorf("after %d kills there are %d files, want %d, or others", kills, len(got), len(want))
			}
			if _, errs, status := call(t, nil, "export", "--verify", "--out", filepath.Join(torn, c.out)); status != ExitDone {
				t.Errorf("verify: status %d, %s", status, errs)
			}
		})
	}
}

// killedExport runs an export and kills it once so many parts are whole. It reports false if it came to its end before.
func killedExport(t *testing.T, args []string, dir string, parts int) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), must(os.Executable())(t), "-test.run=^TestExportKilled$")
	cmd.Env = append(os.Environ(), exportArgs+"="+strings.Join(args, "\n"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v: %s", err, errs.String())
			}
			return false
		case <-time.After(time.Millisecond):
		}
		if wholeParts(dir) < parts {
			continue
		}
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatalf("%v: %s", err, errs.String())
		}
		return <-ended != nil
	}
}

// wholeParts counts the parts that the journal of an export under way names.
func wholeParts(dir string) (n int) {
	for _, sub := range []string{"out", "out.xml.parts"} {
		if names, err := filepath.Glob(filepath.Join(dir, sub, ".unfinished*")); err == nil {
			for _, name := range names {
				text, _ := os.ReadFile(name) // it may just have got its final name
				n += bytes.Count(text, []byte(`{"part":`))
			}
		}
	}
	return n
}

// exported reads all that lies below a directory.
func exported(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, ok := out["/out/"+exportfile.Manifest]; !ok && out["/out.xml."+exportfile.Manifest] == "" {
		t.Fatalf("there is no manifest among %d files", len(out))
	}
	return out
}

// keptMeters makes a data directory with three whole days of some meters, 2018-12-01 to 2018-12-03.
func keptMeters(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	st := must(sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, "wattbus.db")}))(t)
	const day = cim.Day(17866) // 2018-12-01
	c := &store.Commit{}
	for i := range n {
		c.Devices = append(c.Devices, cim.EndDevice{Ordinal: uint32(i), Kind: "meter", ID: "M" + string(rune('A'+i/10)) + string(rune('0'+i%10)), Interval: 30,
			Expected: day.Start(), Complete: (day + 3).Start()})
		for d := day; d < day+3; d++ {
			b := store.Block{Device: uint32(i), Day: d, Length: 30, Version: 1, Recorded: (day + 3).Start() + 60, HasReg: true, Register: uint64(d-day) * 4800}
			for s := range 48 {
				b.Wh, b.Quality = append(b.Wh, uint32(i*7+s)), append(b.Quality, cim.Raw)
			}
			c.Blocks = append(c.Blocks, b)
		}
	}
	if _, err := st.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// must ends the test on an error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
