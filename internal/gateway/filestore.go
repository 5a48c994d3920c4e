package gateway

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// FileStore is a Store in one file of JSON lines, the later ones in place of the earlier ones of the same client. It is written
// anew when most of it is out of date. A last line that a power cut has torn is dropped; what it said is recovered by the
// protocol: the client connects or registers again.
type FileStore struct {
	path  string
	f     *os.File
	live  map[string][]byte // the last line of each client
	lines int
	end   int64 // of the last whole line
}

// OpenFile opens or makes a store. Close it after the gateway has ended.
func OpenFile(path string) (*FileStore, error) {
	s := &FileStore{path: path, live: make(map[string][]byte)}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("gateway store %s: %w", path, err)
	}
	return s, nil
}

func (s *FileStore) open() (err error) {
	if s.f, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(s.path)); err != nil { // it may be new
		return errors.Join(err, s.f.Close())
	}
	r := bufio.NewReader(s.f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // also a line without its end
			break
		}
		if err != nil {
			return errors.Join(err, s.f.Close())
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil || rec.ClientID == "" {
			return errors.Join(fmt.Errorf("line %d is no record: %w", s.lines+1, err), s.f.Close())
		}
		s.note(&rec, line)
		s.end += int64(len(line))
	}
	if err := s.cut(); err != nil {
		return errors.Join(err, s.f.Close())
	}
	return nil
}

// cut takes away what stands behind the last whole line.
func (s *FileStore) cut() error {
	if err := s.f.Truncate(s.end); err != nil {
		return err
	}
	_, err := s.f.Seek(s.end, io.SeekStart)
	return err
}

func (s *FileStore) note(r *Record, line []byte) {
	s.lines++
	if r.Gone {
		delete(s.live, r.ClientID)
		return
	}
	s.live[r.ClientID] = line
}

// Load implements Store.
func (s *FileStore) Load() ([]Record, error) {
	records := make([]Record, 0, len(s.live))
	for id, line := range s.live {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("gateway store %s: client %q: %w", s.path, id, err)
		}
		records = append(records, r)
	}
	return records, nil
}

// Save implements Store.
func (s *FileStore) Save(records []Record) error {
	var b []byte
	for i := range records {
		line, err := json.Marshal(&records[i])
		if err != nil {
			return fmt.Errorf("gateway store: client %q: %w", records[i].ClientID, err)
		}
		line = append(line, '\n')
		s.note(&records[i], line)
		b = append(b, line...)
	}
	if s.lines > 2*len(s.live)+1000 {
		if err := s.compact(); err != nil {
			return fmt.Errorf("gateway store %s: %w", s.path, err)
		}
		return nil
	}
	_, err := s.f.Write(b)
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil { // half a line must not stand in the middle later
		return fmt.Errorf("gateway store %s: %w", s.path, errors.Join(err, s.cut()))
	}
	s.end += int64(len(b))
	return nil
}

// compact writes what is still true into a new file, which takes the place of the old one when it is safe.
func (s *FileStore) compact() error {
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".new-*")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, line := range s.live {
		if _, err = w.Write(line); err != nil {
			break
		}
	}
	if err = errors.Join(err, w.Flush(), f.Sync()); err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	old := s.f
	s.f, s.lines, s.end = f, len(s.live), 0
	for _, line := range s.live {
		s.end += int64(len(line))
	}
	return errors.Join(old.Close(), syncDir(filepath.Dir(s.path)))
}

// syncDir makes a rename safe.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file.
func (s *FileStore) Close() error { return s.f.Close() }
