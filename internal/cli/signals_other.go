//go:build !unix

package cli

import (
	"context"
	"log/slog"
)

// meterSignals has nothing to listen to where there are no user signals.
func meterSignals(ctx context.Context, _ toggler, _ *slog.Logger) error {
	<-ctx.Done()
	return nil
}
