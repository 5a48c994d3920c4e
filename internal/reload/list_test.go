package reload

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestList: files of a directory that come, change and go are noticed, also those that were not there at first.
func TestList(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "1")
	loads := 0
	list := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return append([]string{dir}, names...)
	}
	var log bytes.Buffer
	w := New(slog.New(slog.NewTextHandler(&log, nil)), time.Hour, Source{Name: "files", List: list, Load: func() error { loads++; return nil }})
	for i, step := range []func(){func() { put("b", "1") }, func() { put("b", "22") }, func() { put("a", "333") }, func() { os.Remove(filepath.Join(dir, "a")) }} {
		w.look(false)
		if loads != i {
			t.Fatalf("%d loads before step %d", loads, i)
		}
		step()
		w.look(false)
		if loads != i+1 {
			t.Fatalf("step %d is not noticed", i)
		}
	}
	if text := log.String(); strings.Count(text, "loaded anew") != loads || strings.Contains(text, "nothing has changed") {
		t.Errorf("of %d loads is told:\n%s", loads, text)
	}
}
