package snlink

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

// ReopenAfter is the time between attempts to open a link that was lost.
const ReopenAfter = 2 * time.Second

// Reopened is a Conn over a link that may go away and come back, as the device of a modem that is pulled out does. What is sent
// meanwhile is lost.
type Reopened struct {
	open   func() (Conn, error)
	after  time.Duration
	log    *slog.Logger
	local  net.Addr
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	now  Conn              // nil while the link is away
	gone map[string]uint64 // counts of those that were lost
}

// NewReopened opens the link, which has to be there in the beginning. after 0: ReopenAfter.
func NewReopened(open func() (Conn, error), after time.Duration, log *slog.Logger) (*Reopened, error) {
	c, err := open()
	if err != nil {
		return nil, err
	}
	if after <= 0 {
		after = ReopenAfter
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Reopened{open: open, after: after, log: log, local: c.LocalAddr(), closed: make(chan struct{}), now: c,
		gone: make(map[string]uint64)}, nil
}

// ReadFrom implements Conn. It opens the link again, so one goroutine reads at a time.
func (r *Reopened) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		r.mu.Lock()
		c := r.now
		r.mu.Unlock()
		if c == nil {
			if c = r.again(); c == nil {
				return 0, nil, net.ErrClosed
			}
		}
		n, from, err := c.ReadFrom(b)
		if err == nil {
			return n, from, nil
		}
		r.mu.Lock()
		r.now = nil
		Counts(c, func(what string, n uint64) { r.gone[what] += n })
		r.mu.Unlock()
		_ = c.Close() // it has failed already
		select {
		case <-r.closed:
			return 0, nil, net.ErrClosed
		default:
			r.log.Warn("link lost, trying to open it again", "error", err)
		}
	}
}

// again opens the link when that is possible; nil: Close was called.
func (r *Reopened) again() Conn {
	t := time.NewTicker(r.after)
	defer t.Stop()
	for {
		select {
		case <-r.closed:
			return nil
		case <-t.C:
		}
		c, err := r.open()
		if err != nil {
			r.log.Debug("link not opened", "error", err)
			continue
		}
		r.mu.Lock()
		select {
		case <-r.closed:
			r.mu.Unlock()
			_ = c.Close()
			return nil
		default:
			r.now = c
		}
		r.mu.Unlock()
		r.log.Info("link opened again")
		return c
	}
}

// WriteTo implements Conn; ErrUnknownPeer while the link is away.
func (r *Reopened) WriteTo(b []byte, to net.Addr) (int, error) {
	r.mu.Lock()
	c := r.now
	r.mu.Unlock()
	if c == nil {
		return 0, ErrUnknownPeer
	}
	return c.WriteTo(b, to)
}

// Find implements Finder. While the link is away nobody is found.
func (r *Reopened) Find(text string) (net.Addr, bool) {
	r.mu.Lock()
	c := r.now
	r.mu.Unlock()
	if c == nil {
		return nil, false
	}
	return Find(c, text)
}

// LocalAddr implements Conn.
func (r *Reopened) LocalAddr() net.Addr { return r.local }

// Close implements Conn.
func (r *Reopened) Close() error {
	var err error
	r.once.Do(func() {
		close(r.closed)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.now != nil {
			err = r.now.Close()
		}
	})
	return err
}
