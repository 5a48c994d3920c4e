package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// listenPlain opens a TCP listener without encryption. Beyond loopback it refuses, unless the user said --insecure.
func listenPlain(ctx context.Context, flag, addr string, insecure bool) (net.Listener, error) {
	host, err := hostOf(flag, addr)
	if err != nil {
		return nil, err
	}
	if !insecure && !isLoopback(host) {
		return nil, usagef("flag --%s: %s can be reached from other machines, without encryption and credentials; "+
			"take a loopback address such as 127.0.0.1, or TLS where there is a flag for it, or give --insecure if the network is closed", flag, addr)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if isInUse(err) {
		err = fmt.Errorf("%w; end the program that has the port, or give another with --%s", err, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("flag --%s: %w", flag, err)
	}
	return ln, nil
}

// hostOf gives the host of HOST:PORT.
func hostOf(flag, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usagef("flag --%s: value %q, want HOST:PORT such as 127.0.0.1:1883: %w", flag, addr, err)
	}
	if n, err := strconv.Atoi(port); port == "" || err == nil && (n < 0 || n > 65535) {
		return "", usagef("flag --%s: value %q, want a port from 1 to 65535, or 0 for one that is free", flag, addr)
	}
	return host, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// newRegistry makes the registry of a process, with the metrics of the process itself.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// serveMetrics answers /metrics and /healthz on ln until ctx ends: for roles that have no HTTP API.
func serveMetrics(ctx context.Context, ln net.Listener, registry *prometheus.Registry) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := srv.Shutdown(stop)
	if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// serve adds an actor that answers at --metrics, if that is given.
func (m *metricsFlag) serve(ctx context.Context, acts *actors, insecure bool, registry *prometheus.Registry, log *slog.Logger) error {
	if m.addr == "" {
		return nil
	}
	ln, err := listenPlain(ctx, "metrics", m.addr, insecure)
	if err != nil {
		return err
	}
	log.Info("metrics server listens", "metrics", ln.Addr().String())
	acts.add("metrics", func(ctx context.Context) error { return serveMetrics(ctx, ln, registry) })
	return nil
}
