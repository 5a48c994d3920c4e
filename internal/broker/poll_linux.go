package broker

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// poller waits for many sockets at once, so that a connection with nothing to say
// has no goroutine, and the messages of several are handled in one go: what they
// bring to one subscriber is written to it once, at the end of the round.
//
// The goroutine in run handles one connection after the other, and may block in
// it, in a handler above all. Then the turn is handed over: another goroutine goes
// on with the next connection, and the one that blocks has only its own left. The
// one that waits on purpose hands over itself (work.leave); for handlers, watch
// looks every watchInterval whether the same connection is still at it.
//
//	              begin                 end
//	between turns ────> handles a connection ────> between turns
//	                         │ handOver
//	                         └──> another goroutine's turn; this one leaves when it is done
type poller struct {
	b      *Broker
	epoll  int
	wakeup int           // eventfd: connections were handed to it, or all is to end
	turn   atomic.Uint64 // odd: a connection is being handled; grows with each

	mu     sync.Mutex
	conns  []*conn // by file descriptor
	doors  []*door // listeners
	handed []*conn // that something was queued for by others, for later
	ending bool

	// Of the goroutine whose turn it is.
	events  [maxEvents]syscall.EpollEvent
	ready   []*conn // claimed
	next    int
	again   []*conn // claimed, with more to read
	dirty   []*conn // that something was queued for
	later   []*conn // the same, and many of them, from late on
	late    int
	knocks  []*door // where connections wait to be taken
	over    bool
	yielded time.Duration // Broker.now when other goroutines could last run instead
	alone   bool          // no goroutine runs beside it
}

const (
	maxPollers = 8
	maxEvents  = 128
	// readsPerTurn bounds what one connection may bring before it is the next one's
	// turn, in reads.
	readsPerTurn = 4
	// wakesPerRound bounds the writes of a round to other connections than those that
	// brought something.
	wakesPerRound = 128
	// latePerRound bounds those to connections that many others have something queued
	// beside, but for a quarter of the former. Ten take a tenth of a millisecond.
	latePerRound = 8
	// yieldInterval is less than what the runtime gives a goroutine before it
	// interrupts it.
	yieldInterval = 8 * time.Millisecond
)

// EPOLLET, which package syscall has with the wrong sign.
const edgeTriggered = 1 << 31

// eventsWanted are those that a poller waits for at every socket. EPOLLOUT joins them
// once a socket was full: most never are.
const eventsWanted = syscall.EPOLLIN | syscall.EPOLLRDHUP | edgeTriggered

// startPollers makes the pollers; without any, connections have goroutines.
func (b *Broker) startPollers() {
	procs := runtime.GOMAXPROCS(0)
	for range min(max(1, procs/4), maxPollers) {
		p, err := newPoller(b)
		if err != nil {
			b.log.Warn("every connection gets a goroutine", "error", err)
			break
		}
		p.alone = procs == 1
		b.pollers = append(b.pollers, p)
	}
	if len(b.pollers) == 0 {
		return
	}
	for _, p := range b.pollers {
		b.polling.Go(p.run)
	}
	b.watched.start(b)
}

// stopPollers ends the pollers. All connections have ended.
func (b *Broker) stopPollers() {
	for _, p := range b.pollers {
		p.mu.Lock()
		p.ending = true
		p.mu.Unlock()
		p.rouse()
	}
	if len(b.pollers) > 0 {
		b.watched.end()
	}
	b.polling.Wait()
	for _, p := range b.pollers {
		_ = syscall.Close(p.wakeup)
		_ = syscall.Close(p.epoll)
	}
}

func newPoller(b *Broker) (*poller, error) {
	p := &poller{b: b}
	var err error
	if p.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	p.wakeup = int(fd)
	if errno != 0 {
		_ = syscall.Close(p.epoll)
		return nil, fmt.Errorf("eventfd2: %w", errno)
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(p.wakeup)}
	if err := syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, p.wakeup, &ev); err != nil {
		_ = syscall.Close(p.wakeup)
		_ = syscall.Close(p.epoll)
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return p, nil
}

// rouse ends its waiting.
func (p *poller) rouse() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = syscall.Write(p.wakeup, one) // fails only if it is readable already
}

// hand leaves writing to many connections to it, as queued does on the turn.
func (p *poller) hand(dirty []*conn) {
	p.mu.Lock()
	p.handed = append(p.handed, dirty...)
	p.mu.Unlock()
	p.rouse()
}

// add takes the socket of c among those it waits for.
func (p *poller) add(c *conn, fd int) error {
	p.mu.Lock()
	for len(p.conns) <= fd {
		p.conns = append(p.conns, nil)
	}
	p.conns[fd] = c
	p.mu.Unlock()
	ev := syscall.EpollEvent{Events: eventsWanted, Fd: int32(fd)}
	if err := syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, fd, &ev); err != nil {
		p.remove(fd)
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wantRoom lets the poller tell, too, when the socket is writable: at once if it is.
func (p *poller) wantRoom(fd int) error {
	ev := syscall.EpollEvent{Events: eventsWanted | syscall.EPOLLOUT, Fd: int32(fd)}
	if err := syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_MOD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// remove forgets a socket that is about to be closed.
func (p *poller) remove(fd int) {
	p.mu.Lock()
	p.conns[fd] = nil
	p.mu.Unlock()
}

// run handles connections until the end, or until the turn was handed over.
func (p *poller) run() {
	w := p.b.getWork()
	defer p.b.putWork(w)
	for {
		for p.next < len(p.ready) {
			c := p.ready[p.next]
			p.ready[p.next] = nil
			p.next++
			w.poller, w.turn = p, p.begin()
			more := c.serveReady(w)
			if w.poller == nil || !p.end(w.turn) {
				w.poller = nil
				p.b.settle(w)
				if more {
					c.serveAlone(w)
				}
				return
			}
			p.queued(w)
			if more {
				p.again = append(p.again, c)
			}
		}
		p.wakeSome()
		w.clean()
		if p.over {
			return
		}
		for _, d := range p.knocks {
			d.knocked()
		}
		p.knocks = p.knocks[:0]
		p.wait()
	}
}

// queued notes the connections that something was queued for on the turn of one: few are
// written to at the end of the round, the many that a broadcast is for when there is time.
func (p *poller) queued(w *work) {
	if len(w.dirty) > wakesPerRound {
		p.later = append(p.later, w.dirty...)
	} else {
		p.dirty = append(p.dirty, w.dirty...)
	}
	clear(w.dirty)
	w.dirty = w.dirty[:0]
}

// wakeSome writes to connections that something was queued for, not to all of many: a
// write takes longer than most of what there is to read, which does not wait for
// thousands of them. What comes meanwhile for those that are left goes out in the same
// write.
func (p *poller) wakeSome() {
	n := min(len(p.dirty), wakesPerRound)
	for _, c := range p.dirty[:n] {
		c.wake()
	}
	p.later = append(p.later, p.dirty[n:]...)
	clear(p.dirty)
	p.dirty = p.dirty[:0]
	if len(p.later) == 0 {
		return
	}
	for end := min(len(p.later), p.late+latePerRound+n/4); p.late < end; p.late++ {
		p.later[p.late].wake()
		p.later[p.late] = nil
	}
	// A client on this machine may wait for the processor, its message not even sent.
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
	if 2*p.late >= len(p.later) { // not more often: thousands would be moved each round
		left := copy(p.later, p.later[p.late:])
		clear(p.later[left:])
		p.later, p.late = p.later[:left], 0
	}
}

// wait finds the connections that are ready.
func (p *poller) wait() {
	p.ready, p.next = append(p.ready[:0], p.again...), 0
	clear(p.again)
	p.again = p.again[:0]
	n := p.poll(len(p.ready) == 0 && len(p.later) == 0)
	p.b.watched.rouse()
	p.mu.Lock()
	for _, ev := range p.events[:n] {
		if ev.Pad == doorEvent {
			p.knocks = append(p.knocks, p.doors[ev.Fd])
			continue
		}
		if int(ev.Fd) == p.wakeup {
			var count [8]byte
			_, _ = syscall.Read(p.wakeup, count[:]) // fails only if it was read already
			p.over = p.ending
			p.later = append(p.later, p.handed...)
			clear(p.handed)
			p.handed = p.handed[:0]
			continue
		}
		// An event of a socket that was closed meanwhile may reach its successor,
		// which then finds nothing to read.
		if c := p.conns[ev.Fd]; c != nil && c.sock.claim(ev.Events) {
			p.ready = append(p.ready, c)
		}
	}
	p.mu.Unlock()
}

// poll gets events. It waits in two steps: for about a millisecond without telling
// the scheduler, which for messages that come one by one costs less than all else
// together; then in a system call like any other. Another goroutine that wants the
// processor interrupts the first, too; and those that this thread has made ready,
// and no other has taken, get their turn every yieldInterval.
func (p *poller) poll(wait bool) (n int) {
	hot := uintptr(0)
	if wait && !p.alone {
		hot = 1
	}
	if now := p.b.now(); now-p.yielded > yieldInterval {
		p.yielded = now
		runtime.Gosched()
	}
	r, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(&p.events)), maxEvents, hot, 0, 0)
	if errno == 0 {
		n = int(r)
	}
	if n > 0 || !wait {
		return n
	}
	n, err := syscall.EpollWait(p.epoll, p.events[:], -1)
	if err != nil {
		if err != syscall.EINTR {
			p.b.log.Error("epoll_wait", "error", err)
		}
		return 0
	}
	return n
}

// begin starts the turn of one connection.
func (p *poller) begin() (turn uint64) {
	turn = p.turn.Load() + 1
	p.turn.Store(turn)
	return turn
}

// end reports whether the turn was not handed over.
func (p *poller) end(turn uint64) bool { return p.turn.CompareAndSwap(turn, turn+1) }

// handOver lets another goroutine go on, if it is still that turn.
func (p *poller) handOver(turn uint64) {
	p.b.polling.Add(1)
	if !p.turn.CompareAndSwap(turn, turn+3) {
		p.b.polling.Done()
		return
	}
	go func() {
		defer p.b.polling.Done()
		p.run()
	}()
}
