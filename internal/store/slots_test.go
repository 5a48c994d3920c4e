package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

// slotBlocks are blocks of all lengths that go well with each other and that do not.
func slotBlocks(r *rand.Rand, n int) (bs []*Block) {
	lengths := []uint16{15, 15, 15, 30, 60, 5, 1, 240, 1440}
	for i := range n {
		b := &Block{Device: uint32(i)*3 + r.Uint32N(3), Day: 17, Length: lengths[r.IntN(min(len(lengths), 1+n/3))], Version: 1 + r.Uint32N(3)*r.Uint32N(2)}
		factor := []uint32{1, 10, 100, 1000, 5, 500, 7}[r.IntN(7)]
		for range 1440 / int(b.Length) {
			wh, q := r.Uint32N(1000)*factor, cim.Raw
			switch r.IntN(30) {
			case 0:
				wh, q = cim.NoValue, cim.Missing
			case 1:
				wh, q = cim.NoValue, cim.Joined
			case 2:
				q = cim.Recovered
			case 3:
				wh = cim.NoValue - 1 - r.Uint32N(5)
			}
			b.Wh, b.Quality = append(b.Wh, wh), append(b.Quality, q)
		}
		bs = append(bs, b)
	}
	r.Shuffle(len(bs), func(i, j int) { bs[i], bs[j] = bs[j], bs[i] })
	return bs
}

// unpackSlots returns what is told of each device.
func unpackSlots(parts [][]byte, w Within) (map[uint32]Block, error) {
	h, err := UnpackSlotHead(parts[0])
	if err != nil {
		return nil, err
	}
	take := make([]bool, h.Devices)
	for i := range take {
		take[i] = true
	}
	first, last := w.Spans()
	spans := make([][]byte, last-first)
	if len(parts) > 1 {
		spans = parts[1+first : 1+last]
	}
	out := map[uint32]Block{}
	b := Block{Day: 17}
	err = h.Blocks(w, spans, &b, take, func(b *Block) error {
		k := *b
		k.Wh, k.Quality = append([]uint32(nil), b.Wh...), append([]cim.Quality(nil), b.Quality...)
		out[b.Device] = k
		return nil
	})
	return out, err
}

// blocksWithin are the parts of blocks, by device, out of packed blocks.
func blocksWithin(t *testing.T, bs []*Block, w Within) map[uint32]Block {
	t.Helper()
	out := map[uint32]Block{}
	for _, b := range bs {
		p, err := AppendBlock(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		k := Block{Device: b.Device, Day: b.Day, Length: b.Length, Version: b.Version}
		if err := w.Unpack(&k, p); err != nil {
			t.Fatal(err)
		}
		out[b.Device] = k
	}
	return out
}

// TestSlots: what is told of a part of the day is what the blocks tell.
func TestSlots(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 2, 9, fewSlotBlock, fewSlotBlock + 1, 300} {
		bs := slotBlocks(r, n)
		parts, err := PackSlots(bs, true)
		if err != nil {
			t.Fatal(err)
		}
		if want := 1; n > fewSlotBlock && len(parts) != 1+SlotSpans || n <= fewSlotBlock && len(parts) != want {
			t.Fatalf("%d devices make %d parts", n, len(parts))
		}
		for _, w := range []Within{{0, 900}, {7200 - 900, 7200}, {7200, 7260}, {3600, 3 * 3600}, {86400 - 900, 86400}, {12 * 3600, 86400}, {0, 86400}} {
			got, err := unpackSlots(parts, w)
			if err != nil {
				t.Fatal(err)
			}
			if want := blocksWithin(t, bs, w); !reflect.DeepEqual(got, want) {
				t.Fatalf("%d devices, %+v:\n got %+v\nwant %+v", n, w, got, want)
			}
		}
	}
	b := slotBlocks(r, 1)[0]
	b.Quality[3] = 8
	if _, err := PackSlots([]*Block{b}, true); err == nil {
		t.Error("a quality that does not fit is packed")
	}
	b.Wh = b.Wh[1:]
	if _, err := PackSlots([]*Block{b}, true); err == nil {
		t.Error("a block that lacks intervals is packed")
	}
}

// TestSlotBytes are those of meters with half days: of two, and of 65 with the same values.
func TestSlotBytes(t *testing.T) {
	day := func(device uint32, a, b uint32) *Block {
		return &Block{Device: device, Length: 720, Version: 1, Wh: []uint32{a, b}, Quality: []cim.Quality{cim.Raw, cim.Raw}, Register: 5, HasReg: true, Came: []byte{1}}
	}
	few, err := PackSlots([]*Block{day(9, 30, 40), day(7, 50, cim.NoValue)}, true)
	if err != nil {
		t.Fatal(err)
	}
	named, err := PackSlots([]*Block{day(9, 30, 40), day(7, 50, cim.NoValue)}, false)
	if err != nil || len(named) != 1 || !bytes.Equal(named[0], []byte{3, 18, 3}) {
		t.Errorf("named are %x, %v", named, err)
	}
	if h, err := UnpackSlotHead(named[0]); err != nil || !reflect.DeepEqual(h, &SlotHead{Devices: 2, Named: []uint32{9, 7}}) {
		t.Errorf("named are %+v, %v", h, err)
	}
	if _, err := UnpackSlotHead([]byte{3, 18, 19}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a device below 0: %v", err)
	}
	var bs []*Block
	for i := range uint32(65) {
		bs = append(bs, day(100+i, 30, cim.NoValue))
	}
	many, err := PackSlots(bs, true)
	if err != nil {
		t.Fatal(err)
	}
	raw := byte(cim.Raw)
	wantFew := []byte{
		0x02,                 // format
		18, 1, 0xd0, 0x05, 6, // device 9, version 1, of 720 minutes, 6 bytes
		0x01, 2<<4 | 8 | raw, 10, 3, 1, 0b10, // in tens, from 3 on, a bit each
		3, 1, 0xd0, 0x05, 6, // device 7, two less
		0x01, 1<<4 | 8 | raw, 1<<4 | raw, 50, 1, 0, // in fifties, from 1 on, no bits
	}
	head := []byte{
		0x04,               // format
		1,                  // class
		0xd0, 0x05, 10, 65, // of 720 minutes, values in tens, 65 devices
		0xc8, 0x01, // device 100
	}
	for range 64 {
		head = append(head, 2) // the next device
	}
	head = append(head, 65, 1) // 65 of version 1
	if len(few) != 1 || !bytes.Equal(few[0], wantFew) {
		t.Errorf("few are %x, want %x", few, wantFew)
	}
	threes := func(n int) string { return "10000" + strings.Repeat("101", n) } // one bit of each by itself: a one and a zero for the rest
	noon := append([]byte{29, 0x98 | raw, 0x08}, bitText(threes(32)+threes(32)+threes(1))...)
	if len(many) != 1+SlotSpans || !bytes.Equal(many[0], head) || len(many[1]) != 0 || !bytes.Equal(many[6], noon) ||
		!bytes.Equal(many[12], []byte{2, 0x90 | raw, 0x08}) {
		t.Errorf("many are %x, want %x at noon; their head %x, want %x", many, noon, many[0], head)
	}
	for n := range head {
		if _, err := unpackSlots(append([][]byte{head[:n]}, many[1:]...), Within{0, 86400}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a head of %d bytes: %v", n, err)
		}
	}
	for n := range many[6] {
		cut := append([][]byte(nil), many...)
		cut[6] = cut[6][:n]
		if _, err := unpackSlots(cut, Within{0, 86400}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a span of %d bytes: %v", n, err)
		}
	}
	whole := map[int]bool{1: true, 12: true}
	for n := range wantFew {
		if _, err := unpackSlots([][]byte{wantFew[:n]}, Within{0, 86400}); !errors.Is(err, ErrCorrupt) && !whole[n] {
			t.Errorf("few, cut to %d bytes: %v", n, err)
		}
	}
}

// bitText are bits, the first one the lowest, filled up to a whole byte.
func bitText(s string) (out []byte) {
	for i, c := range s {
		if i%8 == 0 {
			out = append(out, 0)
		}
		out[i/8] |= byte(c-'0') << (i % 8)
	}
	return out
}

func FuzzPackedSlots(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 5, 100} {
		parts, err := PackSlots(slotBlocks(r, n), true)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(parts[0], parts[len(parts)-1], uint32(79_200), uint32(86_400))
		f.Add([]byte{3, 18, 3}, []byte{}, uint32(0), uint32(900))
		parts = packSlotWidths(slotBlocks(r, n))
		f.Add(parts[0], parts[3], uint32(14_400), uint32(21_600))
	}
	f.Fuzz(func(t *testing.T, head, span []byte, from, to uint32) {
		w := Within{from % 86400, to % 86401}
		if w.From >= w.To {
			return
		}
		parts := [][]byte{head}
		for range SlotSpans {
			parts = append(parts, span)
		}
		_, _ = unpackSlots(parts, w) // whatever it says, it says something
	})
}

func BenchmarkPackSlots(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var bs []*Block
	for i := range uint32(4000) {
		k := &Block{Device: i, Length: 15, Version: 1}
		for range 96 {
			k.Wh, k.Quality = append(k.Wh, r.Uint32N(400)), append(k.Quality, cim.Raw)
		}
		bs = append(bs, k)
	}
	for range b.N {
		if _, err := PackSlots(bs, true); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4000, "ns/block")
}

// BenchmarkSlotOfMany reads one slot of many devices.
func BenchmarkSlotOfMany(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var bs []*Block
	for i := range uint32(4000) {
		k := &Block{Device: i, Length: 15, Version: 1}
		for range 96 {
			k.Wh, k.Quality = append(k.Wh, r.Uint32N(400)), append(k.Quality, cim.Raw)
		}
		bs = append(bs, k)
	}
	for name, parts := range map[string]func() ([][]byte, error){
		"rice":   func() ([][]byte, error) { return PackSlots(bs, true) },
		"widths": func() ([][]byte, error) { return packSlotWidths(bs), nil },
	} {
		b.Run(name, func(b *testing.B) {
			p, err := parts()
			if err != nil {
				b.Fatal(err)
			}
			for range b.N {
				h, err := UnpackSlotHead(p[0])
				if err != nil {
					b.Fatal(err)
				}
				take := slices.Repeat([]bool{true}, h.Devices)
				if err := h.Blocks(Within{39_600, 40_500}, p[6:7], &Block{}, take, func(*Block) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4000, "ns/device")
		})
	}
}
