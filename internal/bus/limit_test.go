//go:build linux

package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestRecoversFromFailedWrites runs a process whose files may not grow over 1 MiB, publishes until a write fails, and
// lifts the limit: without help from outside everything is committed, in order.
func TestRecoversFromFailedWrites(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"=limit", "WATTBUS_BUS_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func helperLimit() {
	if err := runLimited(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runLimited() error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	b, err := Open(ctx, Options{Dir: os.Getenv("WATTBUS_BUS_DIR"), Timeout: time.Second})
	if err != nil {
		return err
	}
	defer b.Close()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	before := limit
	limit.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	var pending []*Pending
	put := func(ctx context.Context) error {
		var e Encoder
		if err := e.Append(&Entry{Kind: "meter", ID: fmt.Sprint(len(pending)), Event: "reading", Payload: make([]byte, 100<<10)}); err != nil {
			return err
		}
		p, err := b.PublishBatch(ctx, e.Take(nil))
		if err == nil {
			pending = append(pending, p)
		}
		return err
	}
	full, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer stop()
		for b.Stalled() == nil && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
	})
	defer watch.Wait()
	defer cancel()
	for err == nil {
		err = put(full)
	}
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("after %d batches: %v, stalled: %v", len(pending), err, b.Stalled())
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	for range 3 {
		if err := put(ctx); err != nil {
			return fmt.Errorf("after the limit was lifted: %w", err)
		}
	}
	for i, p := range pending {
		if err := p.Wait(ctx); err != nil {
			return fmt.Errorf("batch %d of %d: %w", i, len(pending), err)
		}
	}
	next := 0
	err = b.ConsumeBatches(ctx, DurableMDMS, func(_ context.Context, bs []Batch) error {
		for i := range bs {
			for e := range bs[i].All() {
				if e.ID != fmt.Sprint(next) {
					cancel()
					return fmt.Errorf("%s came when %d was due", e.ID, next)
				}
				next++
			}
		}
		if next == len(pending) {
			cancel()
		}
		return nil
	})
	if next != len(pending) {
		return fmt.Errorf("%d of %d batches came: %v", next, len(pending), err)
	}
	return nil
}
