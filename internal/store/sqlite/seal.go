package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/wattbus/wattbus/internal/store"
)

// PutSealWindows implements store.Store.
func (s *Store) PutSealWindows(ctx context.Context, ws []store.SealWindow) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, `INSERT OR REPLACE INTO seal_window (device, key, event, seen) VALUES (?, ?, ?, ?)`)
		if err != nil {
			return fmt.Errorf("store %s: windows of sealed messages: %w", s.path, err)
		}
		defer func() { _ = st.Close() }() // with the transaction at the latest
		for i := range ws {
			if _, err := st.ExecContext(ctx, ws[i].Device, ws[i].Key, ws[i].Event, ws[i].Seen); err != nil {
				return fmt.Errorf("store %s: window of %s: %w", s.path, ws[i].Device, err)
			}
		}
		return nil
	})
}

// SealWindows implements store.Store.
func (s *Store) SealWindows(ctx context.Context, f func(store.SealWindow) error) error {
	return s.each(ctx, func(r *sql.Rows) error {
		var w store.SealWindow
		if err := r.Scan(&w.Device, &w.Key, &w.Event, &w.Seen); err != nil {
			return err
		}
		return f(w)
	}, `SELECT device, key, event, seen FROM seal_window ORDER BY device, key, event`)
}

// NextSealRun implements store.Store.
func (s *Store) NextSealRun(ctx context.Context, least uint32) (run uint32, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT max(coalesce(max(run), 0) + 1, ?) FROM seal_run`, least).Scan(&run); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM seal_run`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO seal_run VALUES (?)`, run)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store %s: run of sealed messages: %w", s.path, err)
	}
	return run, nil
}
