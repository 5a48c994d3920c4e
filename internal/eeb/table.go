package eeb

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// table knows where every device is: below which concentrator, and where those stand. A path is the walk up, so a
// concentrator that moves takes all below it along.
//
// A device is where its newest registration came from. A concentrator is
//
//	where it last said "online"; while it does not say "lost" or "offline" there, messages that came another way change
//	nothing, because they may have waited somewhere since it moved;
//	else, and when it never said anything, where the last message came through it.
//
// About 100 bytes for a device with an id of 12 characters.
type table struct {
	mu      sync.RWMutex
	devices map[deviceKey]device
	numbers map[string]uint32 // of concentrators, index into nodes
	nodes   []node            // 0 is the centre
	epoch   int64             // the newest of all
	agreed  map[string]bool   // paths that agree with the table as it is: true; that contradict and change nothing: false
}

type deviceKey struct {
	kind uint8 // kindNumber
	id   string
}

type device struct {
	parent uint32 // index into nodes
	seq    uint32
	seen   int64 // milliseconds, wall time, of the registration, and the epoch of its place: see table.next
}

type node struct {
	id     string
	parent uint32
	known  bool // where it stands; else it was only named
	link   link
	seen   int64
}

type link uint8

const (
	silent link = iota // it never said
	online
	gone // lost or offline
)

const (
	maxAgreed = 1 << 16
	maxNodes  = 1 << 20
)

var (
	errLoop = errors.New("a concentrator stands twice in the path")
	errFull = errors.New("the location table is full")
)

func newTable() *table {
	return &table{devices: make(map[deviceKey]device), numbers: make(map[string]uint32), nodes: make([]node, 1),
		agreed: make(map[string]bool)}
}

func kindNumber(kind string) uint8 {
	switch kind {
	case topic.Meter:
		return 0
	case topic.Concentrator:
		return 1
	case topic.HAN:
		return 2
	case topic.EV:
		return 3
	case topic.PV:
		return 4
	}
	return 255
}

func (t *table) number(id string) uint32 {
	if id == "" {
		return 0
	}
	n, ok := t.numbers[id]
	if !ok {
		n = uint32(len(t.nodes))
		id = strings.Clone(id) // it is a part of a topic
		t.nodes = append(t.nodes, node{id: id})
		t.numbers[id] = n
	}
	return n
}

// next numbers a change of the table: the wall time in milliseconds, or one more than the newest where that is not less, so
// that a later change always has the greater number, also after a restart and when the clock was set back. The epoch of a
// path is the greatest of the device's own and those of the concentrators on it. t.mu is held.
func (t *table) next(now int64) int64 {
	t.epoch = max(now, t.epoch+1)
	return t.epoch
}

// load takes what the store kept.
func (t *table) load(l store.Location) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch = max(t.epoch, l.Seen)
	if l.Kind == topic.Concentrator {
		n, p := t.number(l.ID), t.number(l.Parent)
		t.nodes[n].parent, t.nodes[n].known, t.nodes[n].seen = p, true, l.Seen
		return
	}
	t.devices[deviceKey{kindNumber(l.Kind), strings.Clone(l.ID)}] = device{t.number(l.Parent), l.Sequence, l.Seen}
}

// learn notes the concentrators of a path that a message came over. changed gets those that stand elsewhere now, and the path
// to there; back says which of them had said that they are gone. A path with an error changes nothing.
func (t *table) learn(path string, now int64, changed func(l store.Location, outer string, back bool)) error {
	if path == "" {
		return nil
	}
	t.mu.RLock()
	_, seen := t.agreed[path]
	t.mu.RUnlock()
	if seen {
		return nil
	}
	ids := strings.Split(path, "/")
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return errLoop
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.nodes)+len(ids) >= maxNodes {
		return errFull
	}
	agrees := true
	parent, outer := "", ""
	for _, id := range ids {
		n, p := t.number(id), t.number(parent)
		c := &t.nodes[n]
		switch {
		case c.known && c.parent == p:
		case c.known && c.link == online:
			agrees = false // it may have waited on the way since the concentrator moved
		default:
			back := c.known && c.link == gone
			if back {
				c.link = online
			}
			t.move(n, p, now)
			changed(t.location(n), outer, back)
		}
		parent, outer = id, topic.Join(outer, id)
	}
	if len(t.agreed) >= maxAgreed {
		clear(t.agreed)
	}
	t.agreed[strings.Clone(path)] = agrees
	return nil
}

func (t *table) move(n, parent uint32, now int64) {
	c := &t.nodes[n]
	c.parent, c.known, c.seen = parent, true, t.next(now)
	clear(t.agreed)
}

func (t *table) location(n uint32) store.Location {
	c := &t.nodes[n]
	return store.Location{Kind: topic.Concentrator, ID: c.id, Parent: t.nodes[c.parent].id, Seen: c.seen}
}

// status takes what a concentrator says of itself, or its will. It returns false for news from where it is not any more.
// changed gets its place if that is new.
func (t *table) status(path, id string, up bool, now int64, changed func(store.Location)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, outer := topic.Parent(path)
	n, p := t.number(id), t.number(outer)
	c := &t.nodes[n]
	if !up && c.known && c.parent != p {
		return false
	}
	was := c.link
	c.link = gone
	if up {
		c.link = online
	}
	if !c.known || c.parent != p {
		t.move(n, p, now)
		changed(t.location(n))
	} else if was != c.link {
		clear(t.agreed)
	}
	return true
}

// outcome says what a registration was.
type outcome uint8

const (
	newer   outcome = iota // the device is there now
	same                   // as the centre has it
	older                  // changes nothing
	tooMany                // no room for another device
)

// register takes a registration, or with first the first message of a device that is not registered yet. current is the
// sequence that the centre has afterwards.
func (t *table) register(kind, id, path string, seq uint32, now int64, most int, first bool) (o outcome, current uint32, l store.Location) {
	k := deviceKey{kindNumber(kind), id}
	t.mu.RLock()
	d, ok := t.devices[k]
	t.mu.RUnlock()
	if ok && first {
		return same, d.seq, l
	}
	_, outer := topic.Parent(path)
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.number(outer)
	switch {
	case !ok && len(t.devices) >= most:
		return tooMany, 0, l
	case ok && seq < d.seq:
		return older, d.seq, l
	case ok && seq == d.seq && d.parent == p:
		return same, seq, l
	}
	if !ok {
		k.id = strings.Clone(id)
	}
	epoch := t.next(now)
	t.devices[k] = device{p, seq, epoch}
	return newer, seq, store.Location{Kind: strings.Clone(kind), ID: strings.Clone(id), Parent: t.nodes[p].id, Sequence: seq, Seen: epoch}
}

// follow takes a message of a device that speaks a format without registrations: it is where its newest message came from,
// unless it has registered all the same.
func (t *table) follow(kind, id, path string, now int64, most int) (outcome, store.Location) {
	_, outer := topic.Parent(path)
	t.mu.RLock()
	d, ok := t.devices[deviceKey{kindNumber(kind), id}]
	there := ok && (d.seq != 0 || t.nodes[d.parent].id == outer)
	t.mu.RUnlock()
	if there {
		return same, store.Location{}
	}
	o, _, where := t.register(kind, id, path, 0, now, most, false)
	return o, where
}

// sequence returns that of a device's registration.
func (t *table) sequence(kind, id string) (seq uint32, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	d, ok := t.devices[deviceKey{kindNumber(kind), id}]
	return d.seq, ok
}

// find returns where a device or concentrator is. ok is false when that is not known, or goes round in a circle.
func (t *table) find(kind, id string) (path string, seq uint32, seen time.Time, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var parent uint32
	var ms int64
	if kind == topic.Concentrator {
		n, known := t.numbers[id]
		if !known || !t.nodes[n].known {
			return "", 0, time.Time{}, false
		}
		parent, ms = t.nodes[n].parent, t.nodes[n].seen
	} else {
		d, known := t.devices[deviceKey{kindNumber(kind), id}]
		if !known {
			return "", 0, time.Time{}, false
		}
		parent, seq, ms = d.parent, d.seq, d.seen
	}
	path, ok = t.walk(parent)
	return path, seq, time.UnixMilli(ms).UTC(), ok
}

// epochOf is that of a device's path; 0 where the device is not known.
func (t *table) epochOf(kind, id string) (epoch uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var n uint32
	if kind == topic.Concentrator {
		n = t.numbers[id]
	} else {
		d, known := t.devices[deviceKey{kindNumber(kind), id}]
		if !known {
			return 0
		}
		n, epoch = d.parent, uint64(max(d.seen, 0))
	}
	for range topic.MaxPathLength {
		if n == 0 {
			break
		}
		epoch = max(epoch, uint64(max(t.nodes[n].seen, 0)))
		n = t.nodes[n].parent
	}
	return epoch
}

// walk puts the path to a concentrator together, itself included. t.mu is held.
func (t *table) walk(n uint32) (string, bool) {
	var up [topic.MaxPathLength]string
	at := len(up)
	for n != 0 {
		if at == 0 {
			return "", false
		}
		at--
		up[at] = t.nodes[n].id
		n = t.nodes[n].parent
	}
	return strings.Join(up[at:], "/"), true
}

func (t *table) count() (devices, concentrators int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.devices), len(t.nodes) - 1
}
