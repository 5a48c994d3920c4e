package exportfile

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/wattbus/wattbus/internal/export"
)

// Join makes one file of a finished export's parts: under a temporary name first, which it gives up once all is on disk. It
// leaves the parts where they are. The manifest tells the file's checksum; it is there when the file is.
func (x *Export) Join(ctx context.Context, head export.Head, file, manifestFile string) (f File, err error) {
	manifest, err := os.Open(x.path(Manifest))
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, manifest.Close()) }()
	var names []string
	all := Part{Part: 1}
	q, sum, _, err := readJournal(bufio.NewReader(manifest), func(p *Part) error {
		for _, f := range p.Files {
			names = append(names, f.Name)
		}
		all.Points += p.Points
		all.Rows += p.Rows
		all.Skipped = append(all.Skipped, p.Skipped...)
		all.Unnamed += p.Unnamed
		return ctx.Err()
	})
	if err != nil {
		return f, err
	}
	if sum == nil {
		return f, fmt.Errorf("%s: its last line is missing: it %w", manifest.Name(), ErrChanged)
	}
	temp := file + ".unfinished"
	out, err := os.Create(temp)
	if err != nil {
		return f, err
	}
	defer func() {
		if out != nil {
			_ = out.Close()
			_ = os.Remove(temp)
		}
	}()
	p := &partial{f: out, w: bufio.NewWriterSize(out, 256<<10), sum: sha256.New()}
	var part *os.File
	closePart := func() error {
		if part == nil {
			return nil
		}
		err := part.Close()
		part = nil
		return err
	}
	err = export.Join(head, p, func() (export.Part, int64, error) {
		if err := errors.Join(closePart(), ctx.Err()); err != nil {
			return nil, 0, err
		}
		if len(names) == 0 {
			return nil, 0, io.EOF
		}
		var err error
		if part, err = os.Open(x.path(names[0])); err != nil {
			return nil, 0, err
		}
		names = names[1:]
		info, err := part.Stat()
		if err != nil {
			return nil, 0, err
		}
		return part, info.Size(), nil
	})
	if err := errors.Join(err, closePart()); err != nil {
		return f, fmt.Errorf("putting the parts together: %w", err)
	}
	if err := errors.Join(p.w.Flush(), out.Sync(), out.Close()); err != nil {
		return f, err
	}
	out = nil
	f = File{Name: filepath.Base(file), Bytes: p.n, SHA256: fmt.Sprintf("%x", p.sum.Sum(nil))}
	all.Files = []File{f}
	whole := Summary{Whole: true}
	whole.add(&all)
	if err := writeManifest(manifestFile, q, all, whole); err != nil {
		return f, err
	}
	if err := os.Rename(temp, file); err != nil {
		return f, err
	}
	return f, syncDir(filepath.Dir(file))
}

func writeManifest(name string, lines ...any) (err error) {
	temp := name + ".unfinished"
	m, err := os.Create(temp)
	if err != nil {
		return err
	}
	for _, l := range lines {
		if err == nil {
			err = appendLine(m, l)
		}
	}
	if err = errors.Join(err, m.Close()); err != nil {
		return err
	}
	return os.Rename(temp, name)
}

// VerifyFile reads a file that Join made and compares it with its manifest.
func VerifyFile(ctx context.Context, file, manifestFile string) (sum Summary, q Question, err error) {
	m, err := os.Open(manifestFile)
	if err != nil {
		return sum, q, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	q, end, _, err := readJournal(bufio.NewReader(m), func(p *Part) error {
		if len(p.Files) != 1 {
			return fmt.Errorf("%d files: %w", len(p.Files), ErrOther)
		}
		sum.add(p)
		return errors.Join(ctx.Err(), verifyFile(file, p.Files[0]))
	})
	if err != nil {
		return sum, q, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if end == nil {
		return sum, q, fmt.Errorf("%s: its last line is missing: it %w", manifestFile, ErrChanged)
	}
	sum.Whole = true
	return sum, q, nil
}
