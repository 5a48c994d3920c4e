package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
)

// actors are the roles of one process. They start in the order in which they were added and stop in the opposite one, each
// waited for before the next is told: what produces stops before what it produces for.
type actors struct {
	list []actor
	// stopping, if set, is called before an actor is told to stop.
	stopping func(name string)
	// reloads is set where SIGHUP loads files anew. Elsewhere it means that the terminal is gone, and all stop in order.
	reloads bool
}

type actor struct {
	name string
	run  func(context.Context) error
	// ready, if set, is waited for before the next actor starts.
	ready func(context.Context) error
}

// cutShort reports whether err says only that ctx ended while something started: Ctrl-C then is an orderly end as well.
func cutShort(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err())
}

func (a *actors) add(name string, run func(context.Context) error) {
	a.list = append(a.list, actor{name: name, run: run})
}

// addReady adds an actor that others build on: the next one starts when ready returns nil.
func (a *actors) addReady(name string, run, ready func(context.Context) error) {
	a.list = append(a.list, actor{name, run, ready})
}

// run runs all actors until ctx ends or one of them returns, stops the rest, and returns once all have ended. The error is
// that of the actor that ended first, nil when ctx ended and all stopped well.
func (a *actors) run(ctx context.Context) error {
	type ended struct {
		name string
		err  error
	}
	if !a.reloads && !signal.Ignored(syscall.SIGHUP) { // as under nohup
		var unhook context.CancelFunc
		ctx, unhook = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer unhook()
	}
	first := make(chan ended, len(a.list))
	type started struct {
		name   string
		cancel context.CancelFunc
		done   chan struct{}
	}
	var running []started
	var errs []error
	stop := context.WithoutCancel(ctx)
	for _, act := range a.list {
		if ctx.Err() != nil || len(first) > 0 {
			break
		}
		own, cancel := context.WithCancel(stop)
		s := started{act.name, cancel, make(chan struct{})}
		running = append(running, s)
		go func() {
			defer close(s.done)
			err := act.run(own)
			if own.Err() != nil && errors.Is(err, context.Canceled) {
				err = nil
			}
			first <- ended{act.name, err}
		}()
		if act.ready != nil {
			// An actor that ends before it is ready ends the wait as well.
			wait, release := context.WithCancel(ctx)
			watched := make(chan struct{})
			go func() {
				defer close(watched)
				select {
				case <-s.done:
					release()
				case <-wait.Done():
				}
			}()
			err := act.ready(wait)
			release()
			<-watched
			if err != nil && ctx.Err() == nil && len(first) == 0 {
				errs = append(errs, fmt.Errorf("%s: %w", act.name, err))
				break
			}
		}
	}
	if len(errs) == 0 && len(running) > 0 {
		select {
		case <-ctx.Done():
		case e := <-first:
			if e.err == nil {
				e.err = errors.New("ended by itself")
			}
			errs = append(errs, fmt.Errorf("%s: %w", e.name, e.err))
		}
	}
	for i := len(running) - 1; i >= 0; i-- {
		s := running[i]
		if a.stopping != nil {
			a.stopping(s.name)
		}
		s.cancel()
		<-s.done
	}
	close(first)
	for e := range first {
		if e.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.name, e.err))
		}
	}
	return errors.Join(errs...)
}
