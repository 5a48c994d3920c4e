package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// Blocks that one commit brings of one day and channel are kept once more, turned round: what all devices measured in a slot lies close
// together, so that a question about a slot need not look into each block. It takes about as much as the values in the blocks, and goes with
// them.
//
// There is a head and a span for each two hours of the day. An interval belongs to the span in which it ends.
//
// Head:
//
//	u8      format: 4
//	uvarint number of classes, then for each:
//	  uvarint length of its intervals, minutes; uvarint factor of all of their values, one of slotFactors
//	  uvarint number of devices, then for each: zigzag varint device, the difference to the one before, the first to 0
//	  runs    of versions until all devices have one: uvarint n; uvarint version
//
// Span, for each class and each of its intervals that ends in it:
//
//	uvarint bytes that follow
//	runs    of quality until all devices are told of: uvarint n<<4 | has value<<3 | quality
//	bits    the values in factors, in groups of up to 32, as riceWriter packs them
//
// The devices of a class are in the order of about how much they measured that day, so that the values of a group are alike.
//
// Few devices are not turned round; the head has their blocks, and there are no spans:
//
//	u8      format: 2
//	then for each: zigzag varint device, the difference to the one before, the first to 0; uvarint version; uvarint length, minutes; uvarint
//	  bytes that follow; the block without registers, packed as blocks are
//
// As long as a day has only few at a time, as where there are few meters, they are only named:
//
//	u8      format: 3
//	then for each: zigzag varint device, the difference to the one before, the first to 0
//
// Format 1 is that of before, which is still read: as 4, but each device has its uvarint version behind it in place of the runs, and the values
// are in groups of up to 8: u8 bit width w, then the w-bit integers, in factors, lowest bit first, filled up to a whole byte.
const (
	slotWidths = 0x01
	slotFew    = 0x02
	slotNames  = 0x03
	slotRice   = 0x04
)

// slotFactors are what the values of a class may be multiples of. Meters count in steps of 1, 10 or more Wh; where they count over longer
// intervals than are kept, also in halves of these.
var slotFactors = [...]uint32{1000, 500, 100, 50, 10, 5}

const (
	// SlotSpans is the number of spans of a day.
	SlotSpans    = 12
	slotSpan     = 86400 / SlotSpans
	fewSlotBlock = 64 // devices: of fewer, the slots would have more bytes of their own than of values
)

// slotClass are the devices whose intervals have the same length and values the same factor.
type slotClass struct {
	length  uint16
	factor  uint32
	devices []uint32
	version []uint32
}

// SlotHead tells of which devices spans are.
type SlotHead struct {
	Devices int
	Named   []uint32 // devices of whose blocks no more is told
	widths  bool     // the spans are of format 1
	classes []slotClass
	few     []fewSlots
}

// Turned reports whether the head has spans.
func (h *SlotHead) Turned() bool { return len(h.classes) > 0 }

// fewSlots is a block in a head.
type fewSlots struct {
	device, version uint32
	length          uint16
	data            []byte
}

// keyedBlock is a block with what decides where it goes.
type keyedBlock struct {
	b      *Block
	length uint16
	factor uint32
	size   int // about, of its values: those of a group are to be alike
}

// PackSlots packs blocks, of each device the newest; turned says that some of the day are turned round already. part 0 is the head, the others are the spans from 1 to SlotSpans, none where they are in the head.
func PackSlots(bs []*Block, turned bool) (parts [][]byte, err error) {
	switch bs = newest(bs); {
	case len(bs) > fewSlotBlock:
	case !turned:
		head, last := []byte{slotNames}, uint32(0)
		for _, b := range bs {
			head = binary.AppendVarint(head, int64(b.Device)-int64(last))
			last = b.Device
		}
		return [][]byte{head}, nil
	default:
		head, err := packFewSlots(bs)
		return [][]byte{head}, err
	}
	all := make([]keyedBlock, len(bs))
	for i, b := range bs {
		if n, err := slots(b.Length); err != nil || len(b.Wh) != n || len(b.Quality) != n {
			return nil, fmt.Errorf("block of device %d on %v with %d values of %d minutes", b.Device, b.Day, len(b.Wh), b.Length)
		}
		k := keyedBlock{b: b, length: b.Length, factor: slotFactor(b.Wh)}
		sum := uint64(0)
		for _, wh := range b.Wh {
			if wh != cim.NoValue {
				sum += uint64(wh)
			}
		}
		k.size = bits.Len64(sum)
		k.size = k.size<<2 | int(sum>>max(k.size-3, 0)&3)
		all[i] = k
	}
	joinClasses(all)
	slices.SortFunc(all, func(a, b keyedBlock) int {
		return cmp.Or(cmp.Compare(a.length, b.length), cmp.Compare(a.factor, b.factor), cmp.Compare(a.size, b.size), cmp.Compare(a.b.Device, b.b.Device))
	})
	same := func(a, b keyedBlock) bool { return a.length == b.length && a.factor == b.factor }
	var classes [][]keyedBlock
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && same(all[from], all[to]) {
			to++
		}
		classes = append(classes, all[from:to])
		from = to
	}
	head := binary.AppendUvarint([]byte{slotRice}, uint64(len(classes)))
	for _, c := range classes {
		head = binary.AppendUvarint(head, uint64(c[0].length))
		head = binary.AppendUvarint(head, uint64(c[0].factor))
		head = binary.AppendUvarint(head, uint64(len(c)))
		last := uint32(0)
		for _, k := range c {
			head = binary.AppendVarint(head, int64(k.b.Device)-int64(last))
			last = k.b.Device
		}
		for from := 0; from < len(c); {
			to := from + 1
			for to < len(c) && c[to].b.Version == c[from].b.Version {
				to++
			}
			head = binary.AppendUvarint(head, uint64(to-from))
			head = binary.AppendUvarint(head, uint64(c[from].b.Version))
			from = to
		}
	}
	parts = append(parts, head)
	var section []byte
	var values riceWriter
	for span := range SlotSpans {
		p := []byte{} // also if nothing ends in it
		for _, c := range classes {
			from, to := slotsOfSpan(c[0].length, span)
			for i := from; i < to; i++ {
				section = section[:0]
				var buf [riceGroup]uint32
				var run uint64
				key, n, factor := uint8(0), 0, c[0].factor
				for _, k := range c {
					wh, now := k.b.Wh[i], uint8(k.b.Quality[i])
					if now > 7 {
						return nil, fmt.Errorf("block of device %d on %v: quality %d of interval %d, want at most 7", k.b.Device, k.b.Day, now, i)
					}
					if wh != cim.NoValue {
						now |= 8
						if factor != 1 {
							wh /= factor
						}
						buf[n] = wh
						if n++; n == riceGroup {
							values.group(buf[:])
							n = 0
						}
					}
					if run > 0 && now != key {
						section = binary.AppendUvarint(section, run<<4|uint64(key))
						run = 0
					}
					key = now
					run++
				}
				section = binary.AppendUvarint(section, run<<4|uint64(key))
				if n > 0 {
					values.group(buf[:n])
				}
				section = values.flush(section)
				p = binary.AppendUvarint(p, uint64(len(section)))
				p = append(p, section...)
			}
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// slotFactor is the greatest of slotFactors that divides all values, 1 if none does.
func slotFactor(all []uint32) uint32 {
	var g uint32
	for _, wh := range all {
		if wh != cim.NoValue {
			if g = gcd(wh, g); g == 1 {
				return 1
			}
		}
	}
	for _, f := range slotFactors {
		if g%f == 0 {
			return f
		}
	}
	return 1
}

// joinClasses gives the blocks of classes that are too small the factor of the next larger one, which divides theirs: each class has some
// bytes of its own in every slot.
func joinClasses(all []keyedBlock) {
	type class struct {
		length uint16
		factor uint32
	}
	number := map[class]int{}
	for i := range all {
		number[class{all[i].length, all[i].factor}]++
	}
	for f, factor := range slotFactors {
		next := uint32(1)
		if f+1 < len(slotFactors) {
			next = slotFactors[f+1]
		}
		for c, n := range number {
			if c.factor != factor || n >= riceGroup {
				continue
			}
			for i := range all {
				if k := &all[i]; k.length == c.length && k.factor == factor {
					k.factor = next
				}
			}
			number[class{c.length, next}] += n
		}
	}
}

func packFewSlots(bs []*Block) ([]byte, error) {
	head, last := []byte{slotFew}, uint32(0)
	var data []byte
	for _, b := range bs {
		var err error
		if data, err = AppendBlock(data[:0], &Block{Device: b.Device, Day: b.Day, Length: b.Length, Wh: b.Wh, Quality: b.Quality}); err != nil {
			return nil, err
		}
		head = binary.AppendVarint(head, int64(b.Device)-int64(last))
		head = binary.AppendUvarint(head, uint64(b.Version))
		head = binary.AppendUvarint(head, uint64(b.Length))
		head = binary.AppendUvarint(head, uint64(len(data)))
		head = append(head, data...)
		last = b.Device
	}
	return head, nil
}

// newest are the blocks of which there is no newer version.
func newest(bs []*Block) []*Block {
	ascending := true
	for i := 1; i < len(bs) && ascending; i++ {
		ascending = bs[i-1].Device < bs[i].Device
	}
	if ascending { // as they come nearly always
		return bs
	}
	of := map[uint32]*Block{}
	for _, b := range bs {
		if k := of[b.Device]; k == nil || k.Version < b.Version {
			of[b.Device] = b
		}
	}
	return slices.DeleteFunc(slices.Clone(bs), func(b *Block) bool { return of[b.Device] != b })
}

// slotsOfSpan are the intervals of a length that end in a span.
func slotsOfSpan(length uint16, span int) (from, to int) {
	step := int(length) * 60
	return span * slotSpan / step, (span + 1) * slotSpan / step
}

// Spans are those in which intervals of a part of a day end, from 0 up to the last but one.
func (w Within) Spans() (from, to int) {
	return int(w.From / slotSpan), int((w.To + slotSpan - 1) / slotSpan)
}

// UnpackSlotHead reads a head.
func UnpackSlotHead(p []byte) (*SlotHead, error) {
	r := reader{p: p}
	h := &SlotHead{}
	switch r.byte() {
	case slotRice:
	case slotWidths:
		h.widths = true
	case slotFew:
		return h, h.unpackFew(&r)
	case slotNames:
		return h, h.unpackNames(&r)
	default:
		r.bad = true
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		length, factor, devices := r.uvarint(), r.uvarint(), r.uvarint()
		if r.bad || length == 0 || length > 1440 || 1440%length != 0 || factor == 0 || factor > 1000 || devices == 0 || devices > uint64(len(r.p)) {
			r.bad = true
			break
		}
		c := slotClass{uint16(length), uint32(factor), make([]uint32, devices), make([]uint32, devices)}
		last := int64(0)
		for i := range c.devices {
			last += r.varint()
			version := uint64(0)
			if h.widths {
				version = r.uvarint()
			}
			if last < 0 || last > math.MaxUint32 || version > math.MaxUint32 {
				r.bad = true
			}
			c.devices[i], c.version[i] = uint32(last), uint32(version)
		}
		for i := 0; i < len(c.version) && !h.widths && !r.bad; {
			run, version := r.uvarint(), r.uvarint()
			if run == 0 || run > uint64(len(c.version)-i) || version > math.MaxUint32 {
				r.bad = true
				break
			}
			for range run {
				c.version[i] = uint32(version)
				i++
			}
		}
		h.Devices += int(devices)
		h.classes = append(h.classes, c)
	}
	if r.bad || len(r.p) != 0 {
		return nil, fmt.Errorf("head of slots of %d bytes: %w", len(p), ErrCorrupt)
	}
	return h, nil
}

func (h *SlotHead) unpackFew(r *reader) error {
	size, last := len(r.p), int64(0)
	for len(r.p) > 0 && !r.bad {
		last += r.varint()
		version, length, n := r.uvarint(), r.uvarint(), r.uvarint()
		if r.bad = r.bad || last < 0 || last > math.MaxUint32 || version > math.MaxUint32 || length > 1440 || n > uint64(len(r.p)); !r.bad {
			h.few = append(h.few, fewSlots{uint32(last), uint32(version), uint16(length), r.p[:n]})
			r.p = r.p[n:]
		}
	}
	if h.Devices = len(h.few); r.bad {
		return fmt.Errorf("head of slots of %d bytes: %w", size, ErrCorrupt)
	}
	return nil
}

func (h *SlotHead) unpackNames(r *reader) error {
	size, last := len(r.p), int64(0)
	for len(r.p) > 0 && !r.bad {
		last += r.varint()
		r.bad = r.bad || last < 0 || last > math.MaxUint32
		h.Named = append(h.Named, uint32(last))
	}
	if h.Devices = len(h.Named); r.bad {
		return fmt.Errorf("head of slots of %d bytes: %w", size, ErrCorrupt)
	}
	return nil
}

// Each calls f with all devices, i counted from 0.
func (h *SlotHead) Each(f func(i int, device uint32)) {
	for i, d := range h.Named {
		f(i, d)
	}
	for i, k := range h.few {
		f(i, k.device)
	}
	i := 0
	for _, c := range h.classes {
		for _, d := range c.devices {
			f(i, d)
			i++
		}
	}
}

// Blocks calls f with what is wanted of each device, but those that are Named, that take, by the number that Each counts, says; all of which is as UnpackSlots leaves it.
// spans are those that w.Spans says; they are not looked at where the head has the blocks. The block is f's until it returns.
func (h *SlotHead) Blocks(w Within, spans [][]byte, b *Block, take []bool, f func(*Block) error) error {
	for i, k := range h.few {
		if !take[i] {
			continue
		}
		b.Device, b.Version, b.Length = k.device, k.version, k.length
		if err := w.Unpack(b, k.data); err != nil {
			return fmt.Errorf("device %d: %w", k.device, err)
		}
		if err := f(b); err != nil {
			return err
		}
	}
	if !h.Turned() {
		return nil
	}
	first, last := w.Spans()
	if len(spans) != last-first {
		return fmt.Errorf("%d spans of slots, want %d: %w", len(spans), last-first, ErrCorrupt)
	}
	readers := make([]reader, len(spans))
	for i := range spans {
		readers[i].p = spans[i]
	}
	at := 0
	var columns [][]uint32
	var qualities [][]cim.Quality
	for _, c := range h.classes {
		step, n := uint32(c.length)*60, len(c.devices)
		lo, hi := int(w.From/step), int(w.To/step)
		columns, qualities = columns[:0], qualities[:0]
		for k := range readers {
			r := &readers[k]
			from, to := slotsOfSpan(c.length, first+k)
			for i := from; i < to; i++ {
				size := r.uvarint()
				if r.bad || size > uint64(len(r.p)) {
					return fmt.Errorf("slot of %d devices: %w", n, ErrCorrupt)
				}
				section := reader{p: r.p[:size]}
				r.p = r.p[size:]
				if i < lo || i >= hi {
					continue
				}
				wh, quality := make([]uint32, n), make([]cim.Quality, n)
				if !section.slot(&c, h.widths, wh, quality) {
					return fmt.Errorf("slot of %d devices: %w", n, ErrCorrupt)
				}
				columns, qualities = append(columns, wh), append(qualities, quality)
			}
		}
		b.HasReg, b.Register, b.Anchors, b.Came, b.Length = false, 0, nil, nil, c.length
		all := 1440 / int(c.length)
		b.Wh, b.Quality = append(b.Wh[:0], nothing[:all]...), slices.Grow(b.Quality[:0], all)[:all]
		clear(b.Quality)
		for j := range n {
			if take[at+j] {
				b.Device, b.Version = c.devices[j], c.version[j]
				for i := range columns {
					b.Wh[lo+i], b.Quality[lo+i] = columns[i][j], qualities[i][j]
				}
				if err := f(b); err != nil {
					return err
				}
			}
		}
		at += n
	}
	for k := range readers {
		if len(readers[k].p) != 0 {
			return fmt.Errorf("span of slots of %d bytes: %w", len(spans[k]), ErrCorrupt)
		}
	}
	return nil
}

// slot reads one slot of a class.
func (r *reader) slot(c *slotClass, widths bool, wh []uint32, quality []cim.Quality) bool {
	n, left := len(wh), 0
	for at := 0; at < n && !r.bad; {
		k := r.uvarint()
		run := k >> 4
		if run == 0 || run > uint64(n-at) {
			return false
		}
		for i := at; i < at+int(run); i++ {
			quality[i] = cim.Quality(k & 7)
			if k&8 == 0 {
				wh[i] = cim.NoValue
			}
		}
		if k&8 != 0 {
			left += int(run)
		}
		at += int(run)
	}
	values := r.slotWidths
	if !widths {
		values = r.slotRice
	}
	at, limit := 0, uint32((noValue-1)/uint64(c.factor))
	return !r.bad && values(left, func(vs []uint32) bool {
		for _, v := range vs {
			if v > limit {
				return false
			}
			for wh[at] == cim.NoValue {
				at++
			}
			wh[at] = v * c.factor
			at++
		}
		return true
	}) && len(r.p) == 0
}

// slotWidths calls f with groups of n values in all as they are in format 1.
func (r *reader) slotWidths(n int, f func([]uint32) bool) bool {
	var buf [group]uint64
	var out [group]uint32
	for n > 0 {
		vs := r.bits(buf[:min(group, n)])
		if r.bad {
			return false
		}
		n -= len(vs)
		for i, v := range vs {
			out[i] = uint32(min(v, noValue))
		}
		if !f(out[:len(vs)]) {
			return false
		}
	}
	return true
}

// slotRice is slotWidths for format 4.
func (r *reader) slotRice(n int, f func([]uint32) bool) bool {
	in := riceReader{p: r.p}
	var buf [riceGroup]uint32
	for n > 0 {
		vs := buf[:min(riceGroup, n)]
		if n -= len(vs); !in.group(vs) || !f(vs) {
			return false
		}
	}
	r.p = r.p[in.bytes():]
	return true
}
