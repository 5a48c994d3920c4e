package gateway

import (
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// state is what the gateway knows of a client (MQTT-SN 1.2, 6.14, figure 4).
//
//	                CONNECT, will, session opened
//	disconnected ─────────────────────────────────> active <────────────┐
//	 ^   ^    ^                                      │ │ │              │
//	 │   │    └────────── DISCONNECT ────────────────┘ │ │              │ CONNECT
//	 │   │                                             │ └──────────┐   │
//	 │   │                      DISCONNECT(duration)   │            │   │
//	 │   │                    ┌────────────────────────┘            │   │
//	 │   │                    v        PINGREQ(client id)           │   │
//	 │   └─ DISCONNECT ─── asleep ─────────────────────────> awake ─────┤
//	 │                     ^  │ ^                             │ │   │   │
//	 │ DISCONNECT(duration)└──┤ └── nothing more: PINGRESP ───┘ │   │   │
//	 │                        │      or no answer: silently     │   │   │
//	 └───────────── DISCONNECT ─────────────────────────────────┘   │   │
//	                          │ sleep timer                         │   │
//	                          v                keep-alive, N_retry  │   │
//	                         lost <─────────────────────────────────┘   │
//	                          └── CONNECT ──────────────────────────────┘
//
// The timers run for what the client said and half of it more, a tenth from 60 s on (7.2). Only a client that gets lost has its
// will published.
type state uint8

const (
	disconnected state = iota
	active
	asleep
	awake
	lost
	states
)

func (s state) String() string {
	return [states]string{"disconnected", "active", "asleep", "awake", "lost"}[s]
}

// connected: the client has a session at the server.
func (s state) connected() bool { return s == active || s == asleep || s == awake }

// peer is where a client is.
type peer struct {
	link *link
	addr net.Addr // comparable
}

// client is what the gateway keeps of one client. It is guarded by Gateway.mu.
type client struct {
	id       string
	at       peer
	identity string // proven by the link
	session  Session
	gen      uint16 // counts the sessions
	will     *mqtt.Will
	prompt   *handshake // CONNECT under way
	out      *exchange  // towards the client
	topics   []topicName
	subs     []subscription

	seen  time.Duration // when something came from it last
	since time.Duration // of the state
	due   time.Duration // its place in the heap of deadlines
	place int32         // index in the heap, -1: not there

	epoch uint64 // the save that has its last change

	keepAlive uint16 // seconds
	sleep     uint16 // seconds
	state     state
	clean     bool
	opening   bool // its session is being opened
	stored    bool // the store knows it
	dirty     bool // and has to be told
	gone      bool // forgotten
	counted   bool // in the numbers of clients by state

	inbound  uint8     // messages of QoS 1 and 2 that the server has not acknowledged
	regID    uint16    // message id of the last REGISTER to the client
	recent   [4]recent // messages of QoS 1 from the client
	recentAt uint8
	rate     uint8         // messages of QoS -1 in the second of
	rateAt   time.Duration // that
}

// recent is a message of QoS 1 whose repeat is recognised: by DUP, or, where the network doubles datagrams, by its content soon
// after it.
type recent struct {
	id    uint16
	topic uint16
	sum   uint32 // of the payload
	at    uint32 // when it came, ms of the gateway's time
	acked bool
	fresh bool // it came on the present connection
}

// topicName is the name of the topic id that its index, plus 1, is.
type topicName struct {
	name  string
	state topicState
}

type topicState uint8

const (
	offered topicState = iota // the client may not know it yet: REGISTER first
	known
	refused // the client wants nothing of it
)

type subscription struct {
	filter string
	qos    byte
}

// exchange is a message on its way to the client, until it was acknowledged.
type exchange struct {
	d     broker.Delivery
	typ   mqttsn.TopicType
	topic uint16
	stage stage
	again bool // it is in the client's hands for the second time in a row: it knew no such id
	tries int
	first time.Duration // when the stage began
	at    time.Duration // when to try again
}

type stage uint8

const (
	registering stage = iota // REGISTER sent
	publishing               // PUBLISH sent
	received                 // PUBREC came, and is being stored
	releasing                // PUBREL sent
)

// handshake is a CONNECT until CONNACK.
type handshake struct {
	p    mqttsn.Connect
	will *mqtt.Will
	from peer
	step step
	end  time.Duration
}

type step uint8

const (
	wantTopic   step = iota // WILLTOPICREQ sent
	wantMessage             // WILLMSGREQ sent
	wantSession             // asked of the server
)
