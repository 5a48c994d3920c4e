package mdms

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// loadBlock reads the newest version of a block, nil if there is none.
func (m *MDMS) loadBlock(dev uint32, ch cim.Channel, day cim.Day) (*store.Block, error) {
	var out *store.Block
	err := m.o.Store.Blocks(context.Background(), store.BlockQuery{Device: dev, Channel: ch, From: day, To: day + 1}, func(b *store.Block) error {
		k := *b
		k.Wh, k.Quality = slices.Clone(b.Wh), slices.Clone(b.Quality)
		out = &k
		return nil
	})
	return out, err
}

// loadSurely is loadBlock for the loop, which may not go on without the block: what it enters is acknowledged already. While the
// store cannot be read it tries again, as it does with commits, until Run ends.
func (m *MDMS) loadSurely(dev uint32, ch cim.Channel, day cim.Day) (*store.Block, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		b, err := m.loadBlock(dev, ch, day)
		if err == nil || errors.Is(err, store.ErrCorrupt) || m.cut {
			return b, err
		}
		m.log.Error("block not read, will be tried again", "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-m.ending:
			m.cut = true
			return nil, err
		}
	}
}
