package bus

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A backup of the bus holds what is committed and not yet consumed, and the dead letters:
//
//	magic    "WBBUS1\n"
//	header   uvarint length, the name of this incarnation of WB_UP
//	records  u8 kind 1 (batch) or 2 (dead letter), uvarint sequence, uvarint length and subject, uvarint length and data
//	end      u8 0, uvarint number of records
//	sum      u32 CRC-32C of all before it, big endian
const (
	backupMagic = "WBBUS1\n"
	keptEnd     = 0
	keptBatch   = 1
	keptDead    = 2
)

// ErrBackup is returned for a backup of the bus that is cut short or damaged.
var ErrBackup = errors.New("backup of the bus is cut short or damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kept is a message of a backup.
type Kept struct {
	Dead     bool   // it is a dead letter, else a batch
	Sequence uint64 // in its stream
	Subject  string
	Data     []byte
}

// Backup writes every batch that was committed before the call and is not consumed yet, and every dead letter. What is
// consumed meanwhile may be missing: take the backup of the store afterwards, and it is in there. Progress, if not nil, is
// told how many messages of how many are done.
func (b *Bus) Backup(ctx context.Context, w io.Writer, progress func(done, total uint64)) error {
	buf := bufio.NewWriterSize(w, 1<<20)
	sum := crc32.New(castagnoli)
	e := &keptEncoder{w: io.MultiWriter(buf, sum)}
	e.write([]byte(backupMagic))
	e.bytes([]byte(b.stream))
	for _, name := range []string{StreamUp, StreamDead} {
		s, err := b.js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("bus: look at stream %s: %w", name, err)
		}
		state := s.CachedInfo().State
		for seq := max(state.FirstSeq, 1); seq <= state.LastSeq && e.err == nil; seq++ {
			m, err := s.GetMsg(ctx, seq)
			switch {
			case errors.Is(err, jetstream.ErrMsgNotFound):
			case err != nil:
				return fmt.Errorf("bus: read message %d of stream %s: %w", seq, name, err)
			default:
				e.record(Kept{Dead: name == StreamDead, Sequence: seq, Subject: m.Subject, Data: m.Data})
			}
			if progress != nil {
				progress(seq-state.FirstSeq+1, state.LastSeq-state.FirstSeq+1)
			}
		}
	}
	e.write([]byte{keptEnd})
	e.uvarint(e.count)
	if e.err == nil {
		_, e.err = buf.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
	}
	if e.err == nil {
		e.err = buf.Flush()
	}
	if e.err != nil {
		return fmt.Errorf("bus: write backup: %w", e.err)
	}
	return nil
}

type keptEncoder struct {
	w     io.Writer
	buf   []byte
	count uint64
	err   error
}

func (e *keptEncoder) write(p []byte) {
	if e.err == nil {
		_, e.err = e.w.Write(p)
	}
}

func (e *keptEncoder) uvarint(v uint64) {
	e.buf = binary.AppendUvarint(e.buf[:0], v)
	e.write(e.buf)
}

func (e *keptEncoder) bytes(p []byte) {
	e.uvarint(uint64(len(p)))
	e.write(p)
}

func (e *keptEncoder) record(k Kept) {
	kind := byte(keptBatch)
	if k.Dead {
		kind = keptDead
	}
	e.write([]byte{kind})
	e.uvarint(k.Sequence)
	e.bytes([]byte(k.Subject))
	e.bytes(k.Data)
	e.count++
}

// ReadBackup calls f with every message of a backup, in order, and returns the incarnation of the stream of batches that it is
// of. Whether the backup is whole is known only when it returns nil; f's Data is f's to keep.
func ReadBackup(r io.Reader, f func(Kept) error) (stream string, err error) {
	d := &keptDecoder{r: bufio.NewReaderSize(r, 1<<20), sum: crc32.New(castagnoli)}
	if string(d.take(len(backupMagic))) != backupMagic {
		return "", fmt.Errorf("bus: %w: it does not begin with %q", ErrBackup, backupMagic)
	}
	stream = string(d.bytes(1 << 10))
	for count := uint64(0); d.err == nil; count++ {
		kind, _ := d.ReadByte()
		if kind == keptEnd {
			if d.uvarint() != count {
				d.fail()
			}
			want := d.sum.Sum32()
			if p := d.take(4); d.err == nil && binary.BigEndian.Uint32(p) != want {
				d.fail()
			}
			if _, err := d.r.ReadByte(); d.err == nil && !errors.Is(err, io.EOF) {
				d.fail()
			}
			break
		}
		k := Kept{Dead: kind == keptDead, Sequence: d.uvarint(), Subject: string(d.bytes(1 << 10)), Data: d.bytes(MaxMessage)}
		if kind > keptDead {
			d.fail()
		}
		if d.err == nil {
			if err := f(k); err != nil {
				return stream, err
			}
		}
	}
	if d.err != nil {
		return stream, fmt.Errorf("bus: %w", d.err)
	}
	return stream, nil
}

type keptDecoder struct {
	r   *bufio.Reader
	sum interface {
		io.Writer
		Sum32() uint32
	}
	err error
}

func (d *keptDecoder) fail() {
	if d.err == nil {
		d.err = ErrBackup
	}
}

// ReadByte implements io.ByteReader; after an error it returns 0.
func (d *keptDecoder) ReadByte() (byte, error) {
	c, err := d.r.ReadByte()
	if err != nil {
		d.fail()
		return 0, err
	}
	_, _ = d.sum.Write([]byte{c}) // a hash takes all
	return c, nil
}

func (d *keptDecoder) uvarint() uint64 {
	v, err := binary.ReadUvarint(d)
	if err != nil {
		d.fail()
	}
	return v
}

func (d *keptDecoder) bytes(most uint64) []byte {
	n := d.uvarint()
	if n > most {
		d.fail()
	}
	if d.err != nil {
		return nil
	}
	return d.take(int(n))
}

// take grows with what comes: a length alone reserves nothing.
func (d *keptDecoder) take(n int) []byte {
	p, err := io.ReadAll(io.LimitReader(d.r, int64(n)))
	if err != nil || len(p) < n {
		d.fail()
	}
	_, _ = d.sum.Write(p) // a hash takes all
	return p
}

// PutBack commits a message of a backup to this bus, and returns when it is synced.
func (b *Bus) PutBack(ctx context.Context, k Kept) error {
	if !k.Dead {
		p, err := b.PublishBatch(ctx, k.Data)
		if err != nil {
			return err
		}
		return p.Wait(ctx)
	}
	_, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: k.Subject, Data: k.Data}, jetstream.WithExpectStream(StreamDead))
	if err != nil {
		return fmt.Errorf("bus: put back dead letter %d: %w", k.Sequence, err)
	}
	return nil
}
