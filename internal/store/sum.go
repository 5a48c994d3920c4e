package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/wattbus/wattbus/internal/cim"
)

// DaySum adds up the sealed days of one channel. Slots are as long as the shortest interval of the day.
type DaySum struct {
	Length uint16 // minutes of a slot
	Slots  []SlotSum
	Blocks int64 // devices whose day is sealed
}

// SlotSum is one slot of a DaySum. An interval that is longer than a slot counts in the slot at whose end it ends.
type SlotSum struct {
	Wh      uint64
	Values  int64 // intervals with a value
	Missing int64 // intervals without one
}

// maxDevice is past the ordinal of every device.
const maxDevice = 1 << 32

// SumDay adds up a day: from the tally that the store keeps of it or, of a day from before there were tallies, by reading the
// newest version of every block, in as many parts at once as there are processors.
func SumDay(ctx context.Context, s Store, day cim.Day, ch cim.Channel) (DaySum, error) {
	t, err := s.DayTally(ctx, day, ch)
	if err == nil && t == nil {
		t, err = ReadTally(ctx, s, day, ch)
	}
	if err != nil {
		return DaySum{}, err
	}
	return t.Sum(), nil
}

// ReadTally counts a day anew.
func ReadTally(ctx context.Context, s Store, day cim.Day, ch cim.Channel) (*Tally, error) {
	last, err := s.LastDevice(ctx)
	if err != nil {
		return nil, err
	}
	parts := min(max(runtime.GOMAXPROCS(0), 1), 8)
	sums, errs := make([]Tally, parts), make([]error, parts)
	step := (uint64(last) + uint64(parts)) / uint64(parts)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			to := uint64(i+1) * step
			if i == parts-1 {
				to = maxDevice
			}
			errs[i] = s.DayBlocks(ctx, DayQuery{Day: day, Channel: ch, From: uint64(i) * step, To: to}, func(b *Block) error { sums[i].Add(b); return nil })
		})
	}
	wg.Wait()
	for i := range parts {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if i > 0 {
			sums[0].merge(&sums[i])
		}
	}
	return &sums[0], nil
}

// Tally counts the newest versions of one day's blocks of one channel, by the length of their intervals. A backend keeps one
// for each day and channel, and changes it in the commit that brings the blocks.
type Tally struct {
	lengths []lengthTally // ascending
}

type lengthTally struct {
	length uint16
	blocks int64
	slots  []SlotSum
}

func (t *Tally) of(length uint16) *lengthTally {
	i := 0
	for ; i < len(t.lengths) && t.lengths[i].length <= length; i++ {
		if t.lengths[i].length == length {
			return &t.lengths[i]
		}
	}
	t.lengths = slices.Insert(t.lengths, i, lengthTally{length: length, slots: make([]SlotSum, 1440/int(length))})
	return &t.lengths[i]
}

// Add counts a block.
func (t *Tally) Add(b *Block) { t.count(b, 1) }

// Remove takes a block out that was counted, since a newer version takes its place.
func (t *Tally) Remove(b *Block) { t.count(b, -1) }

func (t *Tally) count(b *Block, by int64) {
	l := t.of(b.Length)
	l.blocks += by
	for i := range min(len(b.Wh), len(l.slots)) {
		s := &l.slots[i]
		switch wh := b.Wh[i]; {
		case wh != cim.NoValue:
			s.Wh += uint64(int64(wh) * by)
			s.Values += by
		case b.Quality[i] != cim.Joined:
			s.Missing += by
		}
	}
}

func (t *Tally) merge(o *Tally) {
	for _, theirs := range o.lengths {
		ours := t.of(theirs.length)
		ours.blocks += theirs.blocks
		for i, s := range theirs.slots {
			ours.slots[i].Wh += s.Wh
			ours.slots[i].Values += s.Values
			ours.slots[i].Missing += s.Missing
		}
	}
}

// Sum puts all lengths on the grid of the shortest, each interval where it ends.
func (t *Tally) Sum() DaySum {
	out := DaySum{Length: 1440}
	for _, l := range t.lengths {
		if l.blocks > 0 {
			out.Length = gcd16(out.Length, l.length)
		}
		out.Blocks += l.blocks
	}
	out.Slots = make([]SlotSum, 1440/int(out.Length))
	for _, l := range t.lengths {
		if l.blocks <= 0 {
			continue
		}
		for i, from := range l.slots {
			s := &out.Slots[(i+1)*int(l.length/out.Length)-1]
			s.Wh += from.Wh
			s.Values += from.Values
			s.Missing += from.Missing
		}
	}
	return out
}

// tallyFormat: a byte, then for each length: uvarint length in minutes, uvarint blocks, and for each slot uvarints Wh, values,
// missing.
const tallyFormat = 0x01

// Append packs the tally behind dst.
func (t *Tally) Append(dst []byte) []byte {
	dst = append(dst, tallyFormat)
	for _, l := range t.lengths {
		dst = binary.AppendUvarint(dst, uint64(l.length))
		dst = binary.AppendUvarint(dst, uint64(l.blocks))
		for _, s := range l.slots {
			dst = binary.AppendUvarint(dst, s.Wh)
			dst = binary.AppendUvarint(dst, uint64(s.Values))
			dst = binary.AppendUvarint(dst, uint64(s.Missing))
		}
	}
	return dst
}

// UnpackTally reads what Append wrote.
func UnpackTally(p []byte) (*Tally, error) {
	r := reader{p: p}
	t := &Tally{}
	bad := r.byte() != tallyFormat
	for last := uint64(0); !bad && len(r.p) > 0; {
		length, blocks := r.uvarint(), r.uvarint()
		if r.bad || length <= last || length > 1440 || 1440%length != 0 || 3*(1440/length) > uint64(len(r.p)) {
			bad = true
			break
		}
		last = length
		l := t.of(uint16(length))
		l.blocks = int64(blocks)
		for i := range l.slots {
			l.slots[i] = SlotSum{Wh: r.uvarint(), Values: int64(r.uvarint()), Missing: int64(r.uvarint())}
		}
		bad = r.bad
	}
	if bad {
		return nil, fmt.Errorf("tally of %d bytes: %w", len(p), ErrCorrupt)
	}
	return t, nil
}

func gcd16(a, b uint16) uint16 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
