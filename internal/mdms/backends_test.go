package mdms

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/postgres"
	"github.com/wattbus/wattbus/internal/store/postgres/pgtest"
)

// server is the PostgreSQL server of this package's tests, started by the first that needs it and stopped by TestMain.
var server struct {
	once sync.Once
	*pgtest.Server
	err     error
	schemas atomic.Int32
}

// onPostgres opens stores in a schema of their own, and returns its URL.
func onPostgres(t testing.TB) (url string, open func(context.Context) (store.Store, error)) {
	t.Helper()
	server.once.Do(func() { server.Server, server.err = pgtest.Start(context.Background()) })
	if errors.Is(server.err, pgtest.ErrMissing) && os.Getenv("WATTBUS_CI") == "" {
		t.Skip(server.err)
	}
	if server.err != nil {
		t.Fatal(server.err)
	}
	url, err := server.Schema(t.Context(), fmt.Sprintf("t%d", server.schemas.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return url, func(ctx context.Context) (store.Store, error) {
		return postgres.Open(ctx, postgres.Options{URL: url, Ledger: true})
	}
}

func stopServer() {
	if server.Server != nil {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}
