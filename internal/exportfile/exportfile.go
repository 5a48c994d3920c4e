package exportfile

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/wattbus/wattbus/internal/export"
)

// The errors that callers look for.
var (
	ErrOther   = errors.New("holds something else")
	ErrChanged = errors.New("is not what it was")
)

// Sink opens the file that the next bytes go to; name is that of a usage point's own file, "" where a part is one file.
type Sink func(name string) (io.Writer, error)

// Source makes parts: up to limit usage points behind a cursor, into a sink. It repeats what a lost connection cut off by itself;
// begin is called before each try, and empties what there is of the part.
type Source func(ctx context.Context, after string, limit int, begin func() error, to Sink) (export.Result, error)

// Export is an export into a directory.
type Export struct {
	Dir      string
	Question Question
	Source   Source
	// Progress is called behind each part, and while those that are there are verified.
	Progress func(s Summary, verifying bool)

	journal *os.File
	sum     Summary
	files   []File   // of the part under way
	open    *partial // the file under way
}

// Unfinished returns the question of an export that waits in the directory to be continued; whole: of one that is finished.
func Unfinished(dir string) (q Question, whole, there bool, err error) {
	for _, name := range []string{Manifest, journalName} {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return q, false, false, err
		}
		q, _, _, err = readJournal(f, func(*Part) error { return nil })
		if err := errors.Join(err, f.Close()); err != nil {
			return q, false, false, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		return q, name == Manifest, q.Format != "", nil
	}
	return q, false, false, nil
}

// Run makes the export, or what is missing of it. It returns when the manifest is on disk.
func (x *Export) Run(ctx context.Context) (sum Summary, err error) {
	if err := os.MkdirAll(x.Dir, 0o750); err != nil {
		return sum, err
	}
	_, whole, _, err := Unfinished(x.Dir)
	if err != nil {
		return sum, err
	}
	if whole {
		// What is damaged or lacks is made again, as in an export that is under way.
		if sum, err = x.Verify(ctx); err == nil || !errors.Is(err, ErrChanged) && !errors.Is(err, fs.ErrNotExist) {
			return sum, err
		}
		if err := os.Rename(x.path(Manifest), x.path(journalName)); err != nil {
			return sum, err
		}
	}
	if x.journal, err = os.OpenFile(x.path(journalName), os.O_CREATE|os.O_RDWR, 0o640); err != nil {
		return sum, err
	}
	defer func() {
		x.discard()
		if x.journal != nil {
			err = errors.Join(err, x.journal.Close())
			// With nothing to go on from, nothing stays; files of a part that has begun need their journal.
			if names, lerr := os.ReadDir(x.Dir); err != nil && x.sum.Parts == 0 && lerr == nil && len(names) == 1 && names[0].Name() == journalName {
				_ = os.Remove(x.path(journalName))
				_ = os.Remove(x.Dir)
			}
		}
	}()
	next, started, err := x.resume(ctx)
	if err != nil {
		return sum, err
	}
	for n := x.sum.Parts + 1; !started || next != ""; n++ {
		started = true
		p, err := x.part(ctx, n, next, x.Question.Points)
		if err != nil {
			return x.sum, err
		}
		if err := appendLine(x.journal, p); err != nil {
			return x.sum, fmt.Errorf("journal: %w", err)
		}
		next = p.Next
		x.sum.add(p)
		x.Progress(x.sum, false)
	}
	x.sum.Whole = true
	if err := appendLine(x.journal, x.sum); err != nil {
		return x.sum, fmt.Errorf("journal: %w", err)
	}
	err = x.journal.Close()
	x.journal = nil
	if err == nil {
		err = os.Rename(x.path(journalName), x.path(Manifest))
	}
	if err == nil {
		err = syncDir(x.Dir)
	}
	return x.sum, err
}

func (x *Export) path(name string) string { return filepath.Join(x.Dir, filepath.FromSlash(name)) }

// resume reads the journal, verifies the parts that it names and makes those again that are damaged. It returns the cursor from
// which on parts are missing, and whether there are parts at all.
func (x *Export) resume(ctx context.Context) (next string, started bool, err error) {
	var damaged []Part
	var last *Part
	q, end, size, err := readJournal(bufio.NewReader(x.journal), func(p *Part) error {
		if p.Part != x.sum.Parts+1 || last != nil && p.After != last.Next {
			return fmt.Errorf("part %d does not follow part %d", p.Part, x.sum.Parts)
		}
		bad, err := x.verify(ctx, p)
		if err != nil {
			return err
		}
		if bad != nil {
			damaged = append(damaged, *p)
		}
		last = p
		x.sum.add(p)
		x.Progress(x.sum, true)
		return nil
	})
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", x.journal.Name(), err)
	}
	if err := x.journal.Truncate(size); err != nil {
		return "", false, err
	}
	if _, err := x.journal.Seek(size, io.SeekStart); err != nil {
		return "", false, err
	}
	if size == 0 {
		return "", false, errors.Join(appendLine(x.journal, x.Question), syncDir(x.Dir))
	}
	if !q.Same(&x.Question) {
		return "", false, fmt.Errorf("%s %w: an unfinished export of another question; finish it with the flags that it was begun with, or take another directory", x.Dir, ErrOther)
	}
	for i := range damaged {
		p := &damaged[i]
		again, err := x.part(ctx, p.Part, p.After, p.Points+len(p.Skipped)+p.Unnamed)
		if err != nil {
			return "", false, err
		}
		if !reflect.DeepEqual(again.Files, p.Files) {
			return "", false, fmt.Errorf("part %d was damaged, was made again and %w: values as known at %s have changed, or another program version made it; "+
				"begin anew in another directory", p.Part, ErrChanged, x.Question.Known)
		}
	}
	if end != nil { // killed between the last line and the new name
		if err := x.journal.Truncate(x.beforeLast(size)); err != nil {
			return "", false, err
		}
		if _, err := x.journal.Seek(0, io.SeekEnd); err != nil {
			return "", false, err
		}
		return "", true, nil
	}
	if last != nil {
		return last.Next, true, nil
	}
	return "", false, nil
}

// beforeLast is the size of the journal without its last line.
func (x *Export) beforeLast(size int64) int64 {
	b := make([]byte, 1)
	for at := size - 2; at > 0; at-- {
		if _, err := x.journal.ReadAt(b, at); err != nil || b[0] == '\n' {
			return at + 1
		}
	}
	return 0
}

// verify reports what is wrong with a part's files, nil if nothing is.
func (x *Export) verify(ctx context.Context, p *Part) (bad, err error) {
	for _, f := range p.Files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !local(f.Name) {
			return nil, fmt.Errorf("file name %q: %w", f.Name, ErrOther)
		}
		if bad := verifyFile(x.path(f.Name), f); bad != nil {
			return bad, nil
		}
	}
	return nil, nil
}

func verifyFile(path string, want File) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if n != want.Bytes || fmt.Sprintf("%x", h.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("%s %w", path, ErrChanged)
	}
	return nil
}

// Verify reads all of a finished export and tells the first file that is not what its manifest says.
func (x *Export) Verify(ctx context.Context) (Summary, error) {
	f, err := os.Open(x.path(Manifest))
	if err != nil {
		return Summary{}, err
	}
	var sum Summary
	if x.Question.Format != "" {
		if q, _, _, err := Unfinished(x.Dir); err == nil && !q.Same(&x.Question) {
			return sum, errors.Join(fmt.Errorf("%s %w: a finished export of another question; take another directory", x.Dir, ErrOther), f.Close())
		}
	}
	_, end, _, err := readJournal(bufio.NewReader(f), func(p *Part) error {
		bad, err := x.verify(ctx, p)
		sum.add(p)
		x.Progress(sum, true)
		return errors.Join(bad, err)
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return sum, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if end == nil {
		return sum, fmt.Errorf("%s: its last line is missing: it %w", f.Name(), ErrChanged)
	}
	sum.Whole = true
	return sum, nil
}

// part makes a part and gives its files their names.
func (x *Export) part(ctx context.Context, n int, after string, limit int) (*Part, error) {
	begin := func() error {
		x.discard()
		x.files = nil
		return nil
	}
	res, err := x.Source(ctx, after, limit, begin, func(name string) (io.Writer, error) {
		if err := x.close(); err != nil {
			return nil, err
		}
		if name == "" {
			name = fmt.Sprintf("%s-%06d%s", x.Question.What, n, export.Format(x.Question.Format).Extension())
		} else if name = fmt.Sprintf("%06d/%s", n, name); !local(name) {
			return nil, fmt.Errorf("file name %q: %w", name, ErrOther)
		}
		f, err := os.Create(x.path(tempName))
		if err != nil {
			return nil, err
		}
		x.open = &partial{name: name, f: f, w: bufio.NewWriterSize(f, 256<<10), sum: sha256.New()}
		return x.open, nil
	})
	if err == nil {
		err = x.close()
	}
	if err != nil {
		x.discard()
		return nil, err
	}
	dirs := []string{x.Dir}
	if x.Question.Split {
		dirs = append(dirs, x.path(fmt.Sprintf("%06d", n)))
	}
	for _, d := range dirs {
		if err := syncDir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	p := &Part{Part: n, After: after, Next: res.Next, Points: res.Points, Rows: res.Rows, Files: x.files, Skipped: res.Skipped, Unnamed: res.Unnamed}
	x.files = nil
	return p, nil
}

// partial is a file that is not whole yet.
type partial struct {
	name string
	f    *os.File
	w    *bufio.Writer
	sum  hash.Hash
	n    int64
}

func (p *partial) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.sum.Write(b[:n])
	p.n += int64(n)
	return n, err
}

// close makes the file under way durable and gives it its name.
func (x *Export) close() error {
	p := x.open
	if p == nil {
		return nil
	}
	x.open = nil
	if err := errors.Join(p.w.Flush(), p.f.Sync(), p.f.Close()); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := os.MkdirAll(filepath.Dir(x.path(p.name)), 0o750); err != nil {
		return err
	}
	if err := os.Rename(x.path(tempName), x.path(p.name)); err != nil {
		return err
	}
	x.files = append(x.files, File{Name: p.name, Bytes: p.n, SHA256: fmt.Sprintf("%x", p.sum.Sum(nil))})
	return nil
}

// discard drops the file under way. What cannot be removed has a temporary name, and the next try takes it over.
func (x *Export) discard() {
	if x.open != nil {
		_ = x.open.f.Close()
		_ = os.Remove(x.path(tempName))
		x.open = nil
	}
}
