package broker

import "sync"

// backlog holds the connections that messages from inside the process were queued for,
// until one goroutine has written them. Whoever publishes does not write himself where
// many are to get it: he goes on meanwhile, and what he publishes next goes out in the
// same write. What waits for a session is bounded as ever, and so is the backlog: a
// connection is in it once.
//
// Few are written at once, for then a goroutine takes longer to start than they do.
type backlog struct {
	mu      sync.Mutex
	conns   []*conn
	spare   []*conn
	running bool
	over    bool
	idle    chan struct{} // closed when nobody writes any more; nil: nobody waits
}

// backlogFew is how many connections a publisher writes to himself, if nobody else
// writes.
const backlogFew = 2

// wakeAll wakes the writers of the connections in dirty, which are marked so, and
// empties it.
func (b *Broker) wakeAll(dirty []*conn) []*conn {
	if len(dirty) == 0 || b.backlog.take(b, dirty) {
		clear(dirty)
		return dirty[:0]
	}
	for i, c := range dirty {
		c.wake()
		dirty[i] = nil
	}
	return dirty[:0]
}

// take returns false if the caller is to do it himself.
func (l *backlog) take(b *Broker, dirty []*conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || !l.running && len(dirty) <= backlogFew {
		return false
	}
	l.conns = append(l.conns, dirty...)
	if !l.running {
		l.running = true
		b.wg.Go(l.write)
	}
	return true
}

// write wakes the writers of all there are. A socket that is full does not hold it up.
func (l *backlog) write() {
	for {
		l.mu.Lock()
		conns := l.conns
		if len(conns) == 0 {
			l.running, l.conns, l.spare = false, nil, nil
			if l.idle != nil {
				close(l.idle)
			}
			l.mu.Unlock()
			return
		}
		l.conns = l.spare[:0]
		l.mu.Unlock()
		for i, c := range conns {
			c.wake()
			conns[i] = nil
		}
		l.spare = conns
	}
}

// end returns when what was published before is written, as far as the sockets take it.
// From now on everybody writes himself.
func (l *backlog) end() {
	l.mu.Lock()
	l.over = true
	var idle chan struct{}
	if l.running {
		idle = make(chan struct{})
		l.idle = idle
	}
	l.mu.Unlock()
	if idle != nil {
		<-idle
	}
}
