package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of this package, all under wattbus_web_.
type metrics struct {
	requests  *prometheus.CounterVec // by route, method and status
	seconds   *prometheus.HistogramVec
	streams   prometheus.Gauge
	topics    prometheus.Gauge // bus subscriptions of the hub
	sent      prometheus.Counter
	coalesced prometheus.Counter
	dropped   prometheus.Counter
	limited   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattbus_web_requests_total", Help: "HTTP requests by route, method and status."}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wattbus_web_request_seconds", Help: "Time to answer an HTTP request; live streams not counted.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wattbus_web_streams", Help: "Live event streams open now."}),
		topics: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wattbus_web_subscriptions", Help: "Event subjects followed on the bus for the live streams."}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wattbus_web_events_sent_total", Help: "Events written to live streams."}),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wattbus_web_events_coalesced_total", Help: "Events that a newer one of the same device replaced for a slow reader."}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wattbus_web_events_dropped_total", Help: "Events that a slow reader lost."}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wattbus_web_limited_total", Help: "Requests refused because their caller made too many."}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.streams, m.topics, m.sent, m.coalesced, m.dropped, m.limited} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// request counts one. The route is the mux's pattern, so that strangers cannot make up label values.
func (m *metrics) request(r *http.Request, status int, took time.Duration) {
	route := "console"
	if apiPath(r.URL.Path) {
		route = "none"
		if _, path, ok := strings.Cut(r.Pattern, " "); ok {
			route = path
		}
	}
	method := r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	if route != "/v1/events" {
		m.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
}

// promLog passes on what the metrics handler has to say.
type promLog struct{ log *slog.Logger }

// Println logs a failed scrape. (promhttp.Logger)
func (l promLog) Println(v ...any) { l.log.Error("showing metrics failed", "error", fmt.Sprint(v...)) }
