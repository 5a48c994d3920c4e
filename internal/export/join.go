package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// ErrPart is returned for a part that is not of the export that it is to be joined with.
var ErrPart = errors.New("not a part of this export")

// Part is a whole document of some of the usage points.
type Part interface {
	io.ReaderAt
	io.Reader
}

// Join writes the documents of consecutive usage points as one. next returns the parts in order, their sizes in bytes, and
// io.EOF behind the last one; a part is not used any more when next is called again.
func Join(h Head, w io.Writer, next func() (Part, int64, error)) error {
	if err := Check(h.Format, h.What); err != nil {
		return err
	}
	if h.Format == Parquet {
		switch h.What {
		case Intervals:
			return joinTables[intervalRow](w, next)
		case Registers:
			return joinTables[registerRow](w, next)
		case Determinants:
			return joinTables[determinantRow](w, next)
		}
		return joinTables[changeRow](w, next)
	}
	opening, closing := "", ""
	switch h.Format {
	case CSV:
		opening = csvOpening(h.What)
	case CIM:
		opening, closing = cimOpening, cimClosing
	case ESPI:
		opening, closing = espiOpening(h), espiClosing
	}
	if _, err := io.WriteString(w, opening); err != nil {
		return err
	}
	head, tail := make([]byte, len(opening)), make([]byte, len(closing))
	for n := 1; ; n++ {
		p, size, err := next()
		if errors.Is(err, io.EOF) {
			_, err = io.WriteString(w, closing)
			return err
		}
		if err != nil {
			return err
		}
		body := size - int64(len(opening)+len(closing))
		if body < 0 {
			return fmt.Errorf("part %d of %d bytes: %w", n, size, ErrPart)
		}
		if _, err := io.ReadFull(p, head); err != nil {
			return fmt.Errorf("part %d: %w", n, err)
		}
		if !bytes.Equal(head, []byte(opening)) {
			return fmt.Errorf("part %d begins otherwise: %w", n, ErrPart)
		}
		if _, err := io.CopyN(w, p, body); err != nil {
			return fmt.Errorf("part %d: %w", n, err)
		}
		if _, err := io.ReadFull(p, tail); err != nil || !bytes.Equal(tail, []byte(closing)) {
			return fmt.Errorf("part %d ends otherwise: %w", n, errors.Join(err, ErrPart))
		}
	}
}

func joinTables[R any](w io.Writer, next func() (Part, int64, error)) error {
	out := parquet.NewGenericWriter[R](w, parquetOptions()...)
	buf := make([]R, 4096)
	for n := 1; ; n++ {
		p, size, err := next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		f, err := parquet.OpenFile(p, size)
		if err != nil {
			return fmt.Errorf("part %d: %w", n, err)
		}
		r := parquet.NewGenericReader[R](f)
		for {
			k, err := r.Read(buf)
			if k > 0 {
				if _, werr := out.Write(buf[:k]); werr != nil {
					return werr
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return errors.Join(fmt.Errorf("part %d: %w", n, err), r.Close())
			}
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
}
