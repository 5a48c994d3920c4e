//go:build unix

package screen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// patience is how long the rest of a key may take to come, in ms. What comes later is another key.
const patience = 50

// listen hears keys and changes of size until stop is called, which returns when it hears no more. away and back give the terminal to the shell
// and take it again; gone is called when the terminal is no more.
func listen(ctx context.Context, in *os.File, keys chan<- Key, resized chan<- struct{}, away, back, gone func()) (stop func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("listening for keys: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGTSTP)
	suspend := make(chan struct{}, 1)
	var all sync.WaitGroup
	all.Go(func() {
		defer gone()
		readKeys(ctx, in, r, keys, suspend)
	})
	all.Go(func() {
		again := func() {
			select {
			case resized <- struct{}{}:
			default:
			}
		}
		pause := func() {
			away()
			// The default action of SIGTSTP cannot be had while it is caught; SIGSTOP does the same.
			if err := syscall.Kill(0, syscall.SIGSTOP); err != nil {
				back()
			}
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-suspend:
				pause()
			case sig := <-signals:
				switch sig {
				case syscall.SIGTSTP:
					pause()
				case syscall.SIGCONT:
					back()
				}
				again()
			}
		}
	})
	return func() {
		cancel()
		signal.Stop(signals)
		_ = w.Close() // wakes the reader
		all.Wait()
		_ = r.Close()
	}, nil
}

// readKeys hands on what is typed until wake is closed at its other end, or the terminal is gone.
func readKeys(ctx context.Context, in, wake *os.File, keys chan<- Key, suspend chan<- struct{}) {
	fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
	var held []byte
	buf := make([]byte, 256)
	for {
		wait := -1
		if len(held) > 0 {
			wait = patience
		}
		n, err := unix.Poll(fds, wait)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || fds[1].Revents != 0 {
			return
		}
		if n > 0 {
			k, err := unix.Read(int(in.Fd()), buf)
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
				continue
			}
			if err != nil || k <= 0 {
				return // hung up
			}
			held = append(held, buf[:k]...)
		}
		var got []Key
		got, held = decode(held, n == 0)
		for _, k := range got {
			if k == Suspend {
				select {
				case suspend <- struct{}{}:
				default:
				}
				continue
			}
			select {
			case keys <- k:
			case <-ctx.Done():
				return
			}
		}
	}
}
