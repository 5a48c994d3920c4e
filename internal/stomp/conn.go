package stomp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say where and how to connect.
type Options struct {
	Addr     string      // host:port
	TLS      *tls.Config // nil: plain
	Host     string      // virtual host; default that of Addr
	Login    string
	Passcode string
	// Beat is how often each side sends something; a server that is silent for three times as long is gone. Default 10 s.
	Beat time.Duration
	// Message is called for every MESSAGE frame, one at a time; it must not block for long. nil: they are dropped.
	Message func(*Frame)
}

// Conn is a connection. Its methods are safe for concurrent use.
type Conn struct {
	nc    net.Conn
	o     Options
	send  time.Duration // how often we have to send something; 0: never
	await time.Duration // how long the server may be silent; 0: for ever

	wmu  sync.Mutex
	w    *bufio.Writer
	buf  []byte
	next uint64 // receipt

	mu       sync.Mutex
	receipts map[uint64]chan error // of what waits for its receipt
	err      error
	unsent   error // of a write that failed

	gone   chan struct{} // closed when the connection has failed or was closed
	once   sync.Once
	worker sync.WaitGroup
}

// ServerError is an ERROR frame.
type ServerError struct {
	Text    string
	Receipt string // of the frame that it is about, "" if it does not say
}

func (e *ServerError) Error() string { return "the server says: " + e.Text }

// ErrClosed is what ends a connection that Close ended.
var ErrClosed = errors.New("connection is closed")

// Dial connects; ctx bounds that only. The caller closes the connection.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	if o.Beat <= 0 {
		o.Beat = 10 * time.Second
	}
	if o.Host == "" {
		host, _, err := net.SplitHostPort(o.Addr)
		if err != nil {
			return nil, err
		}
		o.Host = host
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		nc = tls.Client(nc, o.TLS)
	}
	c := &Conn{nc: nc, o: o, w: bufio.NewWriterSize(nc, 64<<10), receipts: map[uint64]chan error{}, gone: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() }) // ends what waits
	r := bufio.NewReaderSize(nc, 64<<10)
	err = c.connect(r)
	if !stop() && ctx.Err() != nil {
		err = fmt.Errorf("no CONNECTED from %s: does it speak STOMP, and want it TLS or not? %w", o.Addr, ctx.Err())
	}
	if err != nil {
		_ = nc.Close() // err tells what went wrong
		return nil, err
	}
	c.worker.Go(func() { c.read(r) })
	c.worker.Go(c.beat)
	return c, nil
}

func (c *Conn) connect(r *bufio.Reader) error {
	ms := strconv.FormatInt(c.o.Beat.Milliseconds(), 10)
	f := Frame{Command: "CONNECT", Headers: []Header{{"accept-version", "1.2"}, {"host", c.o.Host}, {"heart-beat", ms + "," + ms}}}
	if c.o.Login != "" {
		f.Headers = append(f.Headers, Header{"login", c.o.Login}, Header{"passcode", c.o.Passcode})
	}
	for _, h := range f.Headers {
		if strings.ContainsAny(h.Value, "\r\n\x00") {
			return fmt.Errorf("%s holds an end of line, which STOMP cannot carry", h.Name)
		}
	}
	if _, err := c.nc.Write(f.Append(nil)); err != nil {
		return err
	}
	for {
		got, err := Read(r)
		switch {
		case err != nil:
			return err
		case got == nil:
		case got.Command == "CONNECTED" && got.Get("version") == "1.2":
			return c.beats(got.Get("heart-beat"))
		case got.Command == "CONNECTED":
			return fmt.Errorf("the server speaks STOMP %.20q, want 1.2", got.Get("version"))
		case got.Command == "ERROR":
			return serverError(got)
		default:
			return fmt.Errorf("%w: %.40q in place of CONNECTED", ErrFrame, got.Command)
		}
	}
}

// beats settles the heart-beats: each side sends as often as it can and the other wants. STOMP 1.2, "Heart-beating"
func (c *Conn) beats(header string) error {
	if header == "" {
		return nil
	}
	can, wants, ok := strings.Cut(header, ",")
	x, e1 := strconv.ParseUint(strings.TrimSpace(can), 10, 31)
	y, e2 := strconv.ParseUint(strings.TrimSpace(wants), 10, 31)
	if !ok || e1 != nil || e2 != nil {
		return fmt.Errorf("%w: heart-beat %.40q", ErrFrame, header)
	}
	if x > 0 {
		c.await = 3 * max(time.Duration(x)*time.Millisecond, c.o.Beat)
	}
	if y > 0 {
		c.send = max(time.Duration(y)*time.Millisecond, c.o.Beat)
	}
	return nil
}

func serverError(f *Frame) error {
	text := f.Get("message")
	if text == "" {
		text, _, _ = strings.Cut(string(f.Body), "\n")
	}
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return &ServerError{Text: text, Receipt: f.Get("receipt-id")}
}

// Gone is closed when the connection has ended; Err tells why.
func (c *Conn) Gone() <-chan struct{} { return c.gone }

// Err is why the connection has ended, nil while it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// sayWhy is how long a server may take to tell why it ended a connection.
const sayWhy = time.Second

// broken notes that a write failed. The connection ends with what the reader finds: a server that closes it sends an ERROR before.
func (c *Conn) broken(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsent == nil {
		c.unsent = err
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(sayWhy)) // of a connection that is closed the reader knows
}

// patience sets until when the server has to send something, under mu: one that is set meanwhile for a write that failed holds.
func (c *Conn) patience() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.unsent != nil:
		return c.nc.SetReadDeadline(time.Now().Add(sayWhy))
	case c.await > 0:
		return c.nc.SetReadDeadline(time.Now().Add(c.await))
	}
	return nil
}

// fail ends the connection, once.
func (c *Conn) fail(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		if se := (*ServerError)(nil); c.unsent != nil && !errors.As(err, &se) && !errors.Is(err, ErrClosed) {
			err = c.unsent
		}
		c.err = err
		waiting := c.receipts
		c.receipts = nil
		c.mu.Unlock()
		for _, ch := range waiting {
			ch <- err
		}
		close(c.gone)
		_ = c.nc.Close() // err tells why
	})
}

// Close ends the connection and waits until everything it started has ended.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.worker.Wait()
	return nil
}

// Send writes a frame, with a receipt asked for. It may be buffered: Flush sends it. The channel gets nil when the server has dealt
// with it, and an error when the connection ends before.
func (c *Conn) Send(f *Frame) (<-chan error, error) {
	ch := make(chan error, 1)
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.next++
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	c.receipts[c.next] = ch
	c.mu.Unlock()
	f.Headers = append(f.Headers, Header{"receipt", strconv.FormatUint(c.next, 10)})
	return ch, c.write(f)
}

// Write writes a frame and asks for no receipt. It may be buffered: Flush sends it.
func (c *Conn) Write(f *Frame) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.Err(); err != nil {
		return err
	}
	return c.write(f)
}

// SendOnly writes and flushes a frame, and asks for no receipt.
func (c *Conn) SendOnly(f *Frame) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.write(f); err != nil {
		return err
	}
	return c.flush()
}

// Flush sends what is buffered.
func (c *Conn) Flush() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.flush()
}

func (c *Conn) write(f *Frame) error {
	c.buf = f.Append(c.buf[:0])
	if _, err := c.w.Write(c.buf); err != nil {
		c.broken(err)
		return err
	}
	return nil
}

func (c *Conn) flush() error {
	if err := c.w.Flush(); err != nil {
		c.broken(err)
		return err
	}
	return nil
}

func (c *Conn) read(r *bufio.Reader) {
	for {
		if err := c.patience(); err != nil {
			c.fail(err)
			return
		}
		f, err := Read(r)
		if err != nil {
			c.fail(err)
			return
		}
		switch {
		case f == nil:
		case f.Command == "RECEIPT":
			c.receipt(f.Get("receipt-id"))
		case f.Command == "MESSAGE":
			if c.o.Message != nil {
				c.o.Message(f)
			}
		case f.Command == "ERROR":
			c.fail(serverError(f))
			return
		default:
			c.fail(fmt.Errorf("%w: %.20q from a server", ErrFrame, f.Command))
			return
		}
	}
}

func (c *Conn) receipt(id string) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return // none of ours
	}
	c.mu.Lock()
	ch := c.receipts[n]
	delete(c.receipts, n)
	c.mu.Unlock()
	if ch != nil {
		ch <- nil
	}
}

// beat sends heart-beats.
func (c *Conn) beat() {
	if c.send == 0 {
		return
	}
	tick := time.NewTicker(c.send / 2)
	defer tick.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-tick.C:
		}
		c.wmu.Lock()
		_, err := c.w.WriteString("\n")
		if err == nil {
			err = c.w.Flush()
		}
		c.wmu.Unlock()
		if err != nil {
			c.broken(err)
			return
		}
	}
}
