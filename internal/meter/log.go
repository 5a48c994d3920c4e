package meter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/wattbus/wattbus/internal/topic"
)

// LogName is the file that a Log keeps in its directory.
const LogName = "meters.log"

const (
	logHeader = "wattbus meter state 1\n"
	// A log is rewritten when it is larger than logSlack and logGrowth times what it held when it was last rewritten.
	logSlack  = 1 << 20
	logGrowth = 4
	// maxLogRecord bounds one record: a snapshot with every list full is below 12 KiB.
	maxLogRecord = 64 << 10
)

// Log is a Store in one file for any number of meters. Changes are appended, with a checksum each; one write and one fsync
// serve all the agents that save at the same time. It is rewritten in place of itself (temporary file, fsync, rename) when most
// of it is outdated. It holds the states in memory, about 200 bytes a meter plus 40 bytes a remembered command.
//
//	file   = "wattbus meter state 1\n" record*
//	record = length u32 · CRC-32C of the rest u32 · id length u8 · id · change (see State)
type Log struct {
	path   string
	logger *slog.Logger

	commit sync.Mutex // held by the goroutine that writes
	file   *os.File   // guarded by commit
	size   int64      // guarded by commit
	live   int64      // size after it was last rewritten; guarded by commit

	mu      sync.Mutex
	states  map[string]*State
	pending []byte // records not written yet
	ticket  uint64 // of the last record in pending
	written uint64 // the last ticket that is on the disk
	err     error  // once writing failed, nothing more is promised
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenLog opens the log in a directory and makes both if they are missing. Only one process may have it open. What a crash
// left incomplete at its end was never promised: it is cut off, after a copy went to meters.log.torn.
func OpenLog(dir string, logger *slog.Logger) (*Log, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("state directory of meters: %w", err)
	}
	l := &Log{path: filepath.Join(dir, LogName), logger: logger, states: make(map[string]*State)}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("state of meters: %w", err)
	}
	l.file = f
	if err := l.open(dir); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("state of meters in %s: %w", l.path, err)
	}
	return l, nil
}

func (l *Log) open(dir string) error {
	if err := lock(l.file); err != nil {
		return fmt.Errorf("another process has it open: %w", err)
	}
	b, err := io.ReadAll(l.file)
	if err != nil {
		return err
	}
	if len(b) < len(logHeader) && bytes.HasPrefix([]byte(logHeader), b) { // new, or a crash while it was new
		if err := l.file.Truncate(0); err != nil {
			return err
		}
		if _, err := l.file.WriteAt([]byte(logHeader), 0); err != nil {
			return err
		}
		if err := l.file.Sync(); err != nil {
			return err
		}
		if err := syncDir(dir); err != nil {
			return err
		}
		l.size = int64(len(logHeader))
	} else {
		if !bytes.HasPrefix(b, []byte(logHeader)) {
			return fmt.Errorf("it does not begin with %q: move it away to begin anew, the meters then register from 1", logHeader)
		}
		n, err := l.replay(b[len(logHeader):])
		if err != nil {
			return err
		}
		l.size = int64(len(logHeader) + n)
		if torn := b[l.size:]; len(torn) > 0 {
			l.logger.Warn("state log was cut off in the middle of a record", "path", l.path, "offset", l.size, "bytes", len(torn))
			if err := os.WriteFile(l.path+".torn", torn, 0o644); err != nil {
				return err
			}
			if err := l.file.Truncate(l.size); err != nil {
				return err
			}
		}
	}
	_, err = l.file.Seek(l.size, io.SeekStart)
	return err
}

// replay applies the records and returns how many bytes of b are good.
func (l *Log) replay(b []byte) (int, error) {
	at := 0
	for {
		rest := b[at:]
		if len(rest) < 8 {
			return at, nil
		}
		n := int(binary.BigEndian.Uint32(rest))
		if n < 2 || n > maxLogRecord || len(rest)-8 < n {
			return at, nil
		}
		body := rest[8 : 8+n]
		if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(rest[4:]) {
			return at, nil
		}
		if int(body[0])+1 > n {
			return 0, fmt.Errorf("record at %d: id of %d bytes in %d: %w", at, body[0], n, ErrState)
		}
		id := string(body[1 : 1+body[0]])
		if err := l.apply(id, body[1+len(id):]); err != nil {
			return 0, fmt.Errorf("record at %d: %w", at, err)
		}
		at += 8 + n
	}
}

func (l *Log) apply(id string, change []byte) error {
	s := l.states[id]
	if s == nil {
		s = &State{}
	}
	if err := s.Apply(change); err != nil {
		return fmt.Errorf("meter %q: %w", id, err)
	}
	l.states[id] = s
	return nil
}

// Load implements Store.
func (l *Log) Load(id string) (State, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.states[id]; s != nil {
		return s.clone(), true, nil
	}
	return State{}, false, nil
}

// Save implements Store: it returns when the change is on the disk.
func (l *Log) Save(id string, change []byte) error {
	if err := topic.CheckID(id); err != nil {
		return err
	}
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return l.err
	}
	if err := l.apply(id, change); err != nil {
		l.mu.Unlock()
		return err
	}
	l.pending = appendRecord(l.pending, id, change)
	l.ticket++
	mine := l.ticket
	l.mu.Unlock()

	// Whoever comes first writes for all who came since the last write; the others find their work done.
	l.commit.Lock()
	defer l.commit.Unlock()
	l.mu.Lock()
	if l.written >= mine || l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	batch, last := l.pending, l.ticket
	l.pending = nil
	full := l.size > logSlack+logGrowth*l.live
	if full {
		batch = l.snapshot()
	}
	l.mu.Unlock()
	err := l.write(batch, full)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.err = fmt.Errorf("writing the state of meters to %s: %w", l.path, err)
		return l.err
	}
	l.written = last
	return nil
}

func appendRecord(dst []byte, id string, change []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(id)))
	dst = append(append(dst, id...), change...)
	body := dst[at+8:]
	binary.BigEndian.PutUint32(dst[at:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[at+4:], crc32.Checksum(body, castagnoli))
	return dst
}

// write appends a batch, or puts it in the place of the file.
func (l *Log) write(batch []byte, instead bool) error {
	if l.file == nil {
		return os.ErrClosed
	}
	if instead {
		return l.rewrite(batch)
	}
	n, err := l.file.Write(batch)
	l.size += int64(n)
	if err != nil {
		return err
	}
	return l.file.Sync()
}

// snapshot is the shortest log with the present states, those of pending changes included; mu is held.
func (l *Log) snapshot() []byte {
	b := []byte(logHeader)
	var change []byte
	for id, s := range l.states {
		change = s.Snapshot(change[:0])
		b = appendRecord(b, id, change)
	}
	return b
}

func (l *Log) rewrite(b []byte) error {
	dir := filepath.Dir(l.path)
	f, err := os.CreateTemp(dir, LogName+".*.tmp")
	if err != nil {
		return err
	}
	if err := l.replaceBy(f, b, dir); err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return err
	}
	return nil
}

func (l *Log) replaceBy(f *os.File, b []byte, dir string) error {
	if err := lock(f); err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), l.path); err != nil {
		return err
	}
	old := l.file
	l.file, l.size, l.live = f, int64(len(b)), int64(len(b))
	return errors.Join(old.Close(), syncDir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file; saving fails from then on.
func (l *Log) Close() error {
	l.commit.Lock()
	defer l.commit.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
