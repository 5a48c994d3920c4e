package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
)

// Remembered is how many executed commands a meter remembers with their results (contract, section 2: at least 64).
const Remembered = 64

// MaxCuts bounds the cuts that a meter remembers. A meter that is cut off more often within its profile memory forgets the
// oldest ones, and the intervals before them with them.
const MaxCuts = 1024

// Executed is a command that was carried out: its result, and what is needed to send its messages again.
type Executed struct {
	ID       uint64
	Opcode   record.Opcode
	Channel  record.Channel
	Outcome  record.Outcome
	Breaker  record.Breaker
	Flags    record.Flags
	Slot     uint16 // minutes; of a profile
	Time     uint32 // of the result
	Detail   uint32
	Expiry   uint32 // of a breaker command
	From, To uint32 // of a profile, after cutting off: the first slot's start and the last one's end
}

// State is what an agent keeps over restarts.
type State struct {
	Sequence       uint32 // of the last attempt to connect
	First          uint32 // start of the oldest interval ever held
	Floor          uint32 // cuts begin no earlier: the highest time shown before the clock was set back
	PowerLost      uint32 // since when; 0: powered
	Offset         int64  // of the meter's clock against the business clock, seconds
	Interval       uint16 // minutes
	ReadingSeq     uint16
	PowerSeq       uint16
	Spent          uint32 // unknown breaker commands that expire no later are not carried out
	Unsynchronised bool
	Breaker        record.Breaker
	Groups         []uint32
	Base           [2]uint64 // energy in forgotten cuts, Wh, import and export
	Cuts           []Cut
	Executed       []Executed // oldest first, at most Remembered
	Counter        uint32     // of sealed messages: none that is as high was used; 0: none was
	Windows        []SealWindow
	Running        record.FirmwareVersion // that was activated in place; 0: the one that the meter was started with
	Image          *Image                 // nil: none was offered, or it was dropped
}

// Image is what a meter keeps of the image that it receives or has received, beside the image itself.
type Image struct {
	RollOut   uint64
	Activate  uint32
	Expiry    uint32 // of the newest offer, after which it is not activated; 0: none
	BlockSize uint16
	State     record.ImageState
	Reason    record.ImageReason
	Manifest  [record.ManifestSize]byte
	Have      []byte // a bit for each block, the first in the lowest bit of the first byte
}

func (i *Image) clone() *Image {
	if i == nil {
		return nil
	}
	c := *i
	c.Have = append([]byte(nil), i.Have...)
	return &c
}

// ErrState is returned for bytes that are no encoded state.
var ErrState = errors.New("not the state of a meter")

// The encoding of a change: version, the fields of fixed length, the groups, the commands executed since the last change, the
// whole list of cuts where it changed, changed windows, the firmware that runs, and the image where it changed. A snapshot is the change that leads from nothing to the state.
const (
	stateVersion = 5
	fixedSize    = 1 + 4*4 + 8 + 3*2 + 3 + 16 // and 4 for Spent, from version 2 on, and 4 for Counter, from version 3 on
	executedSize = 36                         // 34 in version 1, which kept no expiries
	flagUnsync   = 1 << 0
	flagCuts     = 1 << 1

	imageSame, imageThis, imageNone = 0, 1, 2
	imageFixed                      = 8 + 4 + 2 + 1 + 1 + record.ManifestSize + 2 // and 4 for Expiry, from version 5 on
)

// append encodes the state behind dst, with the last n executed commands, some of its windows, and with its cuts and its image if
// they are wanted.
func (s *State) append(dst []byte, n int, windows []int, cuts, image bool) []byte {
	flags := byte(0)
	if s.Unsynchronised {
		flags |= flagUnsync
	}
	if cuts {
		flags |= flagCuts
	}
	be := binary.BigEndian
	dst = append(dst, stateVersion)
	for _, v := range [...]uint32{s.Sequence, s.First, s.Floor, s.PowerLost} {
		dst = be.AppendUint32(dst, v)
	}
	dst = be.AppendUint64(dst, uint64(s.Offset))
	for _, v := range [...]uint16{s.Interval, s.ReadingSeq, s.PowerSeq} {
		dst = be.AppendUint16(dst, v)
	}
	dst = append(dst, flags, byte(s.Breaker), byte(len(s.Groups)))
	dst = be.AppendUint64(be.AppendUint64(dst, s.Base[0]), s.Base[1])
	for _, g := range s.Groups {
		dst = be.AppendUint32(dst, g)
	}
	dst = be.AppendUint32(be.AppendUint32(dst, s.Spent), s.Counter)
	dst = append(dst, byte(n))
	for _, e := range s.Executed[len(s.Executed)-n:] {
		dst = be.AppendUint64(dst, e.ID)
		dst = append(dst, byte(e.Opcode), byte(e.Channel), byte(e.Outcome), byte(e.Breaker))
		dst = be.AppendUint16(be.AppendUint16(dst, uint16(e.Flags)), e.Slot)
		for _, v := range [...]uint32{e.Time, e.Detail, e.From, e.To} {
			dst = be.AppendUint32(dst, v)
		}
		dst = be.AppendUint32(dst, e.Expiry)
	}
	if cuts {
		dst = be.AppendUint16(dst, uint16(len(s.Cuts)))
		for _, c := range s.Cuts {
			dst = be.AppendUint32(be.AppendUint32(dst, c.From), c.To)
		}
	}
	dst = append(dst, byte(len(windows)))
	for _, i := range windows {
		w := &s.Windows[i]
		dst = w.Window.Append(append(dst, w.Key, w.Event))
	}
	dst = be.AppendUint32(dst, uint32(s.Running))
	i := s.Image
	switch {
	case !image:
		return append(dst, imageSame)
	case i == nil:
		return append(dst, imageNone)
	}
	dst = be.AppendUint32(be.AppendUint64(append(dst, imageThis), i.RollOut), i.Activate)
	dst = append(be.AppendUint16(dst, i.BlockSize), byte(i.State), byte(i.Reason))
	dst = append(dst, i.Manifest[:]...)
	return be.AppendUint32(append(be.AppendUint16(dst, uint16(len(i.Have))), i.Have...), i.Expiry)
}

// Snapshot encodes the whole state behind dst.
func (s *State) Snapshot(dst []byte) []byte {
	all := make([]int, len(s.Windows))
	for i := range all {
		all[i] = i
	}
	return s.append(dst, len(s.Executed), all, true, true)
}

// Apply changes the state as an encoded change says; after an error, which wraps ErrState, it is unchanged.
func (s *State) Apply(b []byte) error {
	if len(b) < fixedSize+1 {
		return fmt.Errorf("%d bytes, want at least %d: %w", len(b), fixedSize+1, ErrState)
	}
	version, each := b[0], executedSize
	if version < 1 || version > stateVersion {
		return fmt.Errorf("version %d, want 1 to %d: %w", version, stateVersion, ErrState)
	}
	be := binary.BigEndian
	n := State{Sequence: be.Uint32(b[1:]), First: be.Uint32(b[5:]), Floor: be.Uint32(b[9:]), PowerLost: be.Uint32(b[13:]),
		Offset: int64(be.Uint64(b[17:])), Interval: be.Uint16(b[25:]), ReadingSeq: be.Uint16(b[27:]), PowerSeq: be.Uint16(b[29:]),
		Unsynchronised: b[31]&flagUnsync != 0, Breaker: record.Breaker(b[32]),
		Base: [2]uint64{be.Uint64(b[34:]), be.Uint64(b[42:])}, Cuts: s.Cuts, Executed: s.Executed, Windows: s.Windows, Image: s.Image}
	withCuts, groups := b[31]&flagCuts != 0, int(b[33])
	b = b[fixedSize:]
	if groups > record.MaxGroups || len(b) < 4*groups+1 {
		return fmt.Errorf("%d groups in %d bytes: %w", groups, len(b), ErrState)
	}
	for range groups {
		n.Groups = append(n.Groups, be.Uint32(b))
		b = b[4:]
	}
	if version == 1 {
		each -= 2
	} else {
		if len(b) < 5 {
			return fmt.Errorf("%d bytes behind the groups, want at least 5: %w", len(b), ErrState)
		}
		n.Spent = be.Uint32(b)
		b = b[4:]
	}
	if version > 2 {
		if len(b) < 5 {
			return fmt.Errorf("%d bytes behind the expiry, want at least 5: %w", len(b), ErrState)
		}
		n.Counter = be.Uint32(b)
		b = b[4:]
	}
	count := int(b[0])
	b = b[1:]
	if count > Remembered || len(b) < count*each {
		return fmt.Errorf("%d commands in %d bytes: %w", count, len(b), ErrState)
	}
	if count > 0 {
		n.Executed = append([]Executed(nil), s.Executed...)
	}
	for range count {
		e := Executed{ID: be.Uint64(b), Opcode: record.Opcode(b[8]), Channel: record.Channel(b[9]),
			Outcome: record.Outcome(b[10]), Breaker: record.Breaker(b[11]), Flags: record.Flags(be.Uint16(b[12:])),
			Slot: be.Uint16(b[14:]), Time: be.Uint32(b[16:]), Detail: be.Uint32(b[20:]), From: be.Uint32(b[24:]), To: be.Uint32(b[28:])}
		if version > 1 {
			e.Expiry = be.Uint32(b[32:])
		}
		spent := n.Spent // as it was when this was written: what is forgotten now was forgotten then
		n.remember(e)
		n.Spent = spent
		b = b[each:]
	}
	if withCuts {
		if len(b) < 2 || len(b)-2 < 8*int(be.Uint16(b)) {
			return fmt.Errorf("cuts in %d bytes: %w", len(b), ErrState)
		}
		count := int(be.Uint16(b))
		b = b[2:]
		n.Cuts = nil
		last := uint32(0)
		for i := range count {
			c := Cut{From: be.Uint32(b), To: be.Uint32(b[4:])}
			b = b[8:]
			if c.From < last || c.To < c.From || last == math.MaxUint32 && i > 0 {
				return fmt.Errorf("cut %d, [%d, %d), is out of order: %w", i, c.From, c.To, ErrState)
			}
			last = c.To
			n.Cuts = append(n.Cuts, c)
		}
	}
	if version > 2 {
		var err error
		if n.Windows, b, err = applyWindows(s.Windows, b); err != nil {
			return err
		}
	}
	if version > 3 {
		var err error
		if b, err = n.applyImage(b, version); err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return fmt.Errorf("%d bytes too many: %w", len(b), ErrState)
	}
	*s = n
	return nil
}

// applyImage reads the firmware that runs, and the image where it changed.
func (s *State) applyImage(b []byte, version byte) (rest []byte, err error) {
	be := binary.BigEndian
	if len(b) < 5 {
		return nil, fmt.Errorf("%d bytes for the firmware, want at least 5: %w", len(b), ErrState)
	}
	s.Running = record.FirmwareVersion(be.Uint32(b))
	how := b[4]
	switch b = b[5:]; how {
	case imageSame:
		return b, nil
	case imageNone:
		s.Image = nil
		return b, nil
	case imageThis:
	default:
		return nil, fmt.Errorf("image of kind %d: %w", how, ErrState)
	}
	if len(b) < imageFixed || len(b) < imageFixed+int(be.Uint16(b[imageFixed-2:])) {
		return nil, fmt.Errorf("image in %d bytes: %w", len(b), ErrState)
	}
	i := &Image{RollOut: be.Uint64(b), Activate: be.Uint32(b[8:]), BlockSize: be.Uint16(b[12:]), State: record.ImageState(b[14]), Reason: record.ImageReason(b[15]),
		Manifest: [record.ManifestSize]byte(b[16:])}
	n := int(be.Uint16(b[imageFixed-2:]))
	i.Have = append([]byte(nil), b[imageFixed:imageFixed+n]...)
	m, err := record.DecodeManifest(&i.Manifest)
	if err != nil || i.BlockSize < record.MinBlockSize || n != (record.Blocks(m.Size, i.BlockSize)+7)/8 {
		return nil, fmt.Errorf("image with %d bytes of blocks of %d: %w", n, i.BlockSize, ErrState)
	}
	b = b[imageFixed+n:]
	if version > 4 {
		if len(b) < 4 {
			return nil, fmt.Errorf("%d bytes behind the image, want 4: %w", len(b), ErrState)
		}
		i.Expiry = be.Uint32(b)
		b = b[4:]
	}
	s.Image = i
	return b, nil
}

// applyWindows puts changed windows in the place of the old ones.
func applyWindows(old []SealWindow, b []byte) (out []SealWindow, rest []byte, err error) {
	const each = 2 + seal.WindowBytes
	if len(b) < 1 || int(b[0]) > maxSealWindows || len(b)-1 < each*int(b[0]) {
		return nil, nil, fmt.Errorf("windows of sealed messages in %d bytes: %w", len(b), ErrState)
	}
	n := int(b[0])
	if b = b[1:]; n == 0 {
		return old, b, nil
	}
	out = append([]SealWindow(nil), old...)
	for range n {
		w := SealWindow{Key: b[0], Event: b[1]}
		if err := w.Window.Decode(b[2:each]); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", err, ErrState)
		}
		b = b[each:]
		if i := slices.IndexFunc(out, func(o SealWindow) bool { return o.Key == w.Key && o.Event == w.Event }); i >= 0 {
			out[i] = w
		} else if out = append(out, w); len(out) > maxSealWindows {
			return nil, nil, fmt.Errorf("more than %d windows of sealed messages: %w", maxSealWindows, ErrState)
		}
	}
	return out, b, nil
}

// remember adds an executed command, or its end where it had begun, and forgets the oldest beyond Remembered.
func (s *State) remember(e Executed) {
	for i := range s.Executed {
		if s.Executed[i].ID == e.ID {
			// To the end: what is saved are the last ones.
			s.Executed = append(slices.Delete(s.Executed, i, i+1), e)
			return
		}
	}
	if len(s.Executed) >= Remembered {
		s.forget(e.Time)
	}
	s.Executed = append(s.Executed, e)
}
