package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/wattbus/wattbus/internal/bus"
)

var amqpKind = kind{
	schemes: []string{"amqp", "amqps"}, address: true, addressHelp: "a node such as /queue/readings or /topic/wattbus.{name}",
	check: func(s *Spec) error {
		if a, err := parseAddress(s.Address); err == nil && a.has("id") {
			return errors.New("address: {id} would take a link for each device; want {kind} and {name} at most")
		}
		return nil
	},
	open:   openAMQP,
	source: openAMQPSource,
}

// amqpTarget sends to a broker that speaks AMQP 1.0, and so to programs that speak JMS.
type amqpTarget struct {
	address *address
	binary  bool
	link    amqpLink
}

// amqpLink is how to connect.
type amqpLink struct {
	url     string
	options amqp.ConnOptions
	timeout time.Duration
}

func openAMQP(s *Spec, _ *deps) (target, error) {
	l, err := s.amqpLink()
	if err != nil {
		return nil, err
	}
	a, err := parseAddress(s.Address)
	return &amqpTarget{address: a, binary: s.Encoding == Binary, link: l}, err
}

func (s *Spec) amqpLink() (l amqpLink, err error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return l, err
	}
	l = amqpLink{url: s.URL, timeout: time.Duration(s.Timeout)}
	l.options.ContainerID = "wattbus-" + s.Name
	l.options.WriteTimeout = l.timeout
	l.options.SASLType = amqp.SASLTypeAnonymous()
	password, err := secret("password", s.PasswordFile, s.PasswordEnv)
	if err != nil {
		return l, err
	}
	if s.Username != "" {
		l.options.SASLType = amqp.SASLTypePlain(s.Username, password)
	}
	l.options.TLSConfig, err = s.tlsConfig(u.Scheme == "amqps")
	return l, err
}

// dial opens a connection and a session on it.
func (l *amqpLink) dial(ctx context.Context) (*amqp.Conn, *amqp.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	o := l.options
	c, err := amqp.Dial(ctx, l.url, &o)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, s, nil
}

func (t *amqpTarget) connect(ctx context.Context) (session, error) {
	c, s, err := t.link.dial(ctx)
	if err != nil {
		return nil, err
	}
	x := &amqpSession{t: t, c: c, s: s, senders: map[string]*amqp.Sender{}}
	if t.address.fixed() { // what is wrong with it is known at once
		if _, err := x.sender(ctx, t.address.text[0]); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return x, nil
}

type amqpSession struct {
	t        *amqpTarget
	c        *amqp.Conn
	s        *amqp.Session
	senders  map[string]*amqp.Sender
	receipts []amqp.SendReceipt
}

func (x *amqpSession) gone() <-chan struct{} { return x.c.Done() }
func (x *amqpSession) close() error          { return x.c.Close() }

func (x *amqpSession) sender(ctx context.Context, address string) (*amqp.Sender, error) {
	if s := x.senders[address]; s != nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, x.t.link.timeout)
	defer cancel()
	s, err := x.s.NewSender(ctx, address, &amqp.SenderOptions{TargetDurability: amqp.DurabilityUnsettledState})
	if err != nil {
		return nil, fmt.Errorf("address %s: %w", address, err)
	}
	x.senders[address] = s
	return s, nil
}

// deliver sends all, then waits until each is settled.
func (x *amqpSession) deliver(ctx context.Context, events []bus.OutEvent) (settled int, refused []refusal, err error) {
	x.receipts = x.receipts[:0]
	send := func(e *bus.OutEvent) error {
		s, err := x.sender(ctx, x.t.address.of(e))
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, x.t.link.timeout)
		defer cancel()
		r, err := s.SendWithReceipt(limited, x.t.message(e), nil)
		if err == nil {
			x.receipts = append(x.receipts, r)
		}
		return err
	}
	var failed error
	for i := range events {
		if failed = send(&events[i]); failed != nil {
			break
		}
	}
	for i := range x.receipts {
		limited, cancel := context.WithTimeout(ctx, x.t.link.timeout)
		state, err := x.receipts[i].Wait(limited)
		cancel()
		if err != nil {
			return settled, refused, err
		}
		switch st := state.(type) {
		case *amqp.StateAccepted:
		case *amqp.StateRejected:
			why := "rejected"
			if st.Error != nil {
				why = st.Error.Error()
			}
			refused = append(refused, refusal{events[i], why})
		default: // released or modified: not now
			return settled, refused, fmt.Errorf("the other side did not accept an event: %T", state)
		}
		settled++
	}
	if failed != nil && settled < len(events) {
		var wrong *amqp.Error
		if errors.As(failed, &wrong) && wrong.Condition == amqp.ErrCondMessageSizeExceeded {
			failed = &eventError{uid: events[settled].UID, err: failed}
		}
	}
	return settled, refused, failed
}

// message is a TextMessage or BytesMessage to programs that speak JMS, after its content type. CloudEvents 1.0, AMQP protocol
// binding, 3.1.3.1: the prefix that JMS can have in names.
func (t *amqpTarget) message(e *bus.OutEvent) *amqp.Message {
	kind, group, ct := e.Type(), e.Kind+"/"+e.ID, structuredType
	at := e.At()
	m := &amqp.Message{Header: &amqp.MessageHeader{Durable: true, Priority: 4}, ApplicationProperties: make(map[string]any, 6),
		Properties: &amqp.MessageProperties{MessageID: e.UID, Subject: &kind, GroupID: &group, ContentType: &ct, CreationTime: &at}}
	for _, a := range attributes(e) {
		m.ApplicationProperties["cloudEvents_"+a.name] = a.value
	}
	if t.binary {
		ct = dataType
		m.Data = [][]byte{e.Data}
	} else {
		m.Data = [][]byte{appendStructured(make([]byte, 0, len(e.Data)+256), e)}
	}
	return m
}

// amqpSource takes requests from a node.
type amqpSource struct {
	address string
	link    amqpLink
}

func openAMQPSource(s *Spec, _ *deps) (source, error) {
	l, err := s.amqpLink()
	l.options.ContainerID += "-commands"
	return &amqpSource{address: s.Commands.Address, link: l}, err
}

func (a *amqpSource) receive(ctx context.Context, window int, ready func(), handle func(*request)) error {
	c, s, err := a.link.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // what is not settled comes again
	limited, cancel := context.WithTimeout(ctx, a.link.timeout)
	r, err := s.NewReceiver(limited, a.address, &amqp.ReceiverOptions{Credit: int32(window), SourceDurability: amqp.DurabilityUnsettledState})
	cancel()
	if err != nil {
		return fmt.Errorf("address %s: %w", a.address, err)
	}
	ready()
	replies := &amqpReplies{s: s, senders: map[string]*amqp.Sender{}}
	for {
		m, err := r.Receive(ctx, nil)
		if err != nil {
			return err
		}
		handle(a.request(replies, r, m))
	}
}

// amqpReplies keeps the links to where answers go: RabbitMQ takes its time to end one, and a request is not done before.
type amqpReplies struct {
	s       *amqp.Session
	mu      sync.Mutex
	senders map[string]*amqp.Sender
	order   []string // oldest first
}

const maxReplies = 64

func (a *amqpReplies) sender(ctx context.Context, address string) (*amqp.Sender, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.senders[address]; s != nil {
		return s, nil
	}
	s, err := a.s.NewSender(ctx, address, nil)
	if err != nil {
		return nil, fmt.Errorf("reply to %.80s: %w", address, err)
	}
	if len(a.order) == maxReplies {
		a.drop(ctx, a.order[0])
	}
	a.senders[address] = s
	a.order = append(a.order, address)
	return s, nil
}

// forget ends a link that failed.
func (a *amqpReplies) forget(ctx context.Context, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(ctx, address)
}

// drop is called with a.mu held.
func (a *amqpReplies) drop(ctx context.Context, address string) {
	s := a.senders[address]
	if s == nil {
		return
	}
	delete(a.senders, address)
	a.order = slices.DeleteFunc(a.order, func(x string) bool { return x == address })
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = s.Close(ctx) // the session ends with the connection at the latest
}

func (a *amqpSource) request(replies *amqpReplies, r *amqp.Receiver, m *amqp.Message) *request {
	q := &request{body: bytes.Join(m.Data, nil)}
	switch v := m.Value.(type) {
	case nil:
	case string: // a TextMessage of JMS
		q.body = []byte(v)
	case []byte:
		q.body = v
	case map[string]any, map[any]any:
		q.wrong = "a map"
	case []any:
		q.wrong = "a list"
	default:
		q.wrong = fmt.Sprintf("the value %.40s", fmt.Sprint(v))
	}
	if m.Sequence != nil {
		q.wrong = "a sequence"
	}
	text := func(name string) string {
		switch v := m.ApplicationProperties[name].(type) {
		case nil:
			return ""
		case string:
			return v
		default:
			return fmt.Sprint(v)
		}
	}
	q.token, q.key = text(tokenProperty), text(keyProperty)
	replyTo := ""
	var correlation any
	if p := m.Properties; p != nil {
		if p.MessageID != nil {
			q.id = fmt.Sprint(p.MessageID)
		}
		if correlation = p.CorrelationID; correlation == nil {
			correlation = p.MessageID // as JMS programs expect it of those that answer
		}
		if p.ReplyTo != nil {
			replyTo = *p.ReplyTo
		}
	}
	q.done = func(ctx context.Context) error { return r.AcceptMessage(ctx, m) }
	if replyTo != "" {
		q.answer = func(ctx context.Context, status, contentType string, body []byte) error {
			ctx, cancel := context.WithTimeout(ctx, a.link.timeout)
			defer cancel()
			out, err := replies.sender(ctx, replyTo)
			if err != nil {
				return err
			}
			err = out.Send(ctx, &amqp.Message{Header: &amqp.MessageHeader{Durable: true}, Data: [][]byte{body},
				Properties:            &amqp.MessageProperties{CorrelationID: correlation, ContentType: &contentType, To: &replyTo},
				ApplicationProperties: map[string]any{statusProperty: status}}, nil)
			if err != nil {
				replies.forget(ctx, replyTo)
			}
			return err
		}
	}
	return q
}
