package seal

import (
	"encoding/binary"
	"fmt"
)

// WindowSize is how many counters a window remembers (contract, section 3).
const WindowSize = 1024

// WindowBytes is the length of an encoded window.
const WindowBytes = 4 + WindowSize/8

// Window lets every counter of one sender, key and event through once: those up to 1,023 below the highest, and any above it. The
// zero value has let none through.
type Window struct {
	Top  uint32
	seen [WindowSize / 64]uint64 // by counter modulo WindowSize
}

// Check says whether a counter may pass: ErrReplay, ErrOld or nil.
func (w *Window) Check(c uint32) error {
	switch {
	case c > w.Top:
		return nil
	case w.Top-c >= WindowSize:
		return fmt.Errorf("%d, newest is %d: %w", c, w.Top, ErrOld)
	case w.seen[c%WindowSize/64]&(1<<(c%64)) != 0:
		return fmt.Errorf("%d: %w", c, ErrReplay)
	}
	return nil
}

// Take lets a counter pass, or says why not.
func (w *Window) Take(c uint32) error {
	if err := w.Check(c); err != nil {
		return err
	}
	switch {
	case c <= w.Top:
	case c-w.Top >= WindowSize:
		w.seen, w.Top = [WindowSize / 64]uint64{}, c
	default:
		for ; w.Top < c; w.Top++ {
			n := w.Top + 1
			w.seen[n%WindowSize/64] &^= 1 << (n % 64)
		}
	}
	w.seen[c%WindowSize/64] |= 1 << (c % 64)
	return nil
}

// Append encodes the window behind dst.
func (w *Window) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, w.Top)
	for _, v := range w.seen {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

// Decode reads a window of WindowBytes.
func (w *Window) Decode(b []byte) error {
	if len(b) != WindowBytes {
		return fmt.Errorf("window of %d bytes, want %d", len(b), WindowBytes)
	}
	w.Top = binary.BigEndian.Uint32(b)
	for i := range w.seen {
		w.seen[i] = binary.BigEndian.Uint64(b[4+8*i:])
	}
	return nil
}

// Stream is what has a window of its own: a sender, its key and the event.
type Stream struct {
	Device string // its id
	Key    byte
	Event  string
}

// Receiver holds the windows of many senders, about 250 bytes each with what they are found by. It is not safe for concurrent use.
type Receiver struct {
	most    int
	windows map[Stream]*Window
	latest  map[string]use
}

type use struct {
	key byte
	top uint32
}

// NewReceiver makes one for so many windows.
func NewReceiver(most int) *Receiver {
	return &Receiver{most: most, windows: map[Stream]*Window{}, latest: map[string]use{}}
}

// ErrFull says that there is no room for another window.
var ErrFull = fmt.Errorf("no room for the windows of another device: %w", ErrKey)

// Take lets a counter pass, or says why not.
func (r *Receiver) Take(s Stream, counter uint32) error {
	w := r.windows[s]
	if w == nil {
		if len(r.windows) >= r.most {
			return ErrFull
		}
		w = &Window{}
		r.windows[s] = w
	}
	if err := w.Take(counter); err != nil {
		return err
	}
	r.use(s, counter)
	return nil
}

// use notes which of its keys a device used last. A device has one counter for all of its keys.
func (r *Receiver) use(s Stream, counter uint32) {
	if u, ok := r.latest[s.Device]; !ok || counter >= u.top {
		r.latest[s.Device] = use{s.Key, counter}
	}
}

// Latest is the key that a device used last.
func (r *Receiver) Latest(device string) (key byte, ok bool) {
	u, ok := r.latest[device]
	return u.key, ok
}

// Append encodes the window of a stream, to be kept.
func (r *Receiver) Append(s Stream, dst []byte) []byte {
	if w := r.windows[s]; w != nil {
		dst = w.Append(dst)
	}
	return dst
}

// Restore takes over a window that was kept.
func (r *Receiver) Restore(s Stream, b []byte) error {
	w := &Window{}
	if err := w.Decode(b); err != nil {
		return fmt.Errorf("%s, key 0x%02x, event %s: %w", s.Device, s.Key, s.Event, err)
	}
	r.windows[s] = w
	r.use(s, w.Top)
	return nil
}

// Len is the number of windows.
func (r *Receiver) Len() int { return len(r.windows) }
