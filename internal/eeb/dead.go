package eeb

import "time"

// The reasons of dead letters besides those of package record.
const (
	reasonTopic     = "topic"      // outside the grammar
	reasonDirection = "direction"  // a message of the centre to devices came up
	reasonFormat    = "format"     // the event in the topic names no format that is known here
	reasonStatus    = "status"     // not a word that a concentrator's status may be
	reasonKind      = "kind"       // the kind of device does not send this
	reasonTable     = "table_full" // no room for another device
)

// limiter decides which dead letters are kept: those of one client within a rate, so that a flood of it does not push out
// those of others, and all of them within a hundred times that. It remembers 1,024 clients at most. Not for concurrent use.
type limiter struct {
	rate, burst float64
	clients     map[string]*bucket
	all         bucket
}

type bucket struct {
	left float64
	at   time.Time
}

const (
	limitClients = 1024
	limitAll     = 100
)

func newLimiter(rate, burst float64) *limiter {
	return &limiter{rate: rate, burst: burst, clients: make(map[string]*bucket), all: bucket{left: limitAll * burst}}
}

func (l *limiter) allow(client string, now time.Time) bool {
	b := l.clients[client]
	if b == nil {
		if len(l.clients) >= limitClients {
			l.forget(now)
		}
		b = &bucket{left: l.burst, at: now}
		l.clients[client] = b
	}
	return b.take(l.rate, l.burst, now) && l.all.take(limitAll*l.rate, limitAll*l.burst, now)
}

// forget drops the clients that have been quiet, or all of them when a crowd is at it: the common bound remains.
func (l *limiter) forget(now time.Time) {
	for c, b := range l.clients {
		if b.left+now.Sub(b.at).Seconds()*l.rate >= l.burst {
			delete(l.clients, c)
		}
	}
	if len(l.clients) >= limitClients {
		clear(l.clients)
	}
}

func (b *bucket) take(rate, burst float64, now time.Time) bool {
	if !b.at.IsZero() {
		b.left = min(burst, b.left+now.Sub(b.at).Seconds()*rate)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
