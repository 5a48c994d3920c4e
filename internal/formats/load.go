package formats

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/dlms"
	"github.com/wattbus/wattbus/internal/format"
	"github.com/wattbus/wattbus/internal/jsonmap"
	"github.com/wattbus/wattbus/internal/record/descriptor"
)

// maxFiles bounds the declarations of a directory.
const maxFiles = 1000

// Reader is a declared format: a layout, a mapping, or the lists of DLMS pushes. It adds what a message says to a reading.
type Reader interface {
	Read(b []byte, r *cim.MeterReading) error
}

// ReadFile reads the file of a declaration.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, format.MaxDeclaration+1))
	if err != nil {
		return nil, err
	}
	if len(b) > format.MaxDeclaration {
		return nil, fmt.Errorf("%s: more than %d bytes, which no declaration has", name, format.MaxDeclaration)
	}
	return b, nil
}

// Parse reads a declaration of any kind, and returns the event of its messages.
func Parse(b []byte) (event string, r Reader, err error) {
	var name, reserved string
	switch {
	case jsonmap.Declares(b):
		m, err := jsonmap.Parse(b)
		if err != nil {
			return "", nil, err
		}
		name, reserved, r = m.Name, EventJSON, m
	case dlms.Declares(b):
		l, err := dlms.Parse(b)
		if err != nil {
			return "", nil, err
		}
		name, reserved, r = l.Name, EventDLMS, l
	default:
		l, err := descriptor.Parse(b)
		if err != nil {
			return "", nil, err
		}
		name, r = l.Name, l
	}
	if name == reserved {
		return name, r, nil
	}
	return Own + name, r, nil
}

// Load reads the directory and the keys again. If one file is not usable, none of the new ones is: what was loaded before stays.
func (s *Set) Load() error {
	if err := s.loadKeys(); err != nil {
		return err
	}
	if s.dir == "" {
		return nil
	}
	names, err := s.list()
	if err != nil {
		return err
	}
	f := &files{declared: map[string]Reader{}, names: names}
	var errs []error
	from := map[string]string{}
	for _, name := range names {
		b, err := ReadFile(name)
		if err != nil {
			return fmt.Errorf("format: %w", err)
		}
		event, read, err := Parse(b)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
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

// loadKeys reads the key file.
func (s *Set) loadKeys() error {
	if s.keyFile == "" {
		return nil
	}
	keys, err := LoadKeys(s.keyFile)
	if err != nil {
		return fmt.Errorf("keys of DLMS meters: %w", err)
	}
	s.keys.Store(keys)
	return nil
}

// LoadKeys reads a key file; see dlms.ReadKeys. Errors name the file.
func LoadKeys(name string) (*dlms.Keys, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	keys, err := dlms.ReadKeys(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

// Files are what to watch for changes: the key file, the directory, in which files come and go, and those in it.
func (s *Set) Files() []string {
	var out []string
	if s.keyFile != "" {
		out = append(out, s.keyFile)
	}
	if s.dir != "" {
		out = append(append(out, s.dir), s.files.Load().names...)
	}
	return out
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
