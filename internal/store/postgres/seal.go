package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wattbus/wattbus/internal/store"
)

// PutSealWindows implements store.Store.
func (s *Store) PutSealWindows(ctx context.Context, ws []store.SealWindow) error {
	if len(ws) == 0 {
		return nil
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var b pgx.Batch
		for i := range ws {
			w := &ws[i]
			b.Queue(`INSERT INTO seal_window (device, key, event, seen) VALUES ($1, $2, $3, $4)
				ON CONFLICT (device, key, event) DO UPDATE SET seen = excluded.seen`, w.Device, int16(w.Key), w.Event, w.Seen)
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("store %s: windows of sealed messages: %w", s.name, err)
		}
		return nil
	})
}

// SealWindows implements store.Store.
func (s *Store) SealWindows(ctx context.Context, f func(store.SealWindow) error) error {
	return s.each(ctx, func(r pgx.Rows) error {
		var w store.SealWindow
		var key int16
		if err := r.Scan(&w.Device, &key, &w.Event, &w.Seen); err != nil {
			return err
		}
		w.Key = uint8(key)
		return f(w)
	}, `SELECT device, key, event, seen FROM seal_window ORDER BY device COLLATE "C", key, event COLLATE "C"`)
}

// NextSealRun implements store.Store.
func (s *Store) NextSealRun(ctx context.Context, least uint32) (uint32, error) {
	var run int64
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `LOCK TABLE seal_run IN EXCLUSIVE MODE`); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT greatest(coalesce(max(run), 0) + 1, $1) FROM seal_run`, int64(least)).Scan(&run); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM seal_run`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO seal_run VALUES ($1)`, run)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store %s: run of sealed messages: %w", s.name, err)
	}
	return uint32(run), nil
}
