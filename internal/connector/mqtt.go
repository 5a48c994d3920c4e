package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

var mqttKind = kind{
	schemes: []string{"mqtt", "mqtts", "ws", "wss"}, address: true, addressHelp: "a topic such as wattbus/{kind}/{id}/{name}",
	check: func(s *Spec) error {
		if s.MQTT == nil {
			s.MQTT = &MQTT{}
		}
		if s.MQTT.Version == "" {
			s.MQTT.Version = "5"
		}
		switch s.MQTT.Version {
		case "5":
		case "3.1.1":
			if s.Encoding == Binary {
				return errors.New("encoding: binary needs the properties of mqtt.version 5")
			}
			if s.Commands != nil {
				return errors.New("commands: requests need the properties of mqtt.version 5")
			}
		default:
			return fmt.Errorf("mqtt.version: %.20q, want \"5\" or \"3.1.1\"", s.MQTT.Version)
		}
		if s.Address != "" {
			if err := topic.CheckName(strings.NewReplacer("{kind}", "k", "{name}", "n", "{id}", "i").Replace(s.Address)); err != nil || strings.HasPrefix(s.Address, "$") {
				return fmt.Errorf("address: %.60q, want a topic to publish to: no wildcards, no $ in front", s.Address)
			}
		}
		if s.Commands != nil {
			if err := topic.CheckFilter(s.Commands.Address); err != nil {
				return fmt.Errorf("commands.address: %w", err)
			}
			if s.Commands.Window > 65535 {
				return fmt.Errorf("commands.window: %d, want at most 65535 with type mqtt", s.Commands.Window)
			}
		}
		return nil
	},
	open:   openMQTT,
	source: openMQTTSource,
}

// mqttPacket is the largest packet that is sent; one event may be as large as a request.
const mqttPacket = maxRequest + 64<<10

// mqttOptions are those of a client whose connections are a session each: Run is ended when one is lost.
func (s *Spec) mqttOptions() (o client.Options, err error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return o, err
	}
	password, err := secret("password", s.PasswordFile, s.PasswordEnv)
	if err != nil {
		return o, err
	}
	o = client.Options{URL: s.URL, ClientID: "wattbus-" + s.Name, Username: s.Username, Version: mqtt.V5, Clean: true, MaxRedirects: -1,
		ConnectTimeout: time.Duration(s.Timeout), MaxPacketSize: mqttPacket, QueueBytes: 4 * mqttPacket}
	if password != "" {
		o.Password = []byte(password)
	}
	if s.MQTT.Version == "3.1.1" {
		o.Version = mqtt.V311
	}
	o.TLS, err = s.tlsConfig(u.Scheme == "mqtts" || u.Scheme == "wss")
	return o, err
}

// mqttConn is one connection.
type mqttConn struct {
	*client.Client
	cancel context.CancelFunc
	ended  chan struct{} // closed when Run has returned
	err    error         // why; valid once ended is closed
}

// dialMQTT connects and returns when the server has accepted. message may be nil.
func dialMQTT(ctx context.Context, o client.Options, message func(*mqttConn, *client.Message)) (*mqttConn, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	x := &mqttConn{cancel: cancel, ended: make(chan struct{})}
	connected := make(chan struct{}, 1)
	o.OnConnect = func(bool) { connected <- struct{}{} }
	o.OnDisconnect = func(err error) {
		if x.err == nil {
			x.err = err
		}
		cancel()
	}
	if message != nil {
		o.OnMessage = func(m *client.Message) { message(x, m) }
	}
	c, err := client.New(o)
	if err != nil {
		cancel()
		return nil, err
	}
	x.Client = c
	go func() {
		defer close(x.ended)
		_ = c.Run(life) // it says why by OnDisconnect
	}()
	select {
	case <-connected:
		return x, nil
	case <-x.ended:
		return nil, x.why(errors.New("no connection"))
	case <-ctx.Done():
		x.close()
		return nil, context.Cause(ctx)
	}
}

// why is what ended the connection, if it has ended, else err.
func (x *mqttConn) why(err error) error {
	select {
	case <-x.ended:
		if x.err != nil {
			return x.err
		}
	default:
	}
	return err
}

func (x *mqttConn) close() {
	x.cancel()
	<-x.ended
}

// mqttTarget publishes to a server of MQTT.
type mqttTarget struct {
	address *address
	binary  bool
	retain  bool
	options client.Options
	timeout time.Duration
}

func openMQTT(s *Spec, _ *deps) (target, error) {
	o, err := s.mqttOptions()
	if err != nil {
		return nil, err
	}
	a, err := parseAddress(s.Address)
	return &mqttTarget{address: a, binary: s.Encoding == Binary, retain: s.MQTT.Retain, options: o, timeout: time.Duration(s.Timeout)}, err
}

func (t *mqttTarget) connect(ctx context.Context) (session, error) {
	x, err := dialMQTT(ctx, t.options, nil)
	if err != nil {
		return nil, err
	}
	return &mqttSession{t: t, c: x}, nil
}

// probe connects under another name: a server ends the connection of a client when one of the same name comes.
func (t *mqttTarget) probe(ctx context.Context) error {
	o := t.options
	o.ClientID += "-check"
	x, err := dialMQTT(ctx, o, nil)
	if err != nil {
		return err
	}
	x.close()
	return nil
}

type mqttSession struct {
	t *mqttTarget
	c *mqttConn
}

func (x *mqttSession) gone() <-chan struct{} { return x.c.ended }
func (x *mqttSession) close() error          { x.c.close(); return nil }

// deliver publishes all in order, then waits until the server has acknowledged each.
func (x *mqttSession) deliver(ctx context.Context, events []bus.OutEvent) (settled int, refused []refusal, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, x.t.timeout, fmt.Errorf("no acknowledgement within %v", x.t.timeout))
	defer cancel()
	var mu sync.Mutex // of the two
	acked, reasons := make([]bool, len(events)), make([]error, len(events))
	for i := range events {
		m := x.t.message(&events[i])
		m.Acked = func() { mu.Lock(); defer mu.Unlock(); acked[i] = true }
		m.Refused = func(r *client.ReasonError) { mu.Lock(); defer mu.Unlock(); reasons[i] = r }
		err = x.c.Publish(ctx, m)
		if err != nil && ctx.Err() == nil { // it can never be sent
			mu.Lock()
			reasons[i], err = err, nil
			mu.Unlock()
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = x.c.Flush(ctx)
	}
	if err != nil {
		err = x.c.why(context.Cause(ctx))
	}
	mu.Lock()
	defer mu.Unlock()
	for ; settled < len(events) && (acked[settled] || reasons[settled] != nil); settled++ {
		var r *client.ReasonError
		switch why := reasons[settled]; {
		case why == nil:
		case !errors.As(why, &r), r.Reason == mqtt.ReasonPayloadFormatInvalid, r.Reason == mqtt.ReasonTopicNameInvalid:
			refused = append(refused, refusal{events[settled], why.Error()})
		case r.Reason == mqtt.ReasonUnspecifiedError, r.Reason == mqtt.ReasonImplementationSpecific:
			return settled, refused, &eventError{uid: events[settled].UID, err: why}
		default:
			return settled, refused, fmt.Errorf("topic %.100s: %w", x.t.address.of(&events[settled]), why)
		}
	}
	return settled, refused, err
}

// message: CloudEvents 1.0, MQTT protocol binding, 3.1 and 3.2: in MQTT 5 attributes are user properties with the names that they have.
func (t *mqttTarget) message(e *bus.OutEvent) client.Message {
	m := client.Message{Topic: t.address.of(e), QoS: 1, Retain: t.retain, Payload: e.Data}
	p := &mqtt.Properties{PayloadFormat: 1, ContentType: dataType, Present: mqtt.Present(mqtt.PropPayloadFormat, mqtt.PropContentType)}
	m.Properties = p
	if !t.binary {
		p.ContentType = structuredType
		m.Payload = appendStructured(make([]byte, 0, len(e.Data)+256), e)
		return m
	}
	p.UserProperties = make([]mqtt.UserProperty, 0, 6)
	for _, a := range attributes(e) {
		p.UserProperties = append(p.UserProperties, mqtt.UserProperty{Name: a.name, Value: a.value})
	}
	return m
}

// mqttSource takes requests from a filter of topics, in a session that the server keeps. Requests are acknowledged in the order in
// which they came [MQTT-4.6.0-2], so that one that takes long holds back the window behind it.
type mqttSource struct {
	filter  string
	options client.Options
	timeout time.Duration
}

func openMQTTSource(s *Spec, _ *deps) (source, error) {
	o, err := s.mqttOptions()
	o.ClientID += "-commands"
	o.Clean = false
	o.MaxPacketSize = mqttPacket
	return &mqttSource{filter: s.Commands.Address, options: o, timeout: time.Duration(s.Timeout)}, err
}

func (s *mqttSource) receive(ctx context.Context, window int, ready func(), handle func(*request)) error {
	requests := make(chan *request, 2*window) // as many with QoS 1 as the server knows of, and as many without
	acks := &ackOrder{}
	o := s.options
	o.ReceiveMaximum = uint16(window)
	x, err := dialMQTT(ctx, o, func(x *mqttConn, m *client.Message) {
		if m.QoS > 0 || len(requests) < window { // else its asker asks again
			requests <- s.request(x, m, acks)
		}
	})
	if err != nil {
		return err
	}
	defer x.close()
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no answer within %v", s.timeout))
	err = x.SubscribeWait(limited, client.Subscription{Filter: s.filter, QoS: 1, RetainHandling: mqtt.RetainNever})
	cancel()
	if err != nil {
		return x.why(err)
	}
	ready()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.ended:
			return x.why(errors.New("the connection ended"))
		case q := <-requests:
			handle(q)
		}
	}
}

// request is one of a message. MQTT has no ids for what comes again, so that one that may needs a key.
func (s *mqttSource) request(x *mqttConn, m *client.Message, acks *ackOrder) *request {
	q := &request{body: bytes.Clone(m.Payload), done: func(context.Context) error { return nil }}
	if m.QoS == 0 {
		q.id = nuid.Next()
	} else {
		p := acks.add(m.Defer())
		q.done = func(context.Context) error { acks.finish(p); return nil }
	}
	if m.Properties == nil {
		return q
	}
	for _, u := range m.Properties.UserProperties {
		switch u.Name {
		case tokenProperty:
			q.token = u.Value
		case keyProperty:
			q.key = u.Value
		}
	}
	to, correlation := m.Properties.ResponseTopic, bytes.Clone(m.Properties.CorrelationData)
	if to == "" {
		return q
	}
	q.answer = func(ctx context.Context, status, contentType string, body []byte) error {
		p := &mqtt.Properties{ContentType: contentType, CorrelationData: correlation, UserProperties: []mqtt.UserProperty{{Name: statusProperty, Value: status}},
			Present: mqtt.Present(mqtt.PropContentType)}
		if len(correlation) > 0 {
			p.Present |= mqtt.Present(mqtt.PropCorrelationData)
		}
		told := make(chan error, 1)
		err := x.Publish(ctx, client.Message{Topic: to, Payload: body, QoS: 1, Properties: p, Acked: func() { told <- nil }, Refused: func(r *client.ReasonError) { told <- r }})
		if err != nil {
			return err
		}
		select {
		case err := <-told:
			return err
		case <-x.ended:
			return x.why(errors.New("the connection ended"))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.timeout):
			return fmt.Errorf("no acknowledgement within %v", s.timeout)
		}
	}
	return q
}

// ackOrder acknowledges in the order of arrival what is done in any.
type ackOrder struct {
	mu   sync.Mutex
	open []*pendingAck
}

type pendingAck struct {
	ack  func() bool
	done bool
}

func (a *ackOrder) add(ack func() bool) *pendingAck {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := &pendingAck{ack: ack}
	a.open = append(a.open, p)
	return p
}

func (a *ackOrder) finish(p *pendingAck) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.done = true
	for len(a.open) > 0 && a.open[0].done {
		a.open[0].ack() // after the connection it does nothing, and the request comes again
		a.open = a.open[1:]
	}
}
