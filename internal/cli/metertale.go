package cli

import (
	"log/slog"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/fleet"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
)

// meterTale tells in the log what one meter lives through. Its methods are called by the agent, on more than one goroutine.
type meterTale struct {
	log *slog.Logger

	mu      sync.Mutex
	told    meter.Status
	begun   bool      // told is what the agent said, no guess
	failure string    // the last one told
	at      time.Time // when
}

// tellAgain is after what time an unchanged failure to connect is told again.
const tellAgain = time.Minute

func newMeterTale(log *slog.Logger, id string) *meterTale {
	return &meterTale{log: log.With("meter", id), told: meter.Status{Powered: true, Breaker: record.BreakerClosed}}
}

// changed is meter.Options.OnChange.
func (t *meterTale) changed(s meter.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, first := t.told, !t.begun
	t.told, t.begun = s, true
	if s.Connected && !was.Connected {
		t.failure = ""
		t.log.Info("connected", "concentrator", s.URL)
	}
	if s.Registered && !was.Registered {
		t.log.Info("registered; by which path is the centre's to know", "sequence", s.Sequence)
	}
	if s.Breaker != was.Breaker {
		what := "breaker switched"
		if first {
			what = "breaker as it was before"
		}
		t.log.Info(what, "breaker", s.Breaker.String())
	}
	if was.Interval != 0 && s.Interval != was.Interval {
		t.log.Info("reading interval set", "minutes", s.Interval)
	}
	if len(s.Groups) != len(was.Groups) && !first {
		t.log.Info("groups set", "groups", s.Groups)
	}
}

// disconnected is meter.Options.OnDisconnect.
func (t *meterTale) disconnected(url string, err error) {
	if err == nil {
		return // the meter left by itself
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.failure == err.Error() && now.Sub(t.at) < tellAgain {
		return
	}
	t.failure, t.at = err.Error(), now
	if t.told.Connected {
		t.log.Warn("connection lost, trying again", "concentrator", url, "error", err)
	} else {
		t.log.Warn("cannot reach the concentrator, trying again", "concentrator", url, "error", err)
	}
}

// fleetAttrs are the numbers of a fleet as a line of the log shows them. Those of what happens rarely are left out while they
// are 0.
func fleetAttrs(s fleet.Stats) []any {
	out := []any{"meters", s.Meters, "connected", s.Connected, "registered", s.Registered, "readings", s.Readings, "acknowledged", s.Acked,
		"commands", s.Commands}
	for _, r := range []struct {
		key string
		n   uint64
	}{{"without_power", uint64(s.Unpowered)}, {"breakers_open", uint64(s.Open)}, {"commands_repeated", s.Repeats},
		{"commands_refused", s.Refused}, {"commands_expired", s.Expired},
		{"messages_refused", s.Rejected}, {"messages_unsealed", s.Unsealed}, {"messages_replayed", s.Replayed}, {"messages_dropped", s.Dropped}, {"link_drops", s.LinkDrops}, {"power_losses", s.PowerLosses},
		{"moves", s.Moves}} {
		if r.n > 0 {
			out = append(out, r.key, r.n)
		}
	}
	return out
}
