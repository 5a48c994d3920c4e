package connector

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/wattbus/wattbus/internal/bus"
)

var natsKind = kind{
	schemes: []string{"nats", "tls"}, many: true, address: true, addressHelp: "a subject such as wattbus.{kind}.{name}.{id}",
	check: func(s *Spec) error {
		if s.NATS == nil {
			s.NATS = &NATS{}
		}
		if s.NATS.Credentials != "" && (s.Username != "" || s.PasswordFile != "" || s.PasswordEnv != "") {
			return errors.New("nats.credentials-file: want it, or user name and password")
		}
		if s.Address != "" && !subject(s.Address) {
			return fmt.Errorf("address: %.60q, want a subject: tokens with dots between, no blanks and no wildcards", s.Address)
		}
		if s.Commands != nil && (!subject(s.Commands.Address) || strings.Contains(s.Commands.Address, "{")) {
			return fmt.Errorf("commands.address: %.60q, want a subject: tokens with dots between, no blanks and no wildcards", s.Commands.Address)
		}
		return nil
	},
	open:   openNATS,
	source: openNATSSource,
}

// subject reports whether something can be published to s, places for parts aside.
func subject(s string) bool {
	return len(s) <= 200 && !strings.ContainsAny(s, " \t\r\n*>") && !strings.HasPrefix("."+s+".", "..") && !strings.Contains("."+s+".", "..") && !strings.HasPrefix(s, "$")
}

// natsLink is how to connect.
type natsLink struct {
	url     string
	options []nats.Option
	timeout time.Duration
}

func (s *Spec) natsLink() (*natsLink, error) {
	password, err := secret("password", s.PasswordFile, s.PasswordEnv)
	if err != nil {
		return nil, err
	}
	l := &natsLink{timeout: time.Duration(s.Timeout)}
	scheme, _, _ := strings.Cut(s.URL, "://")
	var all []string
	for _, h := range s.servers("4222") {
		all = append(all, scheme+"://"+h)
	}
	l.url = strings.Join(all, ",")
	l.options = []nats.Option{nats.Name("wattbus-" + s.Name), nats.Timeout(l.timeout), nats.NoReconnect()} // the runner connects again
	switch {
	case s.NATS.Credentials != "":
		l.options = append(l.options, nats.UserCredentials(s.NATS.Credentials))
	case s.Username != "":
		l.options = append(l.options, nats.UserInfo(s.Username, password))
	case password != "":
		l.options = append(l.options, nats.Token(password))
	}
	tc, err := s.tlsConfig(scheme == "tls")
	if tc != nil {
		l.options = append(l.options, nats.Secure(tc))
	}
	return l, err
}

// dial connects. gone is closed when the connection ends.
func (l *natsLink) dial() (c *nats.Conn, gone chan struct{}, err error) {
	gone = make(chan struct{})
	// Errors that come on their own are asked for by those who would wait in vain.
	quiet := func(*nats.Conn, *nats.Subscription, error) {}
	c, err = nats.Connect(l.url, append([]nats.Option{nats.ClosedHandler(func(*nats.Conn) { close(gone) }), nats.ErrorHandler(quiet)}, l.options...)...)
	return c, gone, err
}

// natsTarget publishes to a server of NATS: into a stream, whose answer confirms an event, or to whoever subscribes at the moment.
type natsTarget struct {
	address *address
	binary  bool
	core    bool
	link    *natsLink
}

func openNATS(s *Spec, _ *deps) (target, error) {
	l, err := s.natsLink()
	if err != nil {
		return nil, err
	}
	a, err := parseAddress(s.Address)
	if err != nil {
		return nil, err
	}
	a.escape = bus.EscapeID
	return &natsTarget{address: a, binary: s.Encoding == Binary, core: s.NATS.Core, link: l}, nil
}

func (t *natsTarget) connect(ctx context.Context) (session, error) {
	c, gone, err := t.link.dial()
	if err != nil {
		return nil, err
	}
	x := &natsSession{t: t, c: c, ended: gone}
	if !t.core {
		x.js, err = jetstream.New(c, jetstream.WithPublishAsyncTimeout(t.link.timeout), jetstream.WithPublishAsyncMaxPending(2*bus.OutEvents))
		if err == nil {
			err = x.look(ctx)
		}
		if err != nil {
			c.Close()
			return nil, err
		}
	}
	return x, nil
}

type natsSession struct {
	t     *natsTarget
	c     *nats.Conn
	js    jetstream.JetStream // nil: core
	ended chan struct{}
}

// look tells at once that there is no stream for the address. Who may not ask finds out when it publishes.
func (x *natsSession) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(2*time.Second, x.t.link.timeout))
	defer cancel()
	any := x.t.address.of(&bus.OutEvent{Kind: "*", Name: "*", ID: "*"})
	_, err := x.js.StreamNameBySubject(ctx, any)
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return noStream(any, err)
	}
	return nil
}

func noStream(subject string, err error) error {
	return fmt.Errorf("no stream keeps subject %s; make one there, or set nats.core: %w", subject, err)
}

func (x *natsSession) gone() <-chan struct{} { return x.ended }
func (x *natsSession) close() error          { x.c.Close(); <-x.ended; return nil }

// why prefers what the server said on its own to what was noticed of it.
func (x *natsSession) why(err error) error {
	if said := x.c.LastError(); said != nil {
		return said
	}
	return err
}

// deliver publishes into a stream at once one event of each device, so that none is confirmed before an earlier one of the same device
// is.
func (x *natsSession) deliver(ctx context.Context, events []bus.OutEvent) (settled int, refused []refusal, err error) {
	whys, ok := make([]string, len(events)), make([]bool, len(events))
	send, groups := x.publish, [][]int{make([]int, len(events))} // on one connection they stay in order
	for i := range events {
		groups[0][i] = i
	}
	if x.js != nil {
		send, groups = x.store, waves(events)
	}
	for _, wave := range groups {
		if err = send(ctx, events, wave, whys, ok); err != nil {
			break
		}
	}
	for settled < len(events) && ok[settled] {
		if whys[settled] != "" {
			refused = append(refused, refusal{events[settled], whys[settled]})
		}
		settled++
	}
	return settled, refused, err
}

// waves groups events such that the n-th ones of all devices are in the n-th group.
func waves(events []bus.OutEvent) [][]int {
	var all [][]int
	count := make(map[string]int, len(events))
	for i := range events {
		n := count[events[i].ID]
		count[events[i].ID] = n + 1
		if n == len(all) {
			all = append(all, nil)
		}
		all[n] = append(all[n], i)
	}
	return all
}

// codeTooLarge is that of JetStream's error "message size exceeds maximum allowed".
const codeTooLarge = 10054

// store publishes into a stream and waits until it has each. The stream takes an event once that comes again within its duplicate window.
func (x *natsSession) store(ctx context.Context, events []bus.OutEvent, wave []int, whys []string, ok []bool) error {
	futures := make([]jetstream.PubAckFuture, len(wave))
	for n, i := range wave {
		f, err := x.js.PublishMsgAsync(x.t.message(&events[i]), jetstream.WithMsgID(events[i].UID), jetstream.WithRetryAttempts(0))
		switch {
		case errors.Is(err, nats.ErrMaxPayload):
			whys[i], ok[i] = err.Error(), true
		case err != nil:
			return x.why(err)
		}
		futures[n] = f
	}
	for n, i := range wave {
		if futures[n] == nil {
			continue
		}
		var err error
		select {
		case <-futures[n].Ok():
		case err = <-futures[n].Err():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var api *jetstream.APIError
		switch {
		case err == nil:
		case errors.As(err, &api) && api.ErrorCode == codeTooLarge:
			whys[i] = err.Error()
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
			return noStream(x.t.address.of(&events[i]), err)
		default:
			return x.why(err)
		}
		ok[i] = true
	}
	return nil
}

// publish hands events to the server and waits until it has read them.
func (x *natsSession) publish(ctx context.Context, events []bus.OutEvent, wave []int, whys []string, ok []bool) error {
	ctx, cancel := context.WithTimeout(ctx, x.t.link.timeout)
	defer cancel()
	for _, i := range wave {
		err := x.c.PublishMsg(x.t.message(&events[i]))
		switch {
		case errors.Is(err, nats.ErrMaxPayload):
			whys[i] = err.Error()
		case err != nil:
			return x.why(err)
		}
	}
	if err := x.c.FlushWithContext(ctx); err != nil {
		return x.why(err)
	}
	if err := x.c.LastError(); err != nil { // it may not publish there
		return err
	}
	for _, i := range wave {
		ok[i] = true
	}
	return nil
}

// message: CloudEvents 1.0, NATS protocol binding, 3.1 and 3.2: datacontenttype is an attribute like the others, and a Content-Type
// says that a message is structured.
func (t *natsTarget) message(e *bus.OutEvent) *nats.Msg {
	m := &nats.Msg{Subject: t.address.of(e), Header: nats.Header{}}
	if !t.binary {
		m.Header["Content-Type"] = []string{structuredType}
		m.Data = appendStructured(make([]byte, 0, len(e.Data)+256), e)
		return m
	}
	for _, a := range attributes(e) {
		m.Header["ce-"+a.name] = []string{a.value}
	}
	m.Header["ce-datacontenttype"] = []string{dataType}
	m.Data = e.Data
	return m
}

// natsSource takes requests from a subject, shared with further centres of the same target.
type natsSource struct {
	subject string
	queue   string
	link    *natsLink
}

func openNATSSource(s *Spec, _ *deps) (source, error) {
	l, err := s.natsLink()
	return &natsSource{subject: s.Commands.Address, queue: "wattbus-" + s.Name, link: l}, err
}

func (n *natsSource) receive(ctx context.Context, window int, ready func(), handle func(*request)) error {
	c, gone, err := n.link.dial()
	if err != nil {
		return err
	}
	defer func() { c.Close(); <-gone }()
	s, err := c.QueueSubscribeSync(n.subject, n.queue)
	if err == nil {
		// What waits beyond that is dropped, and its asker asks again.
		err = s.SetPendingLimits(10*window, 16*maxRequest)
	}
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, n.link.timeout)
		err = c.FlushWithContext(limited)
		cancel()
	}
	if err == nil {
		err = c.LastError() // it may not subscribe there
	}
	if err != nil {
		return fmt.Errorf("subject %s: %w", n.subject, err)
	}
	ready()
	for {
		m, err := s.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrSlowConsumer):
			continue // told once for all that were dropped
		case err != nil:
			return err
		}
		handle(n.request(c, m))
	}
}

// request is one of a message, which the server sends once: whoever gets no answer asks again, with the same key.
func (n *natsSource) request(c *nats.Conn, m *nats.Msg) *request {
	q := &request{id: m.Header.Get(nats.MsgIdHdr), key: m.Header.Get(keyProperty), token: m.Header.Get(tokenProperty), body: m.Data,
		done: func(context.Context) error { return nil }}
	if q.id == "" {
		q.id = nuid.Next()
	}
	if m.Reply != "" {
		q.answer = func(ctx context.Context, status, contentType string, body []byte) error {
			ctx, cancel := context.WithTimeout(ctx, n.link.timeout)
			defer cancel()
			err := c.PublishMsg(&nats.Msg{Subject: m.Reply, Data: body, Header: nats.Header{statusProperty: {status}, "Content-Type": {contentType}}})
			if err != nil {
				return err
			}
			return c.FlushWithContext(ctx)
		}
	}
	return q
}
