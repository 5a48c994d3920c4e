package reload

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestWatcher: what changes is loaded, what cannot be used is told once and tried
// again, and a signal loads everything.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		put := func(name, text string) {
			// A rename, as certificate tools do: another file under the same name.
			tmp := filepath.Join(dir, "tmp")
			if err := errors.Join(os.WriteFile(tmp, []byte(text), 0o600), os.Rename(tmp, filepath.Join(dir, name))); err != nil {
				t.Fatal(err)
			}
		}
		put("a", "1")
		put("b", "1")
		var mu sync.Mutex
		loads := map[string]int{}
		source := func(name string) Source {
			return Source{Name: name, Files: []string{filepath.Join(dir, name)}, Load: func() error {
				mu.Lock()
				loads[name]++
				mu.Unlock()
				text, err := os.ReadFile(filepath.Join(dir, name))
				if err == nil && string(text) == "bad" {
					err = errors.New(name + ":1: bad")
				}
				return err
			}}
		}
		out := &buffer{mu: &mu}
		w := New(slog.New(slog.NewTextHandler(out, nil)), time.Second, source("a"), source("b"))
		ctx, cancel := context.WithCancel(t.Context())
		signals := make(chan os.Signal, 1)
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx, signals) }()
		tick := func() {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		want := func(what string, a, b, told int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if loads["a"] != a || loads["b"] != b || strings.Count(out.String(), "old one stays") != told {
				t.Errorf("%s: %v, %s", what, loads, out.String())
			}
		}
		time.Sleep(time.Millisecond)
		tick()
		want("unchanged", 0, 0, 0)
		put("a", "2")
		tick()
		want("a changed", 1, 0, 0)
		put("b", "bad")
		tick()
		want("b broken", 1, 1, 1)
		tick()
		want("b still broken", 1, 2, 1)
		put("b", "good")
		tick()
		want("b mended", 1, 3, 1)
		tick()
		want("quiet again", 1, 3, 1)
		if err := os.Remove(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		tick()
		want("a gone", 2, 3, 2)
		signals <- syscall.SIGHUP
		synctest.Wait()
		want("asked for", 3, 4, 3)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// buffer is written by the watcher while the test reads it.
type buffer struct {
	mu *sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}
