package store

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// MaxChunkRows bounds the rows of a chunk.
const MaxChunkRows = 1 << 20

// A packed chunk is, behind the columns that the backend keeps beside it (day, time of record):
//
//	u8      format: 1, or 2 with the last column
//	uvarint number of rows
//	column  kinds, in runs: uvarint n<<1 | has register, u8 channel<<4 | quality, uvarint length in minutes
//	column  devices: zigzag varint of the difference to the row before, the first to 0
//	column  starts: zigzag varint of the difference, in seconds, to the row before (the first: to the day's start)
//	column  values: uvarint Wh+1, 0 for none
//	column  registers, where there are some: zigzag varint of the difference to what the row before lets expect (its
//	        register plus this row's value, if it is of the same device and channel), else the register itself
//	column  times of record, of rows that were rewritten: zigzag varint of the difference to the row before, the first to 0
//
// One commit's rows come sorted by device, so that devices and starts are mostly one byte, and the registers of a load
// profile none but a zero.
const (
	chunkFormat    = 0x01
	chunkRewritten = 0x02
)

// AppendChunk packs a chunk's rows behind dst.
func AppendChunk(dst []byte, c *Chunk) ([]byte, error) {
	rows := c.Rows
	if len(rows) > MaxChunkRows {
		return dst, fmt.Errorf("chunk of %d rows, want at most %d", len(rows), MaxChunkRows)
	}
	head, format := len(dst), byte(chunkFormat)
	if c.Rewritten() {
		format = chunkRewritten
	}
	dst = binary.AppendUvarint(append(dst, format), uint64(len(rows)))
	for i := 0; i < len(rows); {
		r := &rows[i]
		if err := CheckRow(r); err != nil {
			return dst[:head], fmt.Errorf("chunk: row %d: %w", i, err)
		}
		j := i + 1
		for ; j < len(rows) && rows[j].sameKind(r); j++ {
		}
		has := uint64(0)
		if r.HasReg {
			has = 1
		}
		dst = binary.AppendUvarint(dst, uint64(j-i)<<1|has)
		dst = append(dst, byte(r.Channel)<<4|byte(r.Quality))
		dst = binary.AppendUvarint(dst, uint64(r.Length))
		i = j
	}
	prev := int64(0)
	for i := range rows {
		dst = binary.AppendVarint(dst, int64(rows[i].Device)-prev)
		prev = int64(rows[i].Device)
	}
	prev = int64(c.Day.Start())
	for i := range rows {
		dst = binary.AppendVarint(dst, int64(rows[i].Start)-prev)
		prev = int64(rows[i].Start)
	}
	for i := range rows {
		dst = binary.AppendUvarint(dst, uint64(rows[i].Wh+1)) // wraps to 0 for cim.NoValue
	}
	for i := range rows {
		if rows[i].HasReg {
			dst = binary.AppendVarint(dst, int64(rows[i].Register-predict(rows, i)))
		}
	}
	if format == chunkRewritten {
		prev = 0
		for i := range rows {
			dst = binary.AppendVarint(dst, int64(rows[i].Recorded)-prev)
			prev = int64(rows[i].Recorded)
		}
	}
	return dst, nil
}

// Rewritten reports whether rows of the chunk have times of record of their own.
func (c *Chunk) Rewritten() bool {
	return slices.ContainsFunc(c.Rows, func(r Row) bool { return r.Recorded != 0 })
}

// CheckRow refuses a row that cannot be kept: a length that does not divide a day, a quality or channel above 15.
func CheckRow(r *Row) error {
	if _, err := slots(r.Length); err != nil {
		return err
	}
	if r.Quality > 15 || r.Channel > 15 {
		return fmt.Errorf("quality %d, channel %d, want at most 15", r.Quality, r.Channel)
	}
	return nil
}

// UnpackChunk reads what AppendChunk wrote into c, whose Day is known. It uses the capacity of c.Rows.
func UnpackChunk(c *Chunk, p []byte) error {
	r := reader{p: p}
	format := r.byte()
	if format != chunkFormat && format != chunkRewritten {
		return fmt.Errorf("chunk: unknown format: %w", ErrCorrupt)
	}
	n := r.uvarint()
	// A row has at least three bytes: a hostile count must not make us allocate.
	if r.bad || n > MaxChunkRows || n*3 > uint64(len(r.p)) {
		return fmt.Errorf("chunk: %d rows in %d bytes: %w", n, len(p), ErrCorrupt)
	}
	if uint64(cap(c.Rows)) < n {
		c.Rows = make([]Row, n)
	}
	c.Rows = c.Rows[:n]
	rows := c.Rows
	for i := 0; i < len(rows) && !r.bad; {
		k, cq, length := r.uvarint(), r.byte(), r.uvarint()
		run := k >> 1
		if run == 0 || run > uint64(len(rows)-i) || length == 0 || length > 1440 || 1440%length != 0 {
			r.bad = true
			break
		}
		for range run {
			rows[i] = Row{Channel: cim.Channel(cq >> 4), Quality: cim.Quality(cq & 15), Length: uint16(length), HasReg: k&1 != 0}
			i++
		}
	}
	if !r.bad {
		r.columns(c)
	}
	if format == chunkRewritten && !r.bad {
		at := int64(0)
		for i := range rows {
			at += r.varint()
			rows[i].Recorded = r.instant(at)
		}
	}
	if r.bad || len(r.p) != 0 {
		c.Rows = c.Rows[:0]
		return fmt.Errorf("chunk of %d bytes: %w", len(p), ErrCorrupt)
	}
	return nil
}

func (r *reader) columns(c *Chunk) {
	rows := c.Rows
	device, start := int64(0), int64(c.Day.Start())
	for i := range rows {
		device += r.varint()
		if device < 0 || device > 1<<32-1 {
			r.bad = true
			return
		}
		rows[i].Device = uint32(device)
	}
	for i := range rows {
		start += r.varint()
		if start < 0 || start > 1<<32-1 {
			r.bad = true
			return
		}
		rows[i].Start = uint32(start)
	}
	for i := range rows {
		wh := r.uvarint()
		if wh > noValue {
			r.bad = true
			return
		}
		rows[i].Wh = uint32(wh) - 1
	}
	for i := range rows {
		if rows[i].HasReg {
			rows[i].Register = predict(rows, i) + uint64(r.varint())
		}
	}
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return unzig(v)
}

func (r *Row) sameKind(o *Row) bool {
	return r.Channel == o.Channel && r.Quality == o.Quality && r.Length == o.Length && r.HasReg == o.HasReg
}

// predict is the register that row i has if nothing happened between it and the row before.
func predict(rows []Row, i int) uint64 {
	if i == 0 {
		return 0
	}
	p, r := &rows[i-1], &rows[i]
	if !p.HasReg || p.Device != r.Device || p.Channel != r.Channel {
		return 0
	}
	if r.Wh == cim.NoValue {
		return p.Register
	}
	return p.Register + uint64(r.Wh)
}
