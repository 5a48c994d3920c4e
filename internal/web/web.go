package web

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Server answers the HTTP API and serves the console. Make one with New.
type Server struct {
	opt         Options
	log         *slog.Logger
	tokenHash   [sha256.Size]byte
	crossOrigin *http.CrossOriginProtection
	policy      string // Content-Security-Policy
	metrics     *metrics
	hub         *hub
	api         *http.ServeMux // everything but the console
	console     *static        // nil: none
	openapi     staticFile
	docs        staticFile
	limiter     *limiter // nil: none
	gzips       gzipPool
	handler     http.Handler
}

// New makes a server and starts nothing. Its errors name the option.
func New(opt Options) (*Server, error) {
	if opt.Bus == nil {
		return nil, errors.New("web: option Bus is missing")
	}
	opt.defaults()
	s := &Server{
		opt:         opt,
		log:         opt.Logger,
		tokenHash:   sha256.Sum256([]byte(opt.Token)),
		crossOrigin: http.NewCrossOriginProtection(),
		policy:      policyFor(nil),
	}
	var err error
	if s.metrics, err = newMetrics(opt.Registerer); err != nil {
		return nil, fmt.Errorf("web: registering metrics: %w", err)
	}
	if opt.RateLimit > 0 {
		s.limiter = newLimiter(opt.RateLimit, opt.RateBurst)
	}
	s.hub = newHub(opt.Bus, s.log, opt.MaxStreams, s.metrics)
	if opt.Console != nil {
		if s.console, err = newStatic(opt.Console); err != nil {
			return nil, fmt.Errorf("web: reading the console: %w", err)
		}
		s.policy = policyFor(s.console.index.plain)
	}
	if s.api, s.openapi, err = s.routes(); err != nil {
		return nil, err
	}
	s.handler = s.middleware(http.HandlerFunc(s.dispatch))
	return s, nil
}

// Handler answers what Run serves, for tests and for servers of one's own. Live streams end with the requests' contexts.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves on the listeners until ctx ends or one of them fails, then ends the live streams, lets the other requests finish (5 s at most) and
// returns once everything it started has ended. It closes the listeners.
func (s *Server) Run(ctx context.Context, lns ...net.Listener) error {
	for _, ln := range lns {
		if err := s.checkListener(ln); err != nil {
			for _, ln := range lns {
				err = errors.Join(err, ln.Close())
			}
			return err
		}
	}
	requests, cut := context.WithCancel(context.Background())
	defer cut()
	// Longer than any answer takes: a read that times out ends the request's context. Bodies and live streams set their own.
	most := s.opt.LongAskTimeout + 30*time.Second
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       most,
		WriteTimeout:      most,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	served := make(chan error, len(lns))
	for _, ln := range lns {
		go func() {
			err := srv.Serve(ln)
			if !errors.Is(err, http.ErrServerClosed) {
				err = fmt.Errorf("serving HTTP on %s: %w", ln.Addr(), err)
			}
			served <- err
		}()
		s.log.Info("serving", "addr", ln.Addr().String(), "token", s.opt.known())
	}

	var errs []error
	select {
	case err := <-served: // a listener failed
		errs = append(errs, err)
	case <-ctx.Done():
	}
	s.hub.close() // before Shutdown, which would wait for the streams
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if serr := srv.Shutdown(grace); serr != nil {
		cut()
		if cerr := srv.Close(); cerr != nil {
			s.log.Debug("closing connections", "error", cerr)
		}
	}
	for len(errs) < len(lns) {
		errs = append(errs, <-served)
	}
	s.hub.wait()
	s.log.Info("stopped")
	var failed []error
	for _, err := range errs {
		if !errors.Is(err, http.ErrServerClosed) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
