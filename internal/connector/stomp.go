package connector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/stomp"
)

var stompKind = kind{
	schemes: []string{"stomp", "stomps"}, address: true, addressHelp: "a destination such as /topic/wattbus.{name} or /queue/readings",
	check:  func(*Spec) error { return nil },
	open:   openStomp,
	source: openStompSource,
}

// stompTarget sends to a broker that speaks STOMP, and so to programs that speak JMS.
type stompTarget struct {
	address *address
	binary  bool
	options stomp.Options
	timeout time.Duration

	// Of the one goroutine that delivers.
	alone   int // so many events go one by one, after an error in a transaction
	strikes int // transactions in a row that were refused
}

func openStomp(s *Spec, _ *deps) (target, error) {
	o, err := s.stompOptions()
	if err != nil {
		return nil, err
	}
	a, err := parseAddress(s.Address)
	return &stompTarget{address: a, binary: s.Encoding == Binary, options: o, timeout: time.Duration(s.Timeout)}, err
}

func (s *Spec) stompOptions() (o stomp.Options, err error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return o, err
	}
	o.Addr = hostPort(u, map[string]string{"stomp": "61613", "stomps": "61614"})
	o.Login = s.Username
	if o.Passcode, err = secret("password", s.PasswordFile, s.PasswordEnv); err != nil {
		return o, err
	}
	var tc *tls.Config
	tc, err = s.tlsConfig(u.Scheme == "stomps")
	o.TLS = tc
	return o, err
}

// hostPort is a URL's address, with the scheme's port where it has none.
func hostPort(u *url.URL, ports map[string]string) string {
	if u.Port() != "" {
		return u.Host
	}
	return u.Host + ":" + ports[u.Scheme]
}

func (t *stompTarget) connect(ctx context.Context) (session, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	c, err := stomp.Dial(ctx, t.options)
	if err != nil {
		return nil, err
	}
	return &stompSession{t: t, c: c}, nil
}

// The bounds of a transaction, which the other side keeps in memory until it ends.
const (
	stompEvents = 500
	stompBytes  = 1 << 20
	// stompStrikes is after how many transactions in a row that the other side refused, although it took their events one by one, none is
	// tried any more.
	stompStrikes = 3
)

type stompSession struct {
	t     *stompTarget
	c     *stomp.Conn
	parts []stompPart
	count int // of transactions
}

// stompPart is what one receipt is about: a transaction or, by itself, an event.
type stompPart struct {
	n       int
	receipt <-chan error
}

func (s *stompSession) gone() <-chan struct{} { return s.c.Gone() }
func (s *stompSession) close() error          { return s.c.Close() }

// deliver sends all, in transactions, then waits for the receipts of their ends: the other side syncs a transaction once and tells of
// it once. An error in a transaction says not which event is at fault, so those of one that was refused go one by one the next time.
func (s *stompSession) deliver(ctx context.Context, events []bus.OutEvent) (settled int, refused []refusal, err error) {
	alone := min(s.t.alone, len(events))
	if s.t.strikes >= stompStrikes {
		alone = len(events)
	}
	s.parts = s.parts[:0]
	rest := events
	for i := range rest[:alone] {
		if !s.send(1, s.t.frame(&rest[i])) {
			break
		}
	}
	for rest = rest[alone:]; len(rest) > 0; {
		n := s.transaction(rest)
		if n == 0 {
			break // the receipts of those before tell why
		}
		rest = rest[n:]
	}
	if err := s.c.Flush(); err != nil && len(s.parts) == 0 {
		return 0, nil, s.why(err)
	}
	late := time.NewTimer(s.t.timeout)
	defer late.Stop()
	for i, p := range s.parts {
		select {
		case err := <-p.receipt:
			switch {
			case err != nil && i >= alone:
				s.t.refused(err, p.n)
				return settled, nil, s.why(err)
			case err != nil:
				return settled, nil, s.blame(err, events, settled)
			}
			settled += p.n
			s.t.took(i < alone)
		case <-late.C:
			return settled, nil, fmt.Errorf("no receipt within %v", s.t.timeout)
		case <-ctx.Done():
			return settled, nil, context.Cause(ctx)
		}
		late.Reset(s.t.timeout)
	}
	if settled < len(events) {
		return settled, nil, s.why(errors.New("the connection ended"))
	}
	return settled, nil, nil
}

// send writes a frame whose receipt tells of n events.
func (s *stompSession) send(n int, f *stomp.Frame) bool {
	ch, err := s.c.Send(f)
	if err == nil {
		s.parts = append(s.parts, stompPart{n, ch})
	}
	return err == nil
}

// transaction writes one, of as many events as it may have. STOMP 1.2, "BEGIN"
func (s *stompSession) transaction(events []bus.OutEvent) (n int) {
	s.count++
	id := stomp.Header{Name: "transaction", Value: "t" + strconv.Itoa(s.count)}
	if s.c.Write(&stomp.Frame{Command: "BEGIN", Headers: []stomp.Header{id}}) != nil {
		return 0
	}
	for size := 0; n < min(len(events), stompEvents) && size < stompBytes; n++ {
		f := s.t.frame(&events[n])
		f.Headers = append(f.Headers, id)
		if s.c.Write(f) != nil {
			return 0
		}
		size += len(f.Body)
	}
	if !s.send(n, &stomp.Frame{Command: "COMMIT", Headers: []stomp.Header{id}}) {
		return 0
	}
	return n
}

// refused notes that the other side refused a transaction of n events.
func (t *stompTarget) refused(err error, n int) {
	var se *stomp.ServerError
	if errors.As(err, &se) {
		t.alone = n
		t.strikes++
	}
}

// took notes that the other side has an event that went alone, or a transaction.
func (t *stompTarget) took(alone bool) {
	if alone {
		t.alone = max(t.alone-1, 0)
	} else {
		t.strikes = 0
	}
}

// why prefers what ended the connection to what was noticed of it.
func (s *stompSession) why(err error) error {
	if e := s.c.Err(); e != nil {
		return e
	}
	return err
}

// blame says of an error that the server gave with a receipt which event it is about.
func (s *stompSession) blame(err error, events []bus.OutEvent, settled int) error {
	var se *stomp.ServerError
	if errors.As(err, &se) && se.Receipt != "" && settled < len(events) {
		return &eventError{uid: events[settled].UID, err: err}
	}
	return s.why(err)
}

// frame is a TextMessage to programs that speak JMS. What selectors may want stands in properties, whose names are Java's; the
// group keeps messages of one device with one consumer where several share a queue.
func (t *stompTarget) frame(e *bus.OutEvent) *stomp.Frame {
	f := &stomp.Frame{Command: "SEND", Text: true, Headers: make([]stomp.Header, 0, 12)}
	add := func(name, value string) { f.Headers = append(f.Headers, stomp.Header{Name: name, Value: value}) }
	add("destination", t.address.of(e))
	add("persistent", "true")
	add("JMSXGroupID", e.Kind+"/"+e.ID)
	add("type", e.Type()) // JMSType
	for _, a := range attributes(e) {
		add("ce_"+a.name, a.value)
	}
	if t.binary {
		add("content-type", dataType)
		f.Body = e.Data
	} else {
		add("content-type", structuredType)
		f.Body = appendStructured(make([]byte, 0, len(e.Data)+256), e)
	}
	return f
}

// stompSource takes requests from a destination.
type stompSource struct {
	address string
	options stomp.Options
	timeout time.Duration
}

func openStompSource(s *Spec, _ *deps) (source, error) {
	o, err := s.stompOptions()
	return &stompSource{address: s.Commands.Address, options: o, timeout: time.Duration(s.Timeout)}, err
}

func (s *stompSource) receive(ctx context.Context, window int, ready func(), handle func(*request)) error {
	// ActiveMQ sends no more than the window without acknowledgements; a broker that does not know the header ends here.
	frames := make(chan *stomp.Frame, 4*window)
	full := make(chan struct{}, 1)
	o := s.options
	o.Message = func(f *stomp.Frame) {
		select {
		case frames <- f:
		default:
			select {
			case full <- struct{}{}:
			default:
			}
		}
	}
	dial, cancel := context.WithTimeout(ctx, s.timeout)
	c, err := stomp.Dial(dial, o)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // what is not acknowledged comes again
	got, err := c.Send(&stomp.Frame{Command: "SUBSCRIBE", Headers: []stomp.Header{{Name: "id", Value: "commands"}, {Name: "destination", Value: s.address},
		{Name: "ack", Value: "client-individual"}, {Name: "activemq.prefetchSize", Value: strconv.Itoa(window)}}})
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		return err
	}
	for subscribed := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.Gone():
			return c.Err()
		case <-full:
			return fmt.Errorf("the other side sends more than %d messages that are not acknowledged", cap(frames))
		case err := <-got:
			if err != nil {
				return err
			}
			if !subscribed {
				subscribed = true
				ready()
			}
		case f := <-frames:
			handle(s.request(c, f))
		}
	}
}

func (s *stompSource) request(c *stomp.Conn, f *stomp.Frame) *request {
	q := &request{id: f.Get("message-id"), key: f.Get(keyProperty), token: f.Get(tokenProperty), body: f.Body}
	confirmed := func(ctx context.Context, out *stomp.Frame) error {
		ch, err := c.Send(out)
		if err == nil {
			err = c.Flush()
		}
		if err != nil {
			return err
		}
		select {
		case err := <-ch:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.timeout):
			return fmt.Errorf("no receipt within %v", s.timeout)
		}
	}
	q.done = func(ctx context.Context) error {
		return confirmed(ctx, &stomp.Frame{Command: "ACK", Headers: []stomp.Header{{Name: "id", Value: f.Get("ack")}}})
	}
	if to := f.Get("reply-to"); to != "" {
		correlation := f.Get("correlation-id")
		if correlation == "" {
			correlation = f.Get("message-id") // as JMS programs expect it of those that answer
		}
		q.answer = func(ctx context.Context, status, contentType string, body []byte) error {
			return confirmed(ctx, &stomp.Frame{Command: "SEND", Text: true, Body: body, Headers: []stomp.Header{{Name: "destination", Value: to},
				{Name: "correlation-id", Value: correlation}, {Name: "content-type", Value: contentType}, {Name: "persistent", Value: "true"},
				{Name: statusProperty, Value: status}}})
		}
	}
	return q
}
