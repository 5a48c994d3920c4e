package export

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// rowGroup is how many rows a row group of a Parquet file has at most: what a writer holds in memory.
const rowGroup = 1 << 18

// parquetWriter writes a Parquet file, snappy-compressed, with times as UTC timestamps and amounts as DECIMAL(18, 3).
type parquetWriter[R any] struct {
	w    *parquet.GenericWriter[R]
	buf  []R
	rows int64
	each func(*Point, func(*R) error) error
}

func newParquet(h Head, w io.Writer) (Writer, error) {
	switch h.What {
	case Intervals:
		return newTable(w, eachInterval), nil
	case Registers:
		return newTable(w, eachRegister), nil
	case Determinants:
		return newTable(w, eachDeterminant), nil
	}
	return newTable(w, eachChange), nil
}

func parquetOptions() []parquet.WriterOption {
	return []parquet.WriterOption{
		parquet.Compression(&parquet.Snappy),
		parquet.MaxRowsPerRowGroup(rowGroup),
		parquet.CreatedBy("wattbus", "1", "0"), // the layout's version, so that the same content is the same file
	}
}

func newTable[R any](w io.Writer, each func(*Point, func(*R) error) error) *parquetWriter[R] {
	return &parquetWriter[R]{w: parquet.NewGenericWriter[R](w, parquetOptions()...), each: each}
}

func (p *parquetWriter[R]) Rows() int64 { return p.rows }

func (p *parquetWriter[R]) Point(pt *Point) error {
	if err := p.each(pt, func(r *R) error {
		p.buf = append(p.buf, *r)
		if len(p.buf) == 4096 {
			return p.flush()
		}
		return nil
	}); err != nil {
		return fmt.Errorf("writing usage point %s as Parquet: %w", pt.ID, err)
	}
	return nil
}

func (p *parquetWriter[R]) flush() error {
	n, err := p.w.Write(p.buf)
	p.rows += int64(n)
	p.buf = p.buf[:0]
	return err
}

func (p *parquetWriter[R]) Close() error {
	if err := p.flush(); err != nil {
		return fmt.Errorf("writing Parquet: %w", err)
	}
	if err := p.w.Close(); err != nil {
		return fmt.Errorf("ending a Parquet file: %w", err)
	}
	return nil
}
