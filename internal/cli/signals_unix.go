//go:build unix

package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// meterSignals lets a person act on a meter: its power, and the button that closes an armed breaker.
func meterSignals(ctx context.Context, m toggler, log *slog.Logger) error {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(ch)
	lost := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-ch:
			switch {
			case s == syscall.SIGUSR2:
				log.Info("button pressed", "breaker_closed", m.CloseBreaker())
			case lost:
				log.Info("power restored")
				m.PowerRestored()
				lost = false
			default:
				log.Warn("power lost")
				m.PowerLost()
				lost = true
			}
		}
	}
}
