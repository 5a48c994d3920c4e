package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// What a session whose client is away does not keep is counted, and told in the log: when it begins, then every
// lossEvery, and at last when the client is back or the session ends. What no member of a shared subscription takes is
// told in the same way, but for the last. So that many sessions at once do not fill the
// log, no more than lossMost lines are written in lossEvery; what is not told then is told later.
const (
	lossEvery = time.Minute
	lossMost  = 60
)

// loss is what a session has not kept since its client left, or a group of sessions since it is there.
type loss struct {
	messages uint64
	told     uint64        // messages, in the last line
	noted    time.Duration // Broker.now of that line; 0: there was none
	reason   dropReason
}

// lossLines bounds the lines of the log.
type lossLines struct {
	mu    sync.Mutex
	since time.Duration
	n     int
}

func (l *lossLines) take(now time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now-l.since >= lossEvery {
		l.since, l.n = now, 0
	}
	l.n++
	return l.n <= lossMost
}

// add counts messages. due: a line is to be written now, if there may be one.
func (l *loss) add(n int, now time.Duration) (due bool) {
	l.messages += uint64(n)
	return l.noted == 0 || now-l.noted >= lossEvery
}

// line takes one of the lines that may be written; false: there is none, or nothing to tell.
func (l *loss) line(b *Broker) bool {
	now := b.now()
	if l.messages == l.told || !b.lossLines.take(now) {
		return false
	}
	l.told, l.noted = l.messages, max(1, now)
	return true
}

// lose counts messages that the session does not keep. s.mu is held.
func (s *session) lose(b *Broker, why dropReason, n int) {
	b.drop(why, n)
	if s.loss == nil {
		s.loss = &loss{}
	}
	s.loss.reason = why
	if s.loss.add(n, b.now()) && s.loss.line(b) {
		b.log.LogAttrs(context.Background(), slog.LevelWarn, "messages for a client that is away are dropped", s.lost()...)
	}
}

// lost is what a line says. s.mu is held.
func (s *session) lost() []slog.Attr {
	return []slog.Attr{slog.String("client_id", s.id), slog.Uint64("messages", s.loss.messages),
		slog.String("reason", s.loss.reason.String()), slog.Int64("queued_bytes", s.bytes)}
}

// takeLost gives what a last line says of what the session has not kept, nil if there is none, and forgets it. s.mu is
// held.
func (s *session) takeLost(b *Broker) (said []slog.Attr) {
	if s.loss == nil {
		return nil
	}
	s.loss.told = 0
	if s.loss.line(b) {
		said = s.lost()
	}
	s.loss = nil
	return said
}

// lose counts a message that no member of the group takes.
func (g *share) lose(b *Broker) {
	b.drop(dropOfflineFull, 1)
	g.lossMu.Lock()
	defer g.lossMu.Unlock()
	if g.loss.add(1, b.now()) && g.loss.line(b) {
		b.log.Warn("messages for a shared subscription are dropped, no member has room for them",
			slog.String("filter", g.name), slog.Uint64("messages", g.loss.messages))
	}
}
