package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrClosed is returned by what is called on, or still under way at, a closed bus.
var ErrClosed = errors.New("bus is closed")

// closeTimeout bounds how long Close waits for handlers and for what is on its way out.
const closeTimeout = 10 * time.Second

// Bus is a connection to the event bus, with the server itself if it is embedded. It is safe for concurrent use.
type Bus struct {
	o      Options
	log    *slog.Logger
	m      *metrics
	srv    *embedded // nil for a remote server
	nc     *nats.Conn
	js     jetstream.JetStream
	w      *writer
	stream string // this incarnation of WB_UP

	interest interest
	wanted   atomic.Pointer[Wanted] // events for other systems
	looking  sync.Mutex             // one look at the targets at a time, so that an older one never replaces a newer
	done     chan struct{}          // closed when Close begins
	gone     chan struct{}          // closed when the connection is
	work     sync.WaitGroup         // handlers of questions
	once     sync.Once
}

// Open starts the embedded server or connects to the remote one, and makes or checks the streams. ctx bounds the opening
// only. The caller closes the bus.
func Open(ctx context.Context, o Options) (*Bus, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	b := &Bus{o: o, log: o.Logger, m: m, done: make(chan struct{}), gone: make(chan struct{})}
	b.interest.init()
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := b.open(ctx); err != nil {
		b.shut()
		return nil, err
	}
	return b, nil
}

func (b *Bus) open(ctx context.Context) (err error) {
	url := b.o.URL
	opts := []nats.Option{
		nats.Name("wattbus"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		// Nothing is buffered while the server is away: what must not be lost is tried again by the one who knows the order.
		nats.ReconnectBufSize(-1),
		nats.DrainTimeout(closeTimeout),
		nats.ClosedHandler(func(*nats.Conn) { close(b.gone) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("connection to the bus lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info("connected to the bus again") }),
		nats.ErrorHandler(b.asyncError),
	}
	if b.o.Username != "" {
		opts = append(opts, nats.UserInfo(b.o.Username, b.o.Password))
	}
	if b.o.Dir != "" {
		if b.srv, err = startEmbedded(&b.o); err != nil {
			return err
		}
		opts = append(opts, nats.InProcessServer(b.srv))
		url = ""
	} else if b.o.TLS != nil {
		opts = append(opts, nats.Secure(b.o.TLS))
	}
	if b.nc, err = nats.Connect(url, opts...); err != nil {
		return fmt.Errorf("bus: connect to %s: %w", orEmbedded(url), err)
	}
	if most := b.nc.MaxPayload(); most < MaxMessage {
		return fmt.Errorf("bus: server allows messages of %d bytes: set its max_payload to %d", most, MaxMessage)
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncTimeout(b.o.Timeout)); err != nil {
		return fmt.Errorf("bus: JetStream: %w", err)
	}
	if b.stream, err = b.ensure(ctx); err != nil {
		return err
	}
	b.w = newWriter(b)
	return nil
}

func orEmbedded(url string) string {
	if url == "" {
		return "the embedded server"
	}
	return url
}

// Address is where the embedded server listens for other programs, "" if nowhere.
func (b *Bus) Address() string {
	if b.srv == nil {
		return ""
	}
	return b.srv.address()
}

// Close lets running handlers end and what is on its way out leave, for 10 seconds at most, and stops the embedded server.
// Batches that are not committed by then are reported to their Pending as ErrClosed: they may have been committed or not.
func (b *Bus) Close() error {
	b.once.Do(b.shut)
	return nil
}

func (b *Bus) shut() {
	close(b.done)
	b.interest.close()
	if b.w != nil {
		b.w.stop()
	}
	if b.nc != nil {
		// Drain lets subscriptions deal with what arrived, flushes, and closes.
		if err := b.nc.Drain(); err != nil {
			b.nc.Close()
		}
		select {
		case <-b.gone:
		case <-time.After(closeTimeout):
			b.nc.Close()
			<-b.gone
		}
		b.work.Wait()
	}
	if b.srv != nil {
		b.srv.stop()
	}
}

func (b *Bus) asyncError(_ *nats.Conn, s *nats.Subscription, err error) {
	subject := ""
	if s != nil {
		subject = s.Subject
	}
	if errors.Is(err, nats.ErrSlowConsumer) {
		b.m.dropped.Inc()
	}
	b.log.Warn("bus error", "subject", subject, "error", err)
}

// subscribe is a core subscription that is known to the server when it returns.
func (b *Bus) subscribe(subject, queue string, f nats.MsgHandler) (*nats.Subscription, error) {
	s, err := b.nc.QueueSubscribe(subject, queue, f)
	if err == nil {
		err = b.nc.FlushTimeout(5 * time.Second)
	}
	if err != nil {
		return nil, fmt.Errorf("bus: subscribe to %s: %w", subject, err)
	}
	return s, nil
}

// unsubscribe returns after the handler's last call.
func (b *Bus) unsubscribe(s *nats.Subscription) {
	gone := make(chan struct{})
	s.SetClosedHandler(func(string) { close(gone) })
	if err := s.Unsubscribe(); err != nil {
		return // the connection is closed, and Close waits for the handlers
	}
	select {
	case <-gone:
	case <-b.gone:
	}
}
