package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

// packSlotWidths packs blocks, of each device one, in format 1 as programs did before, if in another order.
func packSlotWidths(bs []*Block) (parts [][]byte) {
	type class struct {
		length uint16
		factor uint32
	}
	of := map[class][]*Block{}
	var classes []class
	for _, b := range bs {
		c := class{b.Length, 1000}
		for _, wh := range b.Wh {
			for wh != cim.NoValue && wh%c.factor != 0 {
				c.factor /= 10
			}
		}
		if of[c] == nil {
			classes = append(classes, c)
		}
		of[c] = append(of[c], b)
	}
	head := binary.AppendUvarint([]byte{slotWidths}, uint64(len(classes)))
	for _, c := range classes {
		head = binary.AppendUvarint(head, uint64(c.length))
		head = binary.AppendUvarint(head, uint64(c.factor))
		head = binary.AppendUvarint(head, uint64(len(of[c])))
		last := uint32(0)
		for _, b := range of[c] {
			head = binary.AppendVarint(head, int64(b.Device)-int64(last))
			head = binary.AppendUvarint(head, uint64(b.Version))
			last = b.Device
		}
	}
	parts = append(parts, head)
	for span := range SlotSpans {
		p := []byte{}
		for _, c := range classes {
			from, to := slotsOfSpan(c.length, span)
			for i := from; i < to; i++ {
				var section, values []byte
				var vs []uint64
				for _, b := range of[c] {
					key := uint64(b.Quality[i])
					if b.Wh[i] != cim.NoValue {
						key |= 8
						vs = append(vs, uint64(b.Wh[i]/c.factor))
					}
					section = binary.AppendUvarint(section, 1<<4|key)
				}
				for at := 0; at < len(vs); at += group {
					values = appendBits(values, vs[at:min(at+group, len(vs))])
				}
				p = binary.AppendUvarint(p, uint64(len(section)+len(values)))
				p = append(append(p, section...), values...)
			}
		}
		parts = append(parts, p)
	}
	return parts
}

// TestSlotWidths: what programs kept before is read as ever.
func TestSlotWidths(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for _, n := range []int{1, 9, 300} {
		bs := slotBlocks(r, n)
		parts := packSlotWidths(bs)
		for _, w := range []Within{{0, 900}, {7200 - 900, 7200}, {3600, 3 * 3600}, {0, 86400}} {
			got, err := unpackSlots(parts, w)
			if want := blocksWithin(t, bs, w); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%d devices, %+v: %v\n got %+v\nwant %+v", n, w, err, got, want)
			}
		}
		for cut := 0; cut < len(parts[12]); cut += 1 + r.IntN(1+len(parts[12])/50) {
			short := append([][]byte(nil), parts...)
			short[12] = parts[12][:cut]
			if _, err := unpackSlots(short, Within{79_200, 86400}); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d devices, a span of %d bytes: %v", n, cut, err)
			}
		}
	}
	half := func(device, wh uint32) *Block {
		return &Block{Device: device, Length: 720, Version: 1, Wh: []uint32{wh, cim.NoValue}, Quality: []cim.Quality{cim.Raw, cim.Missing}}
	}
	parts := packSlotWidths([]*Block{half(100, 30), half(101, 50)})
	raw := byte(cim.Raw)
	if want := []byte{0x01, 1, 0xd0, 0x05, 10, 2, 0xc8, 0x01, 1, 2, 1}; !bytes.Equal(parts[0], want) { // as the format says, whatever the test packs
		t.Errorf("a head is %x, want %x", parts[0], want)
	}
	if want := []byte{4, 0x18 | raw, 0x18 | raw, 3, 5<<3 | 3}; !bytes.Equal(parts[6], want) {
		t.Errorf("a span is %x, want %x", parts[6], want)
	}
}
