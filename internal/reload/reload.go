// Package reload loads files anew when they change, or when somebody asks for it,
// while what was loaded from them is in use.
//
// What lives here: noticing the change. What may not: what is in the files; each
// source keeps its old content where the new one cannot be used.
package reload

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Source is something that was loaded from files.
type Source struct {
	Name  string // for the log
	Files []string
	// List, if set, is asked for the files each time instead: those of a directory come and go.
	List func() []string
	Load func() error
}

func (s *Source) files() []string {
	if s.List != nil {
		return s.List()
	}
	return s.Files
}

// Watcher loads sources anew.
type Watcher struct {
	log     *slog.Logger
	every   time.Duration
	sources []source
}

type source struct {
	Source
	seen   []stamp
	sum    [sha256.Size]byte // of what was loaded
	failed string            // what the last Load said, "" for nothing
}

// stamp is what tells one state of a file from another without reading it.
type stamp struct {
	mod  time.Time
	size int64
	info os.FileInfo // nil: not there
}

func (s stamp) same(o stamp) bool {
	return s.mod.Equal(o.mod) && s.size == o.size && (s.info == nil) == (o.info == nil) && (s.info == nil || os.SameFile(s.info, o.info))
}

// DefaultInterval is how often files are looked at.
const DefaultInterval = 5 * time.Second

// New makes a watcher of sources that were just loaded. It looks at the files every
// so often; 0 is DefaultInterval.
func New(log *slog.Logger, every time.Duration, sources ...Source) *Watcher {
	if every <= 0 {
		every = DefaultInterval
	}
	w := &Watcher{log: log.With("component", "reload"), every: every}
	for _, s := range sources {
		w.sources = append(w.sources, source{Source: s, seen: stamps(s.files()), sum: sum(s.files())})
	}
	return w
}

// Run works until ctx ends. A value from now loads everything at once.
func (w *Watcher) Run(ctx context.Context, now <-chan os.Signal) error {
	if len(w.sources) == 0 {
		now = nil
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look(false)
		case <-now:
			w.look(true)
		}
	}
}

// look loads what has changed, or everything, and what could not be used the last
// time: two files that belong together are rarely written in the same moment.
func (w *Watcher) look(all bool) {
	for i := range w.sources {
		s := &w.sources[i]
		seen := stamps(s.files())
		if !all && s.failed == "" && same(seen, s.seen) {
			continue
		}
		s.seen = seen
		err := s.Load()
		now := sum(s.files())
		switch {
		case err == nil && s.failed == "" && now == s.sum:
			w.log.Info("read again, nothing has changed", slog.String("what", s.Name))
		case err == nil:
			s.failed, s.sum = "", now
			w.log.Info("loaded anew", slog.String("what", s.Name))
		case all || err.Error() != s.failed:
			s.failed = err.Error()
			w.log.Error("not loaded, the old one stays in force", slog.String("what", s.Name), slog.Any("error", err))
		}
	}
}

// sum tells contents apart. Changes between Load and it are found by their stamps the next time.
func sum(files []string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(f)
		fmt.Fprintf(h, "%d %t\n", len(b), err == nil)
		_, _ = h.Write(b) // a hash takes everything
	}
	h.Sum(sum[:0])
	return sum
}

func stamps(files []string) []stamp {
	out := make([]stamp, len(files))
	for i, f := range files {
		if info, err := os.Stat(f); err == nil {
			out[i] = stamp{info.ModTime(), info.Size(), info}
		}
	}
	return out
}

func same(a, b []stamp) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].same(b[i]) {
			return false
		}
	}
	return true
}
