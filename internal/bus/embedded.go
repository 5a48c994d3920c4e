package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server in this process. It can be restarted in place: connections made through InProcessConn find the
// new one.
type embedded struct {
	o      *Options
	unlock func()

	mu     sync.Mutex
	srv    *server.Server // nil once stopped
	listen string         // the address it got, so that a restart takes the same
}

func startEmbedded(o *Options) (*embedded, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("bus directory: %w", err)
	}
	unlock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{o: o, unlock: unlock}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.start(); err != nil {
		unlock()
		return nil, err
	}
	return e, nil
}

// start is called with e.mu held.
func (e *embedded) start() error {
	so := &server.Options{
		ServerName: "wattbus",
		DontListen: e.o.Listen == "",
		NoLog:      true,
		NoSigs:     true,
		MaxPayload: MaxMessage,
		MaxPending: 16 * MaxMessage,
		JetStream:  true,
		StoreDir:   e.o.Dir,
		SyncAlways: true,
		// The streams have bounds of their own; what they reserve together is not to be refused.
		JetStreamMaxStore:  math.MaxInt64 / 4,
		JetStreamMaxMemory: 64 << 20,
		Username:           e.o.Username,
		Password:           e.o.Password,
	}
	if e.o.Listen != "" {
		host, port, err := e.o.listenAddress()
		if err != nil {
			return err
		}
		so.Host, so.Port = host, port
		if e.listen != "" {
			if a, err := net.ResolveTCPAddr("tcp", e.listen); err == nil {
				so.Port = a.Port
			}
		}
		if e.o.TLS != nil {
			so.TLSConfig, so.TLSTimeout = e.o.TLS.Clone(), 5
		}
	}
	s, err := server.NewServer(so)
	if err != nil {
		return fmt.Errorf("bus: configure embedded server: %w", err)
	}
	s.SetLoggerV2(serverLog{e.o.Logger}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(30*time.Second) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return fmt.Errorf("bus: embedded server did not start in %s: see the log for the reason", e.o.Dir)
	}
	e.srv = s
	if a := s.Addr(); a != nil {
		e.listen = a.String()
	}
	return nil
}

// InProcessConn connects to whichever server runs now.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil, errors.New("bus: embedded server is stopped")
	}
	return srv.InProcessConn()
}

// restart replaces the server. One that failed to write stays broken for ever; a new one reads what is on disk and goes on.
func (e *embedded) restart() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.halt()
	return e.start()
}

func (e *embedded) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.halt()
	e.unlock()
}

func (e *embedded) halt() {
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
		e.srv = nil
	}
}

func (e *embedded) address() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listen
}

// serverLog passes on what the embedded server says. Its text varies, so it is an attribute.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(f string, v ...any) {
	l.log.Debug("nats server", "text", fmt.Sprintf(f, v...))
}
func (l serverLog) Warnf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	if strings.Contains(text, "prior state") || strings.Contains(text, "will rebuild") {
		// The index of a stream is written now and then, its blocks are synced: after a kill it is older than they are.
		l.log.Info("the index of a stream does not fit its blocks, as after a kill; it is made anew of them", "text", text)
		return
	}
	l.log.Warn("nats server", "text", text)
}
func (l serverLog) Errorf(f string, v ...any) {
	l.log.Error("nats server", "text", fmt.Sprintf(f, v...))
}
func (l serverLog) Fatalf(f string, v ...any) {
	l.log.Error("nats server", "text", fmt.Sprintf(f, v...))
}
func (l serverLog) Debugf(string, ...any) {}
func (l serverLog) Tracef(string, ...any) {}
