package mdms

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// maxDaySums bounds the parts that all day sums hold: 64 MiB.
const maxDaySums = 4 << 20

// daySums remember what each device's newest block of a day adds up to, for the days that were asked for last and for yesterday, whose
// blocks are counted as they are sealed. What verdicts say goes on top with each question. It knows no day better than the store: what
// it lacks is read.
type daySums struct {
	mu    sync.Mutex
	days  map[sumKey]*daySum
	held  int    // parts of all days
	clock uint64 // of use
}

type sumKey struct {
	day cim.Day
	ch  cim.Channel
}

// daySum is one day. Its fields are guarded by daySums.mu.
type daySum struct {
	parts  []blockPart // by ordinal
	judged map[uint32]judgedPart
	told   bool   // what the store keeps of the day by device is in parts, or it keeps nothing
	puts   uint64 // commits that brought blocks of the day
	used   uint64
}

// blockPart is what a block adds up to where all of its intervals are expected; 16 bytes, of which a million are kept.
type blockPart struct {
	wh                                 uint64
	values, missing, estimated, edited uint16
}

// The values of a blockPart that is none.
const (
	partUnknown = math.MaxUint16
	partNone    = math.MaxUint16 - 1 // there is no block
)

// judgedPart is a block with a verdict of a version.
type judgedPart struct {
	version uint32
	blockPart
}

func (p *part) pack() blockPart {
	return blockPart{uint64(p.wh), uint16(p.values), uint16(p.missing), uint16(p.estimated), uint16(p.edited)}
}

func (b *blockPart) part() part {
	return part{int64(b.wh), int64(b.values), int64(b.missing), int64(b.estimated), int64(b.edited)}
}

func packPart(p store.Part) blockPart {
	return blockPart{p.Wh, p.Values, p.Missing, p.Estimated, p.Edited}
}

// get returns a day, and makes it if it is not there.
func (s *daySums) get(k sumKey, devices int) *daySum {
	d := s.days[k]
	if d == nil {
		if s.days == nil {
			s.days = map[sumKey]*daySum{}
		}
		d = &daySum{judged: map[uint32]judgedPart{}}
		s.days[k] = d
	}
	s.clock++
	d.used = s.clock
	s.grow(d, devices)
	for s.held > maxDaySums && len(s.days) > 1 {
		oldest := k
		for i, o := range s.days {
			if o.used < s.days[oldest].used {
				oldest = i
			}
		}
		s.held -= len(s.days[oldest].parts)
		delete(s.days, oldest)
	}
	return d
}

func (s *daySums) grow(d *daySum, devices int) {
	n := len(d.parts)
	if devices <= n {
		return
	}
	d.parts = append(d.parts, make([]blockPart, devices-n)...)
	for i := n; i < devices; i++ {
		d.parts[i].values = partUnknown
	}
	s.held += devices - n
}

// forget is called when it is not known what the store holds.
func (s *daySums) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.days, s.held = nil, 0
}

// committed counts blocks that the store has now.
func (s *daySums) committed(bs []store.Block, yesterday cim.Day) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var d *daySum
	var last sumKey
	for i := range bs {
		b := &bs[i]
		if k := (sumKey{b.Day, b.Channel}); d == nil || k != last {
			if d = s.days[k]; d == nil && b.Day == yesterday {
				d = s.get(k, 0)
			}
			if d == nil {
				continue
			}
			last = k
			d.puts++
		}
		s.grow(d, int(b.Device)+1)
		d.parts[b.Device] = packPart(store.PartOf(b))
		delete(d.judged, b.Device)
	}
}

// fill adds what was read of a day, whose blocks that came since know better.
func (s *daySums) fill(d *daySum, devices int, lists [][]devicePart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range lists {
		for i := range list {
			if p := &list[i]; d.parts[p.device].values == partUnknown {
				d.parts[p.device] = p.blockPart
			}
		}
	}
	for i := range d.parts[:devices] {
		if d.parts[i].values == partUnknown {
			d.parts[i].values = partNone
		}
	}
}

// recall takes over what the store keeps of a day by device, the first time that it is asked for: else all of its blocks would have to
// be unpacked.
func (s *daySums) recall(ctx context.Context, st store.Store, k sumKey, devices int) error {
	s.mu.Lock()
	d := s.get(k, devices)
	told := d.told
	s.mu.Unlock()
	if told {
		return nil
	}
	read := make([]blockPart, devices)
	for i := range read {
		read[i].values = partNone
	}
	all, err := st.DayParts(ctx, k.day, k.ch, func(device uint32, p store.Part) error {
		if int(device) < devices {
			read[device] = packPart(p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.told = true
	for i := range read {
		if all && d.parts[i].values == partUnknown { // blocks that came since know better
			d.parts[i] = read[i]
		}
	}
	return nil
}

// readDay is readSealed of a whole day of which few blocks are to be read; done says so. Else the day is to be read, and filled in.
func (m *MDMS) readDay(ctx context.Context, x *slice, of []sealedSpan, verdicts map[uint32]*store.Verdict) (out []devicePart, d *daySum, done bool, err error) {
	s := &m.sums
	s.mu.Lock()
	d = s.get(sumKey{x.day, x.channel}, len(of))
	puts := d.puts
	out = make([]devicePart, 0, len(of))
	var singly []int // of out
	for i := range of {
		k, b, n := &of[i], &d.parts[i], uint32(i)
		if k.s == nil || b.values == partNone {
			continue
		}
		v := verdicts[n]
		j, judged := d.judged[n]
		switch whole := k.begin <= x.lo && k.end >= x.hi; {
		case whole && v == nil && b.values != partUnknown:
			out = append(out, devicePart{n, *b})
		case whole && v != nil && judged && j.version == v.Version:
			out = append(out, devicePart{n, j.blockPart})
		default:
			singly = append(singly, len(out))
			out = append(out, devicePart{device: n})
		}
	}
	s.mu.Unlock()
	if len(singly) > fewLacking {
		return nil, d, false, nil
	}
	raw, none := make([]devicePart, 0, len(singly)), []uint32(nil)
	for _, at := range singly {
		p := &out[at]
		q := store.BlockQuery{Device: p.device, Channel: x.channel, From: x.day, To: x.day + 1}
		k, found := &of[p.device], false
		if err := m.o.Store.Blocks(ctx, q, func(b *store.Block) error {
			found = true
			sum, err := x.ofBlock(b, k.begin, k.end, verdicts[p.device])
			p.blockPart = sum.pack()
			raw = append(raw, devicePart{p.device, packPart(store.PartOf(b))})
			return err
		}); err != nil {
			return nil, nil, false, err
		}
		if !found {
			none = append(none, p.device)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range raw {
		if p := &raw[i]; d.parts[p.device].values == partUnknown {
			d.parts[p.device] = p.blockPart
		}
	}
	for _, n := range none {
		if d.parts[n].values == partUnknown {
			d.parts[n].values = partNone
		}
	}
	if d.puts == puts {
		for _, at := range singly {
			p := &out[at]
			if k, v := &of[p.device], verdicts[p.device]; v != nil && k.begin <= x.lo && k.end >= x.hi {
				d.judged[p.device] = judgedPart{v.Version, p.blockPart}
			}
		}
	}
	if len(none) > 0 {
		out = slices.DeleteFunc(out, func(p devicePart) bool { _, is := slices.BinarySearch(none, p.device); return is })
	}
	for i := range out {
		of[out[i].device].s = nil
	}
	return out, d, true, nil
}
