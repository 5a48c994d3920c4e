package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// The files of a backup.
const (
	manifestFile = "manifest.json"
	busFile      = "bus.wbk"
	sqliteFile   = "wattbus.db"
	dumpFile     = "store.pgdump"
)

// format is that of the backups that this program writes and reads.
const format = 1

// ErrDamaged is returned for a backup whose files are not what was written.
var ErrDamaged = errors.New("backup is damaged")

// Manifest says what a backup holds.
type Manifest struct {
	Format  int       `json:"format"`
	Program string    `json:"program"` // version that wrote it
	Begun   time.Time `json:"begun"`   // what was acknowledged before is in the backup
	Ended   time.Time `json:"ended"`
	Files   []File    `json:"files"`
}

// File is a file of a backup.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (m *Manifest) has(name string) bool {
	for _, f := range m.Files {
		if f.Name == name {
			return true
		}
	}
	return false
}

// sumFile returns size and checksum of a file; read is told what was read.
func sumFile(ctx context.Context, dir, name string, read func(n int)) (f File, err error) {
	r, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return f, fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h := sha256.New()
	f.Name = name
	buf := make([]byte, 1<<20)
	for ctx.Err() == nil {
		n, err := r.Read(buf)
		_, _ = h.Write(buf[:n]) // a hash takes all
		f.Bytes += int64(n)
		if read != nil {
			read(n)
		}
		if errors.Is(err, io.EOF) {
			f.SHA256 = hex.EncodeToString(h.Sum(nil))
			return f, nil
		}
		if err != nil {
			return f, fmt.Errorf("backup: %w", err)
		}
	}
	return f, ctx.Err()
}

// readManifest reads the manifest and refuses one that this program cannot follow.
func readManifest(dir string) (m Manifest, err error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("backup %s: no %s there: this is no backup, or one that was not finished", dir, manifestFile)
	}
	if err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&m); err != nil {
		return m, fmt.Errorf("backup %s: %s: %w: %w", dir, manifestFile, ErrDamaged, err)
	}
	if m.Format != format {
		return m, fmt.Errorf("backup %s has format %d, this program reads format %d", dir, m.Format, format)
	}
	for _, f := range m.Files {
		switch f.Name {
		case busFile, sqliteFile, dumpFile:
		default:
			return m, fmt.Errorf("backup %s: %s names a file %.40q: %w", dir, manifestFile, f.Name, ErrDamaged)
		}
	}
	if !m.has(busFile) {
		return m, fmt.Errorf("backup %s: %s lacks %s: %w", dir, manifestFile, busFile, ErrDamaged)
	}
	return m, nil
}

// checkSums compares the files with the manifest.
func checkSums(ctx context.Context, dir string, m *Manifest, progress Progress) error {
	var done, total int64
	for _, f := range m.Files {
		total += f.Bytes
	}
	for _, want := range m.Files {
		got, err := sumFile(ctx, dir, want.Name, func(n int) {
			done += int64(n)
			progress.tell("checksums", done, total)
		})
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("backup %s: %s has %d bytes and checksum %.16s…, was written with %d and %.16s…: %w",
				dir, want.Name, got.Bytes, got.SHA256, want.Bytes, want.SHA256, ErrDamaged)
		}
	}
	return nil
}

// Progress is told how far a part of the work is; nil is told nothing.
type Progress func(part string, done, total int64)

func (p Progress) tell(part string, done, total int64) {
	if p != nil {
		p(part, done, total)
	}
}
