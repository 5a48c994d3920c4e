package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Client is an MQTT client. Its methods are safe for concurrent use.
type Client struct {
	o       Options
	servers []server
	wake    chan struct{} // Kill and Resume end a wait of Run

	mu       sync.Mutex
	running  bool
	dark     bool               // between Kill and Resume
	abort    context.CancelFunc // of the attempt under way
	link     *link              // nil while not connected
	box      outbox
	reserved int       // bytes given to Publish calls that waited and have not appended yet
	waiting  []*waiter // Publish calls that wait for room, oldest first
	flushes  []flush
	calling  bool // Acked functions are being called
	subs     subscriptions
	handed   *handover // to be the next link
	// received holds the identifiers of QoS 2 messages whose PUBREL has not come.
	received map[uint16]struct{}
	n        counters

	// last is the server, plus 1, of the last connection: what a session holds is known of no other.
	last int
	// visited has a bit for each of the first 64 servers that was connected.
	visited uint64
	// assigned is the client id that a server of MQTT 5 gave.
	assigned string
	// noBridge says that the server does not know the bridge bit.
	noBridge bool
	detour   detour

	authMu    sync.Mutex // held over a call of Auth; taken before mu
	authing   bool       // between Auth.Begin and what it came to
	authAgain bool       // Reauthenticate was called meanwhile

	serverMax atomic.Int64 // largest packet the last server takes; 0: any
}

// New checks the options and makes a client. It connects to nothing: Run does.
func New(o Options) (*Client, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Client{o: o, wake: make(chan struct{}, 1)}
	if o.Dial != nil {
		c.servers = []server{{name: "dial", dial: o.Dial}}
	} else {
		for i := range 1 + len(o.Fallbacks) {
			u := o.URL
			if i > 0 {
				u = o.Fallbacks[i-1]
			}
			s, err := parseServer(u)
			if err != nil {
				return nil, fmt.Errorf("client %q: %w", o.ClientID, err)
			}
			c.servers = append(c.servers, s)
		}
	}
	for i := range c.servers {
		if c.servers[i].username == "" {
			c.servers[i].username, c.servers[i].password = o.Username, o.Password
		}
	}
	c.box.busy = notBusy
	c.subs.init(o.Subscriptions)
	return c, nil
}

// Run connects, serves the connection and connects again until ctx ends; then it sends Farewell and DISCONNECT, and returns
// nil when everything it started has ended. Messages that are still queued stay queued: call Flush before to wait for them.
// Run may be called again after it returned.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running {
		c.mu.Unlock()
		return ErrRunning
	}
	c.running = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.running = false
		c.mu.Unlock()
	}()

	c.detour = detour{}
	at, failures := 0, 0 // the server to try, see server, and attempts without a lasting connection
	defer c.abandon()
	for ctx.Err() == nil {
		if !c.lit(ctx) {
			break
		}
		lasted, err := c.connection(ctx, at)
		if ctx.Err() != nil {
			break
		}
		var wait time.Duration
		next, handed := c.handedTo()
		switch {
		case handed: // the link ended before it was given up
			at, failures = next, 0
			continue
		case errors.Is(err, errFailBack), c.isDark():
			at, failures = 0, 0
			continue
		case c.follow(at, lasted, err):
			at = len(c.servers)
			continue
		case lasted > c.limit(failures):
			// It lasted. All who were on that server lost it at the same time, hence the jitter.
			at, failures = 0, 0
			wait = rand.N(c.o.MinBackoff + 1)
		case lasted > 0:
			at = 0
			wait = c.backoff(failures)
			failures++
		case at+1 < len(c.servers):
			at++
		default:
			at = 0
			wait = c.backoff(failures)
			failures++
		}
		if at == 0 {
			c.detour.hops = 0
		}
		c.o.Logger.Debug("connection ended", "client", c.o.ClientID, "lasted", lasted, "retry_in", wait, "error", err)
		c.pause(ctx, wait)
	}
	return nil
}

// limit is MinBackoff doubled with every failure, up to MaxBackoff.
func (c *Client) limit(failures int) time.Duration {
	d := c.o.MinBackoff
	for range failures {
		if d *= 2; d >= c.o.MaxBackoff || d <= 0 {
			return c.o.MaxBackoff
		}
	}
	return d
}

// backoff is drawn from the upper half of limit.
func (c *Client) backoff(failures int) time.Duration {
	d := c.limit(failures)
	return d/2 + rand.N(d/2+1)
}

// pause waits for d, for the end of ctx, or for Kill or Resume.
func (c *Client) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-c.wake:
	}
}

// lit waits while the client is dark; it returns false when ctx ends first.
func (c *Client) lit(ctx context.Context) bool {
	for c.isDark() {
		select {
		case <-ctx.Done():
			return false
		case <-c.wake:
		}
	}
	return true
}

func (c *Client) isDark() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dark
}

// Kill drops the connection as a loss of power would: no DISCONNECT, nothing more is sent, and the server publishes the will.
// The client stays dark, keeping its queue, until Resume.
func (c *Client) Kill() {
	c.mu.Lock()
	c.dark = true
	if c.abort != nil {
		c.abort()
	}
	if c.link != nil {
		c.link.fail(ErrKilled)
	}
	if c.handed != nil {
		_ = c.handed.conn.Close()
		c.handed = nil
	}
	c.mu.Unlock()
	c.nudge()
}

// Resume ends what Kill began: the client connects at once.
func (c *Client) Resume() {
	c.mu.Lock()
	c.dark = false
	c.mu.Unlock()
	c.nudge()
}

// Reconnect ends the present connection in order, with DISCONNECT and without Farewell, and lets Run connect anew at once. It
// does nothing while there is no connection.
func (c *Client) Reconnect() {
	c.mu.Lock()
	if c.link != nil {
		c.link.retry = true
		c.leave(c.link, nil)
	}
	c.mu.Unlock()
}

func (c *Client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
