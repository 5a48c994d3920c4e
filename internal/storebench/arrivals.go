package storebench

import (
	"github.com/wattbus/wattbus/internal/store"
)

// arrivals measures what it costs to keep when each value came: blocks packed with and without.
func (b *bench) arrivals() error {
	blocks := b.load.blocks(b.today, b.quality, 0, min(b.Meters, 20_000), 1)
	var buf []byte
	bytes := 0
	pack := func() (cpu float64, err error) {
		used := b.CPU()
		bytes = 0
		for i := range blocks {
			if buf, err = store.AppendBlock(buf[:0], &blocks[i]); err != nil {
				return 0, err
			}
			bytes += len(buf)
		}
		return (b.CPU() - used).Seconds(), nil
	}
	if _, err := pack(); err != nil {
		return err
	}
	with := bytes
	step := uint32(b.load.length) * 60
	used := b.CPU()
	for i := range blocks {
		came, err := blocks[i].UnpackCame()
		if err != nil {
			return err
		}
		blocks[i].Came = store.PackCame(came, b.today.day.Start(), step)
	}
	both := (b.CPU() - used).Seconds()
	for i := range blocks {
		blocks[i].Came = nil
	}
	cpu, err := pack()
	if err != nil {
		return err
	}
	n := float64(len(blocks) * b.load.slots())
	b.add("of it for when each value came", float64(with-bytes)/n, "bytes")
	b.add("to pack a block without that", cpu/n*1e6, "CPU s/million")
	b.add("to unpack and pack when each value came", both/n*1e6, "CPU s/million")
	return nil
}
