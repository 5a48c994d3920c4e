//go:build unix

package cli

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestHangup: SIGHUP stops in order, except where it loads files anew.
func TestHangup(t *testing.T) {
	var j journal
	up := make(chan struct{})
	a := actors{}
	a.add("centre", j.actor("centre"))
	a.add("meters", func(ctx context.Context) error { close(up); return j.actor("meters")(ctx) })
	done := make(chan error, 1)
	go func() { done <- a.run(t.Context()) }()
	<-up
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil || len(j.lines) != 2 || j.lines[0] != "meters" {
			t.Errorf("%v, %v", err, j.lines)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still running")
	}
}
