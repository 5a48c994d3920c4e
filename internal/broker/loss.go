package broker

import (
	"log/slog"
	"sync"
	"time"
)

// What a session whose client is away does not keep is counted, and told in the log: when it begins, then every
// lossEvery, and at last when the client is back or the session ends. So that many sessions at once do not fill the
// log, no more than lossMost lines are written in lossEvery; what is not told then is told later.
const (
	lossEvery = time.Minute
	lossMost  = 60
)

// loss is what a session has not kept since its client left.
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

// lose counts messages that the session does not keep. s.mu is held.
func (s *session) lose(b *Broker, why dropReason, n int) {
	b.drop(why, n)
	if s.loss == nil {
		s.loss = &loss{}
	}
	l := s.loss
	l.messages += uint64(n)
	l.reason = why
	if l.noted == 0 || b.now()-l.noted >= lossEvery {
		s.noteLoss(b, "messages for a client that is away are dropped")
	}
}

func (s *session) noteLoss(b *Broker, what string) {
	l, now := s.loss, b.now()
	if l.messages == l.told || !b.lossLines.take(now) {
		return
	}
	l.told, l.noted = l.messages, max(1, now)
	b.log.Warn(what, slog.String("client_id", s.id), slog.Uint64("messages", l.messages), slog.String("reason", l.reason.String()),
		slog.Int64("queued_bytes", s.bytes))
}

// tellLost says in the log what the session has not kept, and forgets it. s.mu is held.
func (s *session) tellLost(b *Broker, what string) {
	if s.loss == nil {
		return
	}
	s.loss.told = 0
	s.noteLoss(b, what)
	s.loss = nil
}
