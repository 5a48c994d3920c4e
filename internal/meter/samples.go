package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"

	"github.com/wattbus/wattbus/internal/record"
)

// maxSamples bounds the memory of what was measured: 45 days of minutes and some reads on demand, 32 bytes each.
const maxSamples = 70_000

// SamplesName is the file that Samples keeps in its directory.
const SamplesName = "profile.bin"

const (
	samplesHeader = "wattbus meter profile 1 32 bytes" // as long as a record
	sampleSize    = 32
	samplesSlack  = 16 << 10 // a file below is not written anew
)

// Samples is the profile memory of a meter with hardware: its registers at the ends of intervals and at reads on demand. The zero
// value keeps them in memory; OpenSamples in a file as well, which grows by a record and one fsync a measurement and is written anew
// when half of it is outdated.
//
//	file   = header record*
//	record = time u32 · import u64 · export u64 · power i32 · voltage u16 · flags u16 · CRC-32C of these u32
type Samples struct {
	mu   sync.Mutex
	list []sample // in order of time
	file *os.File // nil: none
	path string
	size int64
	bad  bool // writing failed: nothing more is promised
}

type sample struct {
	at uint32 // meter's clock
	Sample
}

// OpenSamples opens the file in a directory, or makes both. Only one process may have it open. A record that a crash left
// incomplete at the end is cut off.
func OpenSamples(dir string) (*Samples, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of the load profile: %w", err)
	}
	s := &Samples{path: filepath.Join(dir, SamplesName)}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("load profile: %w", err)
	}
	s.file = f
	if err := s.open(dir); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("load profile %s: %w", s.path, err)
	}
	return s, nil
}

func (s *Samples) open(dir string) error {
	if err := lock(s.file); err != nil {
		return fmt.Errorf("another process has it open: %w", err)
	}
	b, err := io.ReadAll(s.file)
	if err != nil {
		return err
	}
	if len(b) < sampleSize {
		if string(b) != samplesHeader[:len(b)] {
			return fmt.Errorf("it does not begin with %q: move it away to begin anew", samplesHeader)
		}
		if err := s.rewrite(); err != nil {
			return err
		}
		return syncDir(dir)
	}
	if string(b[:sampleSize]) != samplesHeader {
		return fmt.Errorf("it does not begin with %q: move it away to begin anew", samplesHeader)
	}
	s.size = sampleSize
	for rest := b[sampleSize:]; len(rest) >= sampleSize; rest = rest[sampleSize:] {
		be := binary.BigEndian
		if crc32.Checksum(rest[:28], castagnoli) != be.Uint32(rest[28:]) {
			if len(rest) >= 2*sampleSize { // a torn write is the last one
				return fmt.Errorf("the record at %d is damaged: move the file away to begin anew, the centre has what it fetched", s.size)
			}
			break
		}
		s.insert(sample{be.Uint32(rest), Sample{be.Uint64(rest[4:]), be.Uint64(rest[12:]), int32(be.Uint32(rest[20:])), be.Uint16(rest[24:]), record.Flags(be.Uint16(rest[26:]))}})
		s.size += sampleSize
	}
	if err := s.file.Truncate(s.size); err != nil {
		return err
	}
	_, err = s.file.Seek(s.size, io.SeekStart)
	return err
}

func (m sample) append(dst []byte) []byte {
	be, at := binary.BigEndian, len(dst)
	dst = be.AppendUint64(be.AppendUint64(be.AppendUint32(dst, m.at), m.Import), m.Export)
	dst = be.AppendUint16(be.AppendUint16(be.AppendUint32(dst, uint32(m.Power)), m.Voltage), uint16(m.Flags))
	return be.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// search finds the first sample at or behind a time.
func (s *Samples) search(at uint32) int {
	return sort.Search(len(s.list), func(i int) bool { return s.list[i].at >= at })
}

// insert puts a sample in its place, instead of an older one of that time, and forgets what is too old or too much.
func (s *Samples) insert(m sample) {
	i := s.search(m.at)
	if i < len(s.list) && s.list[i].at == m.at {
		s.list[i] = m
		return
	}
	s.list = slices.Insert(s.list, i, m)
	newest := s.list[len(s.list)-1].at
	drop := max(s.search(newest-min(newest, cutMemory)), len(s.list)-maxSamples)
	if drop > 0 {
		s.list = slices.Delete(s.list, 0, drop)
	}
}

// put keeps a sample; it returns when it is on the disk.
func (s *Samples) put(at uint32, v Sample) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := sample{at, v}
	s.insert(m)
	if s.file == nil {
		if s.path != "" {
			return os.ErrClosed
		}
		return nil
	}
	if s.bad {
		return errors.New("writing failed before")
	}
	if s.size > samplesSlack && s.size > 2*sampleSize*int64(len(s.list)+1) {
		return s.failed(s.rewrite())
	}
	n, err := s.file.Write(m.append(nil))
	s.size += int64(n)
	if err == nil {
		err = s.file.Sync()
	}
	return s.failed(err)
}

func (s *Samples) failed(err error) error {
	s.bad = s.bad || err != nil
	return err
}

// rewrite puts a file with what is remembered in the place of the present one.
func (s *Samples) rewrite() error {
	b := []byte(samplesHeader)
	for _, m := range s.list {
		b = m.append(b)
	}
	dir := filepath.Dir(s.path)
	f, err := os.CreateTemp(dir, SamplesName+".*.tmp")
	if err != nil {
		return err
	}
	err = lock(f)
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	old := s.file
	s.file, s.size = f, int64(len(b))
	return errors.Join(old.Close(), syncDir(dir))
}

// cut forgets what lies behind a time: the clock was set back to it.
func (s *Samples) cut(after uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.search(after + 1)
	if i == len(s.list) {
		return nil
	}
	s.list = s.list[:i]
	if s.file == nil {
		return nil
	}
	return s.failed(s.rewrite())
}

// at is the sample of a time, false if there is none.
func (s *Samples) at(t uint32) (Sample, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.search(t); i < len(s.list) && s.list[i].at == t {
		return s.list[i].Sample, true
	}
	return Sample{}, false
}

// register is a channel's register at a time, Wh.
func (s *Samples) register(c record.Channel, t uint32) (uint64, bool) {
	v, ok := s.at(t)
	if c == record.ChannelExport {
		return v.Export, ok
	}
	return v.Import, ok
}

// interval is the energy of a channel in [from, to), Wh; false if it is not known.
func (s *Samples) interval(c record.Channel, from, to uint32) (uint32, bool) {
	a, ok := s.register(c, from)
	b, ok2 := s.register(c, to)
	if !ok || !ok2 || b < a || b-a >= uint64(record.NoValue) {
		return 0, false
	}
	return uint32(b - a), true
}

// Close closes the file; keeping fails from then on.
func (s *Samples) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
