package web

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/api"
)

// eventBus is what the hub needs of the bus.
type eventBus interface {
	SubscribeEvents(filter string, fn func(subject string, event []byte)) (stop func(), err error)
}

var (
	errTooManyStreams = errors.New("too many live streams")
	errStreamsOfOne   = errors.New("too many live streams of one caller, who may have half of all: end some")
	errStopping       = errors.New("the server is stopping")
	errTakenBack      = errors.New("the token is not known any more")
)

// hub passes events from the bus to the live streams. It follows a subject on the bus while some stream wants it.
type hub struct {
	bus     eventBus
	log     *slog.Logger
	metrics *metrics
	most    int // streams

	mu       sync.Mutex
	closed   bool
	streams  map[*stream]struct{}
	callers  map[string]int // their streams
	subjects map[string]*subject
	idle     *sync.Cond // on mu: a stream ended
}

// subject is one subscription on the bus and the streams behind it. Its callback takes no lock of the hub's.
type subject struct {
	stop    func()
	streams atomic.Pointer[[]*stream] // replaced, never changed
}

// stream is one client's live stream, or a handler that waits for an event.
type stream struct {
	hub    *hub
	caller string // callerOf; "": the server itself
	out    *outbox
	done   chan struct{} // closed when the server stops
	known  func() bool   // reports whether its token still is; nil: none is wanted

	selects atomic.Pointer[[]api.EventFilter] // the values of filters, for deliver; replaced, never changed

	change  sync.Mutex // guards what follows; held over a whole change
	filters map[string]api.EventFilter
	follows map[string]struct{} // subjects
}

func newHub(b eventBus, log *slog.Logger, most int, m *metrics) *hub {
	h := &hub{bus: b, log: log, metrics: m, most: most, streams: map[*stream]struct{}{}, callers: map[string]int{}, subjects: map[string]*subject{}}
	h.idle = sync.NewCond(&h.mu)
	return h
}

// open makes a stream with no filters, which ends with leave. One caller has at most half of all, so that there is room for others.
func (h *hub) open(caller string) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, errStopping
	case len(h.streams) >= h.most:
		return nil, errTooManyStreams
	case caller != "" && h.callers[caller] >= max(1, h.most/2):
		return nil, errStreamsOfOne
	}
	h.callers[caller]++
	st := &stream{hub: h, caller: caller, out: newOutbox(), done: make(chan struct{})}
	h.streams[st] = struct{}{}
	h.metrics.streams.Set(float64(len(h.streams)))
	return st, nil
}

// leave ends the stream: nothing is followed for it any more.
func (st *stream) leave() {
	st.change.Lock()
	defer st.change.Unlock()
	h := st.hub
	st.set(nil)
	h.unfollow(st, st.follows)
	st.follows = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, open := h.streams[st]; open {
		if h.callers[st.caller]--; h.callers[st.caller] == 0 {
			delete(h.callers, st.caller)
		}
		delete(h.streams, st)
	}
	h.metrics.streams.Set(float64(len(h.streams)))
	h.idle.Broadcast()
}

// close tells every stream to end and refuses new ones.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for st := range h.streams {
		close(st.done)
	}
}

// wait returns when every stream has left.
func (h *hub) wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.streams) > 0 {
		h.idle.Wait()
	}
}

// maxFilters bounds the filters of a stream.
const maxFilters = 256

// edit changes a stream's filters and then what is followed for it. New subjects are followed before old ones are left:
// at such a moment an event may come twice (its id tells), but none is lost.
func (st *stream) edit(change func(filters map[string]api.EventFilter)) error {
	st.change.Lock()
	defer st.change.Unlock()
	next, old := map[string]api.EventFilter{}, st.follows
	maps.Copy(next, st.filters)
	change(next)
	if len(next) > maxFilters {
		return api.BadRequest("subscribe", "%d subscriptions on one connection, want at most %d", len(next), maxFilters)
	}
	want := subjectsOf(next)
	fresh, stale := map[string]struct{}{}, map[string]struct{}{}
	for s := range want {
		if _, ok := old[s]; !ok {
			fresh[s] = struct{}{}
		}
	}
	for s := range old {
		if _, ok := want[s]; !ok {
			stale[s] = struct{}{}
		}
	}
	before := st.filters
	st.set(next)
	if err := st.hub.follow(st, fresh); err != nil {
		st.set(before)
		return err
	}
	st.follows = want
	st.hub.unfollow(st, stale)
	return nil
}

// set is called with change held.
func (st *stream) set(filters map[string]api.EventFilter) {
	st.filters = filters
	list := slices.Collect(maps.Values(filters))
	st.selects.Store(&list)
}

func (h *hub) follow(st *stream, subjects map[string]struct{}) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	added := map[string]struct{}{}
	for name := range subjects {
		sub := h.subjects[name]
		if sub == nil {
			sub = &subject{}
			stop, err := h.bus.SubscribeEvents(name, func(subject string, event []byte) { h.deliver(sub, subject, event) })
			if err != nil {
				h.unfollowLocked(st, added)
				return err
			}
			sub.stop = stop
			h.subjects[name] = sub
		}
		sub.set(func(list []*stream) []*stream { return append(list, st) })
		added[name] = struct{}{}
	}
	h.metrics.topics.Set(float64(len(h.subjects)))
	return nil
}

func (h *hub) unfollow(st *stream, subjects map[string]struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unfollowLocked(st, subjects)
}

func (h *hub) unfollowLocked(st *stream, subjects map[string]struct{}) {
	for name := range subjects {
		sub := h.subjects[name]
		if sub == nil {
			continue
		}
		left := sub.set(func(list []*stream) []*stream {
			kept := list[:0]
			for _, other := range list {
				if other != st {
					kept = append(kept, other)
				}
			}
			return kept
		})
		if left == 0 {
			sub.stop()
			delete(h.subjects, name)
		}
	}
	h.metrics.topics.Set(float64(len(h.subjects)))
}

// set replaces the list of streams by what f makes of a copy and returns its length. The hub's mu is held.
func (sub *subject) set(f func([]*stream) []*stream) int {
	var list []*stream
	if p := sub.streams.Load(); p != nil {
		list = append(list, *p...)
	}
	list = f(list)
	sub.streams.Store(&list)
	return len(list)
}

// deliver runs on the bus's goroutine of the subscription.
func (h *hub) deliver(sub *subject, subject string, raw []byte) {
	list := sub.streams.Load()
	if list == nil {
		return
	}
	ev, err := newLiveEvent(subject, raw)
	if err != nil {
		h.log.Warn("unreadable event ignored", "subject", subject, "error", err)
		return
	}
	var m message
	for _, st := range *list {
		if !st.wants(ev) {
			continue
		}
		if m.data == nil {
			m = message{name: ev.name, id: ev.parsed().ID, data: ev.raw}
			if coalesces(ev.name) {
				m.key = ev.name + " " + ev.device
			}
		}
		st.out.push(m)
	}
}

func (st *stream) wants(ev *liveEvent) bool {
	list := st.selects.Load()
	if list == nil {
		return false
	}
	for i := range *list {
		if matches(&(*list)[i], ev) {
			return true
		}
	}
	return false
}
