package connector

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
)

var filesKind = kind{check: checkFiles, open: openFiles}

func checkFiles(s *Spec) error {
	f := s.Files
	if f.Dir == "" {
		return errors.New("files.dir: want a directory")
	}
	switch f.Format {
	case "":
		f.Format = "jsonl"
	case "jsonl", "parquet":
	default:
		return fmt.Errorf("files.format: %.40q, want jsonl or parquet", f.Format)
	}
	if s.Encoding != Structured {
		return errors.New("encoding: files hold whole events, want structured")
	}
	if f.RotateEvery == 0 {
		f.RotateEvery = Duration(time.Hour)
	}
	if f.RotateBytes == 0 {
		f.RotateBytes = 256 << 20
	}
	if f.RotateBytes < 1<<10 || f.Keep < 0 {
		return fmt.Errorf("files.rotate-bytes: %d, want at least 1024; files.keep: %d, want 0 for all or more", f.RotateBytes, f.Keep)
	}
	return nil
}

// files writes events as JSON lines. Those that are not finished end in .part; they are finished when they are old or large enough
// and, with format parquet, become another file then.
//
//	NAME-20261129T010203.123Z.jsonl.part ──> NAME-20261129T010203.123Z.jsonl | NAME-….parquet
type files struct {
	name string
	Files
	now func() time.Time
	log *slog.Logger
}

func openFiles(s *Spec, d *deps) (target, error) {
	return &files{name: s.Name, Files: *s.Files, now: time.Now, log: d.log.With("target", s.Name)}, nil
}

const (
	partSuffix = ".jsonl.part"
	badSuffix  = ".jsonl.bad"
)

// connect finishes what an earlier run left.
func (f *files) connect(context.Context) (session, error) {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of files: %w", err)
	}
	left, err := f.parts()
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		if err := cutLine(name); err != nil {
			return nil, err
		}
		if err := f.finish(name); err != nil {
			return nil, err
		}
	}
	s := &fileSession{f: f, end: make(chan struct{}), ended: make(chan struct{}), lock: make(chan struct{}, 1)}
	go s.rotate()
	return s, nil
}

// probe leaves alone what another process may be writing.
func (f *files) probe(context.Context) error {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return fmt.Errorf("directory of files: %w", err)
	}
	h, err := os.CreateTemp(f.Dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("directory of files: %w", err)
	}
	return errors.Join(h.Close(), os.Remove(h.Name()))
}

// parts lists the files of this target that are not finished.
func (f *files) parts() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(f.Dir, f.name+"-*"+partSuffix))
	return slices.DeleteFunc(names, func(n string) bool { return !f.own(n) }), err
}

// own reports whether a file is of this target and not of one whose name begins alike.
func (f *files) own(path string) bool {
	rest := strings.TrimPrefix(filepath.Base(path), f.name+"-")
	return len(rest) > len(fileStamp) && rest[8] == 'T' && rest[len(fileStamp)-1] == 'Z'
}

const fileStamp = "20060102T150405.000Z"

// cutLine takes off what was written of a line before the power went.
func cutLine(name string) error {
	h, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer h.Close()
	end, err := h.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for at := end; at > 0; {
		n := min(at, int64(len(buf)))
		if _, err := h.ReadAt(buf[:n], at-n); err != nil {
			return err
		}
		if i := slices.Index(buf[:n], '\n'); i >= 0 {
			last := int64(strings.LastIndexByte(string(buf[:n]), '\n'))
			return h.Truncate(at - n + last + 1)
		}
		at -= n
	}
	return h.Truncate(0)
}

// finish gives a part its last name, or makes another file of it.
func (f *files) finish(part string) error {
	info, err := os.Stat(part)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return os.Remove(part)
	}
	base := strings.TrimSuffix(part, partSuffix)
	if f.Format == "parquet" {
		err := toParquet(part, base+".parquet")
		if bad := (*lineError)(nil); errors.As(err, &bad) { // somebody else wrote into it, or the disk is at fault
			f.log.Error("a file of events cannot become Parquet and is kept as it is", "file", base+badSuffix, "error", err)
			return os.Rename(part, base+badSuffix)
		}
		if err != nil {
			return err
		}
		if err := os.Remove(part); err != nil {
			return err
		}
	} else if err := os.Rename(part, base+".jsonl"); err != nil {
		return err
	}
	if err := syncDir(f.Dir); err != nil {
		return err
	}
	return f.drop()
}

// drop removes the oldest files above Keep.
func (f *files) drop() error {
	if f.Keep == 0 {
		return nil
	}
	names, err := filepath.Glob(filepath.Join(f.Dir, f.name+"-*."+f.Format))
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !f.own(n) })
	slices.Sort(names)
	for _, n := range names[:max(len(names)-f.Keep, 0)] {
		if err := os.Remove(n); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fileSession is the part that is being written.
type fileSession struct {
	f     *files
	lock  chan struct{} // held by deliver and rotate
	h     *os.File      // nil: none is open
	size  int64
	since time.Time
	buf   []byte

	end, ended chan struct{}
}

func (s *fileSession) gone() <-chan struct{} { return nil }

// deliver returns once the lines are on the disk.
func (s *fileSession) deliver(_ context.Context, events []bus.OutEvent) (int, []refusal, error) {
	s.lock <- struct{}{}
	defer func() { <-s.lock }()
	if err := s.open(); err != nil {
		return 0, nil, err
	}
	s.buf = s.buf[:0]
	for i := range events {
		s.buf = append(appendStructured(s.buf, &events[i]), '\n')
	}
	n, err := s.h.Write(s.buf)
	if err == nil {
		err = s.h.Sync()
	}
	if err != nil { // what was written comes again, and must not fill the disk each time
		return 0, nil, errors.Join(fmt.Errorf("write events: %w", err), s.h.Truncate(s.size), s.abandon())
	}
	s.size += int64(n)
	if s.size >= s.f.RotateBytes {
		return len(events), nil, s.finish() // with an error: connect finishes it
	}
	return len(events), nil, nil
}

func (s *fileSession) open() error {
	if s.h != nil {
		return nil
	}
	at := s.f.now().UTC()
	for {
		h, err := os.OpenFile(filepath.Join(s.f.Dir, s.f.name+"-"+at.Format(fileStamp)+partSuffix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			at = at.Add(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		s.h, s.size, s.since = h, 0, time.Now()
		return syncDir(s.f.Dir)
	}
}

// abandon leaves a part to the next connect.
func (s *fileSession) abandon() error {
	h := s.h
	s.h = nil
	return h.Close()
}

func (s *fileSession) finish() error {
	if s.h == nil {
		return nil
	}
	name := s.h.Name()
	if err := s.abandon(); err != nil {
		return err
	}
	return s.f.finish(name)
}

// rotate finishes a file that is old enough, also when nothing more comes.
func (s *fileSession) rotate() {
	defer close(s.ended)
	every := time.Duration(s.f.RotateEvery)
	tick := time.NewTicker(min(max(every/10, 10*time.Millisecond), 10*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-s.end:
			return
		case <-tick.C:
		}
		s.lock <- struct{}{}
		if s.h != nil && time.Since(s.since) >= every {
			_ = s.finish() // connect finishes what is left
		}
		<-s.lock
	}
}

func (s *fileSession) close() error {
	close(s.end)
	<-s.ended
	return s.finish()
}

// eachLine calls f with every line of a file of JSON lines.
func eachLine(name string, f func(line []byte) error) error {
	h, err := os.Open(name)
	if err != nil {
		return err
	}
	defer h.Close()
	r := bufio.NewReaderSize(h, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // cutLine took off what is no line
		}
		if err == nil {
			err = f(line)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
}
