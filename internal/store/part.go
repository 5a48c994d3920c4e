package store

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/wattbus/wattbus/internal/cim"
)

// Part is what one device's block adds up to. Estimated and Edited are of the Values.
type Part struct {
	Wh                                 uint64
	Values, Missing, Estimated, Edited uint16
}

// PartOf adds up a block.
func PartOf(b *Block) (p Part) {
	for i, wh := range b.Wh {
		switch q := b.Quality[i]; {
		case wh != cim.NoValue:
			p.Wh += uint64(wh)
			p.Values++
			switch q {
			case cim.Estimated:
				p.Estimated++
			case cim.Edited:
				p.Edited++
			}
		case q != cim.Joined:
			p.Missing++
		}
	}
	return p
}

// Parts are those of the blocks of one day and channel that one commit brought, packed. A backend keeps them beside the blocks, so that
// adding up a day by device need not unpack those.
//
//	u8  format: 1
//	then for each block: zigzag varint device, the difference to the one before, the first to 0; uvarint Wh; uvarint Values<<1 | whether
//	the others follow: uvarints Missing, Estimated, Edited
type Parts struct {
	Data []byte
	last uint32
}

const partsFormat = 0x01

// Add appends a block's part.
func (p *Parts) Add(b *Block) {
	if p.Data == nil {
		p.Data = []byte{partsFormat}
	}
	x := PartOf(b)
	p.Data = binary.AppendVarint(p.Data, int64(b.Device)-int64(p.last))
	p.last = b.Device
	p.Data = binary.AppendUvarint(p.Data, x.Wh)
	if x.Missing|x.Estimated|x.Edited == 0 {
		p.Data = binary.AppendUvarint(p.Data, uint64(x.Values)<<1)
		return
	}
	p.Data = binary.AppendUvarint(p.Data, uint64(x.Values)<<1|1)
	for _, v := range []uint16{x.Missing, x.Estimated, x.Edited} {
		p.Data = binary.AppendUvarint(p.Data, uint64(v))
	}
}

// EachPart calls f with each part of what Parts packed.
func EachPart(data []byte, f func(device uint32, p Part) error) error {
	r := reader{p: data}
	bad := r.byte() != partsFormat
	small := func() uint16 {
		v := r.uvarint()
		bad = bad || v > maxSlots
		return uint16(v)
	}
	device := int64(0)
	for !bad && len(r.p) > 0 {
		device += r.varint()
		p := Part{Wh: r.uvarint()}
		values := r.uvarint()
		p.Values = uint16(values >> 1)
		if values&1 != 0 {
			p.Missing, p.Estimated, p.Edited = small(), small(), small()
		}
		if bad = bad || r.bad || device < 0 || device > math.MaxUint32 || values>>1 > maxSlots; !bad {
			if err := f(uint32(device), p); err != nil {
				return err
			}
		}
	}
	if bad {
		return fmt.Errorf("parts of %d bytes: %w", len(data), ErrCorrupt)
	}
	return nil
}
