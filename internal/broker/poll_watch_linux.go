package broker

import (
	"sync/atomic"
	"time"
)

// watchInterval is about how long a handler may hold up other connections before
// their poller goes on without it.
const watchInterval = 10 * time.Millisecond

// dormantAfter is how many intervals without work send the watcher to sleep.
const dormantAfter = 10

// watcher hands over the turn of a poller whose connection takes long. It sleeps
// while there is nothing to watch.
type watcher struct {
	dormant atomic.Bool
	wake    chan struct{}
	stop    chan struct{}
}

func (t *watcher) start(b *Broker) {
	t.wake, t.stop = make(chan struct{}, 1), make(chan struct{})
	b.polling.Go(func() { t.watch(b.pollers) })
}

func (t *watcher) end() { close(t.stop) }

// rouse is called when a poller has work.
func (t *watcher) rouse() {
	if t.dormant.Load() && t.dormant.CompareAndSwap(true, false) {
		t.wake <- struct{}{}
	}
}

func (t *watcher) watch(pollers []*poller) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	seen := make([]uint64, len(pollers))
	for quiet := 0; ; quiet++ {
		if quiet == dormantAfter {
			ticker.Stop()
			t.dormant.Store(true)
			select {
			case <-t.wake:
			case <-t.stop:
				return
			}
			ticker.Reset(watchInterval)
			quiet = 0
		}
		select {
		case <-ticker.C:
		case <-t.stop:
			return
		}
		for i, p := range pollers {
			turn := p.turn.Load()
			if turn != seen[i] {
				seen[i], quiet = turn, 0
			} else if turn%2 == 1 {
				p.handOver(turn)
			}
		}
	}
}

// check finds out whether the turn was handed over.
func (w *work) check() {
	if w.poller != nil && w.poller.turn.Load() != w.turn {
		w.poller = nil
	}
}

// leave hands the turn over before its goroutine waits for something.
func (w *work) leave() {
	if w.poller != nil {
		w.poller.handOver(w.turn)
		w.poller = nil
	}
}

// broadcast hands the turn over before a message is spread to so many sessions that others
// would wait for it; whoever has the turn then writes to them.
func (w *work) broadcast() {
	if p := w.poller; p != nil && !p.alone {
		w.leave()
		w.left = p
	}
}

// handed leaves to the poller that the turn was taken from to write to many.
func (w *work) handed() bool {
	if w.left == nil || len(w.dirty) <= wakesPerRound {
		return false
	}
	w.left.hand(w.dirty)
	clear(w.dirty)
	w.dirty = w.dirty[:0]
	return true
}
