package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
)

// Load implements broker.SessionStore.
func (s *Store) Load(ctx context.Context, v broker.StoreVisitor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range []func(context.Context, broker.StoreVisitor) error{
		s.loadSessions, s.loadSubscriptions, s.loadReceived, s.loadWills, s.loadMessages, s.loadItems,
	} {
		if err := f(ctx, v); err != nil {
			return fmt.Errorf("broker store %s: load: %w", s.path, err)
		}
	}
	return nil
}

// each calls f for every row of a query.
func (s *Store) each(ctx context.Context, query string, f func(*sql.Rows) error) error {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *Store) loadSessions(ctx context.Context, v broker.StoreVisitor) error {
	return s.each(ctx, `SELECT nr, client_id, user, expiry, left_at, unsent, outgoing FROM session ORDER BY nr`, func(rows *sql.Rows) error {
		var r broker.StoredSession
		var left int64
		if err := rows.Scan(&r.Nr, &r.ClientID, &r.User, &r.Expiry, &left, &r.Unsent, &r.Outgoing); err != nil {
			return fmt.Errorf("session: %w", err)
		}
		r.Left = moment(left)
		return v.Session(r)
	})
}

func (s *Store) loadSubscriptions(ctx context.Context, v broker.StoreVisitor) error {
	return s.each(ctx, `SELECT session, filter, options FROM subscription ORDER BY session, filter`, func(rows *sql.Rows) error {
		var r broker.StoredSubscription
		var options int64
		if err := rows.Scan(&r.Session, &r.Filter, &options); err != nil {
			return fmt.Errorf("subscription: %w", err)
		}
		r.Options = uint64(options)
		return v.Subscription(r)
	})
}

func (s *Store) loadReceived(ctx context.Context, v broker.StoreVisitor) error {
	return s.each(ctx, `SELECT session, packet_id, done FROM received ORDER BY session, packet_id`, func(rows *sql.Rows) error {
		var r broker.StoredReceived
		if err := rows.Scan(&r.Session, &r.PacketID, &r.Done); err != nil {
			return fmt.Errorf("received: %w", err)
		}
		return v.Received(r)
	})
}

func (s *Store) loadWills(ctx context.Context, v broker.StoreVisitor) error {
	return s.each(ctx, `SELECT id, session, client_id, user, due, version, delay, topic, payload, flags, properties, expiry FROM will ORDER BY id`, func(rows *sql.Rows) error {
		var r broker.StoredWill
		var due, expiry int64
		var flags byte
		if err := rows.Scan(&r.ID, &r.Session, &r.ClientID, &r.User, &due, &r.Version, &r.Delay, &r.Topic, &r.Payload, &flags, &r.Properties, &expiry); err != nil {
			return fmt.Errorf("will: %w", err)
		}
		r.Due, r.QoS, r.Retain = moment(due), flags&3, flags&flagRetain != 0
		if r.HasExpiry = expiry >= 0; r.HasExpiry {
			r.Expiry = uint32(expiry)
		}
		return v.Will(r)
	})
}

func (s *Store) loadMessages(ctx context.Context, v broker.StoreVisitor) error {
	return s.each(ctx, `SELECT id, topic, payload, properties, expires FROM message ORDER BY id`, func(rows *sql.Rows) error {
		var m broker.StoredMessage
		var expires int64
		if err := rows.Scan(&m.ID, &m.Topic, &m.Payload, &m.Properties, &expires); err != nil {
			return fmt.Errorf("message: %w", err)
		}
		m.Expires = moment(expires)
		return v.Message(m)
	})
}

func (s *Store) loadItems(ctx context.Context, v broker.StoreVisitor) error {
	return s.each(ctx, `SELECT seq, session, message, flags, position, ids, share FROM item ORDER BY seq`, func(rows *sql.Rows) error {
		var it broker.StoredItem
		var flags int
		var list []byte
		if err := rows.Scan(&it.Seq, &it.Session, &it.Message, &flags, &it.Position, &list, &it.Share); err != nil {
			return fmt.Errorf("item: %w", err)
		}
		it.QoS, it.Retain, it.Sent = byte(flags&3), flags&flagRetain != 0, flags&flagSent != 0
		for len(list) > 0 {
			id, n := binary.Uvarint(list)
			if n <= 0 || id > math.MaxUint32 {
				return fmt.Errorf("item %d: subscription identifiers: %w", it.Seq, ErrCorrupt)
			}
			it.SubscriptionIDs, list = append(it.SubscriptionIDs, uint32(id)), list[n:]
		}
		return v.Item(it)
	})
}

// moment is the way back from millis.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
