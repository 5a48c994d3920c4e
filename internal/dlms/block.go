package dlms

import (
	"encoding/binary"

	"github.com/wattbus/wattbus/internal/format"
)

// Block is a general-block-transfer APDU (IEC 62056-5-3, clause 9.3.12): a part of an APDU that is longer than what carries it.
//
//	E0       general-block-transfer
//	   80    block control: 0x80 the last block, 0x40 streaming, window
//	   00 01 number of the block, from 1
//	   00 00 number of the block that is acknowledged
//	   nn …  the part
type Block struct {
	Control byte
	Number  uint16
	Ack     uint16
	Data    []byte
}

const (
	tagGeneralBlockTransfer = 0xE0
	lastBlock               = 0x80
)

// Append encodes the block.
func (k *Block) Append(b []byte) []byte {
	b = append(b, tagGeneralBlockTransfer, k.Control)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, k.Number), k.Ack)
	return append(appendLength(b, len(k.Data)), k.Data...)
}

// decode reads a block and returns what is behind it.
func (k *Block) decode(b []byte, at int) (rest []byte, end int, err error) {
	d := decoder{b: b, at: at}
	if t := d.octet("block"); d.err == nil && t != tagGeneralBlockTransfer {
		d.at--
		d.fail("block", format.ErrVersion, "tag 0x%02x, want 0xE0, a further block", t)
	}
	k.Control = d.octet("block control")
	if n := d.take("block number", 4); n != nil {
		k.Number, k.Ack = binary.BigEndian.Uint16(n), binary.BigEndian.Uint16(n[2:])
	}
	k.Data = d.take("block data", d.length("block data"))
	return d.b, d.at, d.err
}

// gather puts together an APDU of which apdu, at an offset of the message b, is the first block; end is where what carried that ends.
// What window and streaming say concerns who sends and acknowledges: here all blocks are there.
func gather(b, apdu []byte, at, end int) ([]byte, int, error) {
	var whole []byte
	for number := 1; ; number++ {
		var k Block
		rest, next, err := k.decode(apdu, at)
		if err != nil {
			return nil, 0, err
		}
		if int(k.Number) != number {
			return nil, 0, format.At("block number", at+2, format.ErrValue, "%d, want %d: blocks of a push stand one after the other in one message", k.Number, number)
		}
		whole = append(whole, k.Data...)
		if last := k.Control&lastBlock != 0; last {
			if len(rest) > 0 || end < len(b) {
				return nil, 0, format.At("message", next, format.ErrLength, "%d octets behind the last block", len(b)-next)
			}
			break
		}
		switch {
		case len(rest) > 0: // a bare one stands right behind
			apdu, at = rest, next
		case end >= len(b):
			return nil, 0, format.At("block", len(b), format.ErrLength, "block %d is not the last one: want all blocks of a push in one message", number)
		default:
			if apdu, at, end, err = carried(b, end); err != nil {
				return nil, 0, err
			}
		}
	}
	if len(whole) > 0 && whole[0] == tagGeneralBlockTransfer {
		return nil, 0, format.At("block data", 0, format.ErrVersion, "blocks within blocks")
	}
	return whole, 0, nil
}
