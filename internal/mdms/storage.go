package mdms

import (
	"context"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// storage remembers how much the store holds. Counting walks over the store, so it is done only for somebody who asks, and
// not again before a hundred times what it took has passed: at most 1 % of the time goes into it.
type storage struct {
	mu   sync.Mutex
	last api.Storage
	due  time.Time
}

func (m *MDMS) storedSize(ctx context.Context) api.Storage {
	s := &m.stored
	s.mu.Lock()
	defer s.mu.Unlock()
	begin := time.Now()
	if begin.Before(s.due) {
		return s.last
	}
	z, err := m.o.Store.Size(ctx)
	took := time.Since(begin)
	s.due = begin.Add(took + max(100*took, totalsEvery))
	if err != nil {
		if ctx.Err() == nil {
			m.log.Warn("size of the store not known", "error", err)
		}
		return s.last
	}
	s.last = api.Storage{Bytes: z.Bytes, BlockBytes: z.BlockBytes, BlockIntervals: z.BlockIntervals, ChunkBytes: z.ChunkBytes, ChunkIntervals: z.ChunkIntervals}
	return s.last
}
