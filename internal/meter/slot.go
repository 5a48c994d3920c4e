package meter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// FileSlot is a Slot in a file.
type FileSlot struct {
	path string
	room int64

	mu   sync.Mutex
	file *os.File // nil: not open
}

// NewFileSlot makes a slot of a file, which need not be there, for images of so many bytes. It opens nothing yet.
func NewFileSlot(path string, room int64) *FileSlot { return &FileSlot{path: path, room: room} }

// Room implements Slot.
func (s *FileSlot) Room() int64 { return s.room }

// Begin implements Slot.
func (s *FileSlot) Begin(_ context.Context, size int64) error {
	f, err := s.open()
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(0), f.Truncate(size), f.Sync()); err != nil {
		return fmt.Errorf("memory for images: %w", err)
	}
	return syncDir(filepath.Dir(s.path))
}

func (s *FileSlot) open() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		return s.file, nil
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("memory for images: %w", err)
	}
	s.file = f
	return f, nil
}

// WriteAt implements Slot.
func (s *FileSlot) WriteAt(p []byte, off int64) (int, error) {
	f, err := s.open()
	if err != nil {
		return 0, err
	}
	return f.WriteAt(p, off)
}

// ReadAt implements Slot.
func (s *FileSlot) ReadAt(p []byte, off int64) (int, error) {
	f, err := s.open()
	if err != nil {
		return 0, err
	}
	return f.ReadAt(p, off)
}

// Sync implements Slot.
func (s *FileSlot) Sync() error {
	f, err := s.open()
	if err != nil {
		return err
	}
	return f.Sync()
}

// Close closes the file.
func (s *FileSlot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// MemorySlot is a Slot in memory, which it takes for an image only: for simulations, and tests.
type MemorySlot struct {
	room int64
	mu   sync.Mutex
	b    []byte
}

// NewMemorySlot makes a slot for images of so many bytes.
func NewMemorySlot(room int64) *MemorySlot { return &MemorySlot{room: room} }

// Room implements Slot.
func (s *MemorySlot) Room() int64 { return s.room }

// Begin implements Slot.
func (s *MemorySlot) Begin(_ context.Context, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = make([]byte, size)
	return nil
}

// WriteAt implements Slot.
func (s *MemorySlot) WriteAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off < 0 || off+int64(len(p)) > int64(len(s.b)) {
		return 0, io.ErrShortWrite
	}
	return copy(s.b[off:], p), nil
}

// ReadAt implements Slot.
func (s *MemorySlot) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off < 0 || off >= int64(len(s.b)) {
		return 0, io.EOF
	}
	n := copy(p, s.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Sync implements Slot.
func (s *MemorySlot) Sync() error { return nil }
