package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
)

// rowsAtOnce is how many rows one statement inserts; the driver takes about as long for
// a statement as for some rows.
const rowsAtOnce = 32

// statements are those of a commit, prepared once.
type statements struct {
	session, subscribe, unsubscribe, receive, release *sql.Stmt
	will, noWill                                      *sql.Stmt
	message, messages, item, items                    *sql.Stmt
	sent, done, dropped                               *sql.Stmt
	ended                                             [3]*sql.Stmt
}

const (
	insertMessage = `INSERT OR REPLACE INTO message (id, topic, payload, properties, expires) VALUES `
	insertItem    = `INSERT OR REPLACE INTO item (seq, session, message, flags, position, ids, share) VALUES `
)

// rows is n times "(?,?…)".
func rows(n, columns int) string {
	one := "(" + strings.Repeat("?,", columns-1) + "?)"
	return strings.Repeat(one+",", n-1) + one
}

func (s *statements) each() map[**sql.Stmt]string {
	return map[**sql.Stmt]string{
		&s.session:     `INSERT OR REPLACE INTO session (nr, client_id, user, expiry, left_at, unsent, outgoing) VALUES (?,?,?,?,?,?,?)`,
		&s.subscribe:   `INSERT OR REPLACE INTO subscription (session, filter, options) VALUES (?,?,?)`,
		&s.unsubscribe: `DELETE FROM subscription WHERE session = ? AND filter = ?`,
		&s.receive:     `INSERT OR REPLACE INTO received (session, packet_id, done) VALUES (?,?,?)`,
		&s.release:     `DELETE FROM received WHERE session = ? AND packet_id = ?`,
		&s.will: `INSERT OR REPLACE INTO will (id, session, client_id, user, due, version, delay, topic, payload, flags, properties, expiry)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`,
		&s.noWill:   `DELETE FROM will WHERE id = ?`,
		&s.message:  insertMessage + rows(1, 5),
		&s.messages: insertMessage + rows(rowsAtOnce, 5),
		&s.item:     insertItem + rows(1, 7),
		&s.items:    insertItem + rows(rowsAtOnce, 7),
		&s.sent:     `UPDATE item SET position = ?, flags = flags | 8, message = iif(?, 0, message) WHERE seq = ?`,
		&s.done:     `DELETE FROM item WHERE seq BETWEEN ? AND ?`,
		&s.dropped:  `DELETE FROM message WHERE id BETWEEN ? AND ?`,
		&s.ended[0]: `DELETE FROM session WHERE nr = ?`,
		&s.ended[1]: `DELETE FROM subscription WHERE session = ?`,
		&s.ended[2]: `DELETE FROM received WHERE session = ?`,
	}
}

func (s *statements) prepare(ctx context.Context, db *sql.DB) error {
	for p, q := range s.each() {
		st, err := db.PrepareContext(ctx, q)
		if err != nil {
			return fmt.Errorf("prepare %.80q: %w", q, err)
		}
		*p = st
	}
	return nil
}

func (s *statements) close() {
	for p := range s.each() {
		if *p != nil {
			_ = (*p).Close()
		}
	}
}

// Commit implements broker.SessionStore.
func (s *Store) Commit(ctx context.Context, c *broker.Changes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("broker store %s: begin: %w", s.path, err)
	}
	w := writer{ctx: ctx, tx: tx}
	s.write(&w, c)
	if w.err != nil {
		_ = tx.Rollback()
		return fmt.Errorf("broker store %s: %w", s.path, w.err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("broker store %s: commit: %w", s.path, err)
	}
	return nil
}

// writer executes statements until one fails.
type writer struct {
	ctx  context.Context
	tx   *sql.Tx
	err  error
	args []any
}

func (w *writer) exec(st *sql.Stmt, args ...any) {
	if w.err == nil {
		_, w.err = w.tx.StmtContext(w.ctx, st).ExecContext(w.ctx, args...)
	}
}

// insert inserts n rows, many at once as far as they go. add appends the values of one.
func (w *writer) insert(one, many *sql.Stmt, n int, add func(args []any, i int) []any) {
	if n == 0 || w.err != nil {
		return
	}
	each, all := w.tx.StmtContext(w.ctx, one), w.tx.StmtContext(w.ctx, many)
	for i := 0; i < n && w.err == nil; {
		st, k := each, 1
		if n-i >= rowsAtOnce {
			st, k = all, rowsAtOnce
		}
		w.args = w.args[:0]
		for range k {
			w.args = add(w.args, i)
			i++
		}
		_, w.err = st.ExecContext(w.ctx, w.args...)
	}
}

func (s *Store) write(w *writer, c *broker.Changes) {
	for i := range c.Sessions {
		r := &c.Sessions[i]
		w.exec(s.st.session, int64(r.Nr), r.ClientID, r.User, int64(r.Expiry), millis(r.Left), int64(r.Unsent), r.Outgoing)
	}
	for i := range c.Subscriptions {
		if r := &c.Subscriptions[i]; r.Gone {
			w.exec(s.st.unsubscribe, int64(r.Session), r.Filter)
		} else {
			w.exec(s.st.subscribe, int64(r.Session), r.Filter, int64(r.Options))
		}
	}
	for _, r := range c.Received {
		if r.Gone {
			w.exec(s.st.release, int64(r.Session), int64(r.PacketID))
		} else {
			w.exec(s.st.receive, int64(r.Session), int64(r.PacketID), r.Done)
		}
	}
	for i := range c.Wills {
		r := &c.Wills[i]
		if r.Gone {
			w.exec(s.st.noWill, int64(r.ID))
			continue
		}
		flags, expiry := int64(r.QoS), int64(-1)
		if r.Retain {
			flags |= flagRetain
		}
		if r.HasExpiry {
			expiry = int64(r.Expiry)
		}
		w.exec(s.st.will, int64(r.ID), int64(r.Session), r.ClientID, r.User, millis(r.Due), int64(r.Version), int64(r.Delay),
			r.Topic, blob(r.Payload), flags, blob(r.Properties), expiry)
	}
	w.insert(s.st.message, s.st.messages, len(c.Messages), func(args []any, i int) []any {
		m := &c.Messages[i]
		return append(args, int64(m.ID), m.Topic, blob(m.Payload), blob(m.Properties), millis(m.Expires))
	})
	w.insert(s.st.item, s.st.items, len(c.Items), func(args []any, i int) []any {
		it := &c.Items[i]
		return append(args, int64(it.Seq), int64(it.Session), int64(it.Message), flags(it), int64(it.Position), ids(it.SubscriptionIDs), it.Share)
	})
	for _, r := range c.Sent {
		w.exec(s.st.sent, int64(r.Position), r.Released, int64(r.Seq))
	}
	for _, r := range c.Done {
		w.exec(s.st.done, int64(r.First), int64(r.Last))
	}
	for _, r := range c.Dropped {
		w.exec(s.st.dropped, int64(r.First), int64(r.Last))
	}
	for _, nr := range c.Ended {
		for _, st := range s.st.ended {
			w.exec(st, int64(nr))
		}
	}
}

const (
	flagRetain = 4
	flagSent   = 8
)

func flags(it *broker.StoredItem) int64 {
	f := int64(it.QoS)
	if it.Retain {
		f |= flagRetain
	}
	if it.Sent {
		f |= flagSent
	}
	return f
}

// millis is a time as it is stored, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// blob keeps an empty value from becoming an allocation of the driver: nil is NULL.
func blob(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// ids are subscription identifiers as varints, nil for none.
func ids(list []uint32) any {
	if len(list) == 0 {
		return nil
	}
	var b []byte
	for _, id := range list {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return b
}
