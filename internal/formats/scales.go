package formats

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/wattbus/wattbus/internal/echonet"
)

// maxScales bounds the meters whose scale is kept, some 100 bytes each. Beyond, what another one tells counts for its frame.
const maxScales = 5_000_000

// scales keeps what ECHONET Lite meters told of their counts, in a file of lines to which changes are appended:
//
//	kind id unit-or-dash coefficient digits
//
// A line is written before the message that told it is acknowledged, but not synced: after a power cut a meter may have to
// tell its unit again.
type scales struct {
	mu   sync.RWMutex
	all  map[string]echonet.Scale // by kind/id
	file *os.File
}

func openScales(path string, log *slog.Logger) (*scales, error) {
	s := &scales{all: map[string]echonet.Scale{}}
	if path == "" {
		return s, nil
	}
	lines := 0
	f, err := os.Open(path)
	if err == nil {
		in := bufio.NewScanner(f)
		for in.Scan() {
			lines++
			key, scale, ok := parseScale(in.Text())
			if !ok { // the last one may be cut off
				log.Warn("line of ECHONET Lite units not understood", "file", path, "line", lines)
				continue
			}
			s.all[key] = scale
		}
		err = errors.Join(in.Err(), f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("units of ECHONET Lite meters: %w", err)
	}
	if lines > 2*len(s.all)+1000 || lines > 0 && lines != len(s.all) {
		if err := s.rewrite(path); err != nil {
			return nil, fmt.Errorf("units of ECHONET Lite meters: %w", err)
		}
	}
	if s.file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("units of ECHONET Lite meters: %w", err)
	}
	return s, nil
}

// rewrite leaves one line for each meter.
func (s *scales) rewrite(path string) error {
	var b strings.Builder
	for key, scale := range s.all {
		b.WriteString(line(key, scale))
	}
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func line(key string, s echonet.Scale) string {
	kind, id, _ := strings.Cut(key, "/")
	unit := "-"
	if s.HasUnit {
		unit = s.Unit.String()
	}
	return fmt.Sprintf("%s %s %s %d %d\n", kind, id, unit, s.Coefficient, s.Digits)
}

func parseScale(text string) (key string, s echonet.Scale, ok bool) {
	var kind, id, unit string
	if n, err := fmt.Sscanf(text+"\n", "%s %s %s %d %d\n", &kind, &id, &unit, &s.Coefficient, &s.Digits); n != 5 || err != nil {
		return "", s, false
	}
	if unit != "-" {
		u, err := echonet.ParseUnit(unit)
		if err != nil {
			return "", s, false
		}
		s.Unit, s.HasUnit = u, true
	}
	return kind + "/" + id, s, s.Digits <= 8
}

func (s *scales) of(kind, id string) (echonet.Scale, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x, ok := s.all[kind+"/"+id]
	return x, ok
}

func (s *scales) put(kind, id string, x echonet.Scale) error {
	key := kind + "/" + id
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.all[key]; !known && len(s.all) >= maxScales {
		return nil
	}
	s.all[strings.Clone(key)] = x
	if s.file == nil {
		return nil
	}
	if _, err := s.file.WriteString(line(key, x)); err != nil {
		return fmt.Errorf("keep the unit of %s: %w", key, err)
	}
	return nil
}

func (s *scales) close() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Sync(), s.file.Close())
}
