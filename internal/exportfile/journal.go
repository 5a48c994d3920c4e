package exportfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/wattbus/wattbus/internal/export"
)

// The names of an export's own files in its directory.
const (
	Manifest    = "manifest.jsonl"       // of a whole export
	journalName = ".unfinished.jsonl"    // becomes the manifest
	tempName    = ".unfinished-part.tmp" // the file being written
)

// Question is what the export of a directory is about, as its first line keeps it. Two exports are the same if their questions are.
type Question struct {
	Format   string   `json:"format"`
	What     string   `json:"what"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Known    string   `json:"asKnownAt"`
	Since    string   `json:"since,omitempty"`
	Meters   []string `json:"meters,omitempty"`
	Path     string   `json:"path,omitempty"`
	Feeder   string   `json:"feeder,omitempty"`
	Tariff   string   `json:"tariff,omitempty"`
	Calendar string   `json:"calendar,omitempty"`
	Zone     string   `json:"zone,omitempty"`
	Run      string   `json:"run,omitempty"`
	Points   int      `json:"pointsPerPart"`
	Split    bool     `json:"split,omitempty"` // a file for each usage point
}

// Same reports whether two questions are alike.
func (q *Question) Same(o *Question) bool { return reflect.DeepEqual(q, o) }

// File is a whole file of an export.
type File struct {
	Name   string `json:"name"` // relative to the directory
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Part is one line of a manifest: some usage points that follow each other.
type Part struct {
	Part    int              `json:"part"` // from 1
	After   string           `json:"after,omitempty"`
	Next    string           `json:"next,omitempty"` // empty: the last
	Points  int              `json:"points"`
	Rows    int64            `json:"rows"`
	Files   []File           `json:"files"`
	Skipped []export.Skipped `json:"skipped,omitempty"`
	Unnamed int              `json:"unnamed,omitempty"` // more that were skipped, in parts of more than a thousand
}

// Summary is the last line of a manifest: only a whole export has it.
type Summary struct {
	Whole   bool  `json:"whole"`
	Parts   int   `json:"parts"`
	Points  int   `json:"points"`
	Rows    int64 `json:"rows"`
	Files   int   `json:"files"`
	Bytes   int64 `json:"bytes"`
	Skipped int   `json:"skipped"`
}

func (s *Summary) add(p *Part) {
	s.Parts++
	s.Points += p.Points
	s.Rows += p.Rows
	s.Skipped += len(p.Skipped) + p.Unnamed
	s.Files += len(p.Files)
	for _, f := range p.Files {
		s.Bytes += f.Bytes
	}
}

// maxLine bounds a line of a journal, bytes.
const maxLine = 16 << 20

// readJournal reads a journal or manifest and calls f with each part. Its last line may be torn where the export was killed: size
// is that of the whole lines. end is nil for an unfinished one.
func readJournal(r io.Reader, f func(*Part) error) (q Question, end *Summary, size int64, err error) {
	buf := make([]byte, 0, 64<<10)
	chunk := make([]byte, 64<<10)
	for n := 0; ; {
		line, rest, whole := bytes.Cut(buf, []byte("\n"))
		if !whole {
			k, err := r.Read(chunk)
			buf = append(buf, chunk[:k]...)
			if errors.Is(err, io.EOF) && k == 0 {
				return q, end, size, nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return q, end, size, err
			}
			if len(buf) > maxLine && !bytes.Contains(buf, []byte("\n")) {
				return q, end, size, errors.New("a line is longer than any of ours")
			}
			continue
		}
		n++
		switch {
		case end != nil:
			err = errors.New("lines behind the last one")
		case n == 1:
			err = decode(line, &q)
		case bytes.HasPrefix(line, []byte(`{"whole":`)):
			end = &Summary{}
			err = decode(line, end)
		default:
			var p Part
			if err = decode(line, &p); err == nil {
				err = f(&p)
			}
		}
		if err != nil {
			return q, end, size, fmt.Errorf("line %d: %w", n, err)
		}
		size += int64(len(line)) + 1
		buf = rest
	}
}

func decode(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// appendLine adds a line to a journal and syncs it.
func appendLine(f *os.File, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes names in a directory durable. Systems that cannot sync a directory keep them in order by themselves.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// local reports whether a name of a manifest lies in the directory.
func local(name string) bool { return filepath.IsLocal(name) && name != "" }
