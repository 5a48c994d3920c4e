package broker

import (
	"context"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// SessionStore keeps what has to survive the end of the process: sessions with their
// subscriptions and what waits for them, and retained messages. Package
// broker/sqlitestore is one. Whoever opens it closes it, after Run has returned.
type SessionStore interface {
	// Load gives everything that is stored to v, and ends with the first error of it.
	Load(ctx context.Context, v StoreVisitor) error
	// Commit makes all of the changes, or none, and returns when they are safe against a
	// loss of power. After an error it is called again with the same changes, which may
	// have been made nevertheless. One call at a time.
	Commit(ctx context.Context, c *Changes) error
}

// StoreVisitor takes what is stored: first all sessions, then subscriptions, received,
// wills, messages, and last the items in the order of Seq. It keeps what it is given.
type StoreVisitor interface {
	Session(StoredSession) error
	Subscription(StoredSubscription) error
	Received(StoredReceived) error
	Will(StoredWill) error
	Message(StoredMessage) error
	Item(StoredItem) error
}

// StoredSession is a session that outlives its connection.
type StoredSession struct {
	Nr       uint64 // what the other records know it by; never 0
	ClientID string
	User     string        // to whom it belongs, see Login.User
	Expiry   time.Duration // without a connection; negative: for ever
	Left     time.Time     // since when it is not connected; zero: it is
	Unsent   uint64        // items from this Seq on were never sent; 0: not known
	Outgoing bool          // no client's: it is the queue of an Outgoing
}

// StoredSubscription is one subscription of a session.
type StoredSubscription struct {
	Session uint64
	Filter  string
	Options uint64 // as in sub.opts
	Gone    bool   // in Changes: there is none any more
}

// StoredReceived is a packet identifier of an incoming message of QoS 2 that was not
// released yet [MQTT-4.3.3-2].
type StoredReceived struct {
	Session  uint64
	PacketID uint16
	// Done: all who handle messages in the process have taken it. Without, sessions have
	// it, and the handlers are to get it when the client repeats it.
	Done bool
	Gone bool // in Changes: it was released
}

// StoredWill is the will of a client that is connected, or that waits for its time.
type StoredWill struct {
	ID             uint64 // never 0
	Session        uint64 // which is not stored if it ends with its connection
	ClientID, User string
	Due            time.Time // when it goes out; zero: the client is connected
	Version        mqtt.Version
	Delay          time.Duration
	Topic          string
	Payload        []byte
	QoS            byte
	Retain         bool
	Properties     []byte // of MQTT 5, encoded
	HasExpiry      bool
	Expiry         uint32 // seconds from when it goes out
	Gone           bool   // in Changes: it has gone out, or is not to any more; only ID counts
}

// StoredMessage is what one or several items stand for.
type StoredMessage struct {
	ID         uint64 // never 0
	Topic      string
	Payload    []byte
	Properties []byte    // of MQTT 5, as they came
	Expires    time.Time // zero: never
}

// StoredItem is a message in the queue of a session, or a retained message.
type StoredItem struct {
	Seq             uint64 // the order over all sessions; never 0
	Session         uint64 // 0: it is retained
	Message         uint64 // 0 once PUBREC has come
	QoS             byte
	Retain          bool
	Sent            bool // QoS 2: it may have been sent, from Position on
	Position        uint64
	SubscriptionIDs []uint32
	Share           string // the filter of a shared subscription; "": none
}

// SentItem says that an item is about to be sent, or that PUBREC has come for it.
type SentItem struct {
	Seq, Position uint64
	Released      bool // PUBREC: the message is not needed any more
}

// SeqRange is First to Last.
type SeqRange struct{ First, Last uint64 }

// Changes are made in the order of the fields; within one, in the order of its slice.
type Changes struct {
	Sessions      []StoredSession // new, or in place of what there is with this number
	Subscriptions []StoredSubscription
	Received      []StoredReceived
	Wills         []StoredWill
	Messages      []StoredMessage
	Items         []StoredItem
	Sent          []SentItem
	Done          []SeqRange // items that are not needed any more
	Dropped       []SeqRange // messages, by ID
	Ended         []uint64   // sessions with their subscriptions and received
}
