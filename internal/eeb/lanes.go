package eeb

import "sync"

const (
	laneBytes  = 4 << 20  // waiting in one lane
	lanesBytes = 64 << 20 // in all
)

// letter is a message on its way out.
type letter struct {
	topic   string
	payload []byte
	qos     byte
}

func (l *letter) size() int { return len(l.topic) + len(l.payload) + 64 }

// lanes publish messages in order within a lane, each lane on a goroutine of its own while it has something: the broker
// makes a publisher wait for a session that takes too little, and one concentrator must not hold up the others. At a bound
// a message is refused; what goes down is repeated by whoever sent it.
type lanes struct {
	publish func(letter)

	mu     sync.Mutex
	lanes  map[string]*lane
	bytes  int
	closed bool
	wg     sync.WaitGroup
}

type lane struct {
	queue []letter
	bytes int
}

func newLanes(publish func(letter)) *lanes {
	return &lanes{publish: publish, lanes: make(map[string]*lane)}
}

// put queues a message; false: no room.
func (l *lanes) put(key string, x letter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lanes[key]
	n := x.size()
	if l.closed || l.bytes+n > lanesBytes || q != nil && q.bytes+n > laneBytes {
		return false
	}
	l.bytes += n
	if q != nil {
		q.queue = append(q.queue, x)
		q.bytes += n
		return true
	}
	q = &lane{queue: []letter{x}, bytes: n}
	l.lanes[key] = q
	l.wg.Go(func() { l.run(key, q) })
	return true
}

func (l *lanes) run(key string, q *lane) {
	for {
		l.mu.Lock()
		if len(q.queue) == 0 || l.closed {
			l.bytes -= q.bytes
			delete(l.lanes, key)
			l.mu.Unlock()
			return
		}
		batch := q.queue
		q.queue = nil
		l.mu.Unlock()
		n := 0
		for i := range batch {
			l.publish(batch[i])
			n += batch[i].size()
		}
		l.mu.Lock()
		q.bytes -= n
		l.bytes -= n
		l.mu.Unlock()
	}
}

// close drops what waits and returns when nothing is being published any more.
func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wg.Wait()
}
