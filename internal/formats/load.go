package formats

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/jsonmap"
	"github.com/wattbus/wattbus/internal/record/descriptor"
)

// maxFiles bounds the declarations of a directory.
const maxFiles = 1000

// Load reads the directory again. If one file is not usable, none of the new ones is: what was loaded before stays.
func (s *Set) Load() error {
	if s.dir == "" {
		return nil
	}
	names, err := s.list()
	if err != nil {
		return err
	}
	f := &files{declared: map[string]reader{}, names: names}
	var errs []error
	from := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("format: %w", err)
		}
		var event string
		var read reader
		if jsonmap.Declares(b) {
			m, err := jsonmap.Parse(b)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				continue
			}
			if event, read = Own+m.Name, m; m.Name == EventJSON {
				event = EventJSON
			}
		} else {
			l, err := descriptor.Parse(b)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				continue
			}
			event, read = Own+l.Name, l
		}
		if first, twice := from[event]; twice {
			errs = append(errs, fmt.Errorf("%s: name: %s is that of %s", name, strings.TrimPrefix(event, Own), first))
		}
		from[event] = name
		f.declared[event] = read
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	s.files.Store(f)
	return nil
}

func (s *Set) list() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("directory of formats: %w", err)
	}
	var names []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			names = append(names, filepath.Join(s.dir, e.Name()))
		}
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("directory of formats: %d files, want at most %d", len(names), maxFiles)
	}
	slices.Sort(names)
	return names, nil
}

// Files are what to watch for changes: the directory, in which files come and go, and those in it.
func (s *Set) Files() []string {
	if s.dir == "" {
		return nil
	}
	return append([]string{s.dir}, s.files.Load().names...)
}

// Events are those of the declared formats, sorted.
func (s *Set) Events() []string {
	var out []string
	for e := range s.files.Load().declared {
		out = append(out, e)
	}
	slices.Sort(out)
	return out
}
