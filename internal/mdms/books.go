package mdms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store"
)

// Books are what an MDMS keeps, opened to be read while none runs. They need as much memory as the MDMS itself.
type Books struct{ m *MDMS }

// OpenBooks reads the books of a store, which is used and not closed. What the bus of that centre still holds is not in them.
func OpenBooks(ctx context.Context, st store.Store, clk *clock.Clock, log *slog.Logger) (*Books, error) {
	if st == nil || clk == nil {
		return nil, errors.New("mdms: a store and a clock are needed")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m, err := build(Options{Store: st, Clock: clk, Logger: log})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.restoreBooks(ctx); err != nil {
		return nil, fmt.Errorf("mdms: %w", err)
	}
	m.closed = math.MaxUint32 // nothing comes any more
	return &Books{m}, nil
}

// Export answers api.QueryExport.
func (b *Books) Export(ctx context.Context, q api.ExportQuery) (api.ExportPage, error) {
	return b.m.queryExport(ctx, q)
}
