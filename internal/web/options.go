package web

import (
	"io/fs"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/export"
)

// Options are what a Server needs; Bus is the only one it cannot do without.
type Options struct {
	Bus     *bus.Bus
	Clock   *clock.Clock // business time; default the wall clock
	Logger  *slog.Logger // default: discards
	Console fs.FS        // the built console with index.html at its root; nil: none is served
	Version string       // of the program, for /healthz and /openapi.json

	// Token is what clients show as "Authorization: Bearer", and may do everything; Tokens knows more of them, with names and
	// rights. Without either the API answers on loopback addresses only.
	Token  string
	Tokens Tokens

	// Registerer takes this package's metrics, Gatherer is what /metrics shows. Default: a registry of their own.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer

	// Calendars are the tariff calendars of exports; default none.
	Calendars func() export.CalendarSet

	AskTimeout     time.Duration // how long a role may take to answer; default 5 s
	LongAskTimeout time.Duration // the same for questions about much data; default 30 s
	HeartbeatEvery time.Duration // of live streams; default 15 s
	WriteTimeout   time.Duration // after which a live stream or an export that takes nothing is cut; default 60 s
	MaxStreams     int           // live streams at once, half of them for one caller; default 500

	RateLimit float64 // requests a second of each caller, on average; default 1000, below 0: any number
	RateBurst int     // requests at once; default five seconds' worth
}

func (o *Options) defaults() {
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("component", "web")
	if o.Calendars == nil {
		o.Calendars = func() export.CalendarSet { return nil }
	}
	if o.Version == "" {
		o.Version = "devel"
	}
	if o.Registerer == nil || o.Gatherer == nil {
		own := prometheus.NewRegistry()
		if o.Registerer == nil {
			o.Registerer = own
		}
		if o.Gatherer == nil {
			o.Gatherer = own
		}
	}
	if o.AskTimeout <= 0 {
		o.AskTimeout = 5 * time.Second
	}
	if o.LongAskTimeout <= 0 {
		o.LongAskTimeout = 30 * time.Second
	}
	if o.HeartbeatEvery <= 0 {
		o.HeartbeatEvery = 15 * time.Second
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = time.Minute
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = 500
	}
	if o.RateLimit == 0 {
		o.RateLimit = 1000
	}
	if o.RateBurst <= 0 {
		o.RateBurst = max(1, int(5*o.RateLimit))
	}
}
