package connector

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/listen"
)

// target is where events go.
type target interface {
	// connect returns when events can be delivered.
	connect(ctx context.Context) (session, error)
}

// prober is a target for which connecting would disturb a connector that uses it.
type prober interface {
	probe(ctx context.Context) error
}

// session is a connection to a target. One goroutine uses it.
type session interface {
	// deliver hands events over in order, and returns once the other side has each of them for good or has refused it for good: so
	// many from the front are settled, the refused ones among them. Unless all are, err says why, and the session is of no use
	// any more.
	deliver(ctx context.Context, events []bus.OutEvent) (settled int, refused []refusal, err error)
	// gone is closed when the other side ends the connection; nil for what knows of none.
	gone() <-chan struct{}
	close() error
}

// refusal is an event that the other side does not take, however often it is sent.
type refusal struct {
	event bus.OutEvent
	why   string
}

// deps is what targets may use.
type deps struct {
	log    *slog.Logger
	tokens Tokens // of who may command; nil: nobody
}

// tlsConfig is that of a client, nil where the URL's scheme asks for none.
func (s *Spec) tlsConfig(secure bool) (*tls.Config, error) {
	if !secure {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLS.ServerName}
	if c.ServerName == "" && !kinds[s.Type].many { // of many servers each has its own
		if u, err := url.Parse(s.URL); err == nil {
			c.ServerName = u.Hostname()
		}
	}
	if s.TLS.CA != "" {
		pool, err := listen.LoadPool(s.TLS.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = pool
	}
	if s.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.TLS.Cert, s.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// eventError is an error that the other side gave for one event. One that comes again and again for the same event means that it
// refuses the event.
type eventError struct {
	uid string
	err error
}

func (e *eventError) Error() string { return e.err.Error() }
func (e *eventError) Unwrap() error { return e.err }

// patience is how often an event is sent of which the other side says each time that it is at fault.
const patience = 5
