package outage

import (
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/topic"
)

// The states of a concentrator.
const (
	nodeUnknown uint8 = iota // known from paths in the store only
	nodeOnline
	nodeLost
	nodeOffline
)

var nodeNames = [...]string{"unknown", "online", "lost", "offline"}

// node is a concentrator; the root is the centre. A concentrator is taken to stand
//
//   - where the path of its last `online` status says, for it publishes that over each new connection;
//   - as long as no status came, or it is not online, where the newest path that it stands in says.
//
// So what an old queue still delivers after a concentrator has moved changes nothing: neither its messages nor its will.
type node struct {
	id       string
	path     string // of itself, its own id last
	parent   *node  // nil for the root
	children []*node
	devices  []*track
	counts   [states]int // of devices
	dev      *track      // of the concentrator as a device, nil if it is not kept as one

	status uint8
	since  uint32
	stated bool // stands where its own status said
	dirty  bool
	outage *outage
	gone   *node // where it was lost or offline although it was not taken to stand there, last; nil for nowhere
	goneAt uint32

	leaveEnd  uint32 // when it is a case that it took its leave, 0: it is one, or it did not
	settleEnd uint32 // until when it settles, 0: it does not
	waits     bool   // in Engine.settles
	backSign  uint64 // Engine.signs when it came back
	backAt    uint32

	// Of the look at a transformer that is under way, see Engine.look:
	look                       uint64
	here, hereGone, hereGasped int // devices of that transformer on this concentrator
	hereBack                   int // of those, the ones that are among wave's

	wave wave // of devices that come back

	// Of itself and everything above it:
	blocked  bool   // one is lost or offline
	settling bool   // one is settling
	returned uint64 // the newest backSign
	silentAt uint32 // the newest backAt: silence counts from then on
}

// wave counts the devices of a concentrator that came back lately, each once: in the span of Engine.cluster that goes on and in the one
// before it.
type wave struct {
	spans        [2]uint32 // numbers of the two, of all concentrators; 0: there was none
	begun, last  uint32    // the one that goes on, and when the last device came back
	backs        [2]int
	backsOfPower [2]int // of those that had told their last gasp
}

// noteBack notes that a device has come back.
func (e *Engine) noteBack(t *track, ofPower bool, now uint32) {
	w := &t.node.wave
	if w.spans[0] == 0 || now >= w.begun+e.cluster {
		if now >= w.begun+2*e.cluster {
			*w = wave{}
		}
		e.spans++
		*w = wave{spans: [2]uint32{e.spans, w.spans[0]}, begun: now, backs: [2]int{0, w.backs[0]}, backsOfPower: [2]int{0, w.backsOfPower[0]}}
	}
	w.last = now
	if w.has(t) {
		return
	}
	t.span = w.spans[0]
	w.backs[0]++
	if ofPower {
		w.backsOfPower[0]++
	}
}

// has reports whether the device is among those that came back.
func (w *wave) has(t *track) bool {
	return t.span != 0 && (t.span == w.spans[0] || t.span == w.spans[1])
}

func (n *node) down() bool { return n.status == nodeLost || n.status == nodeOffline }

func (n *node) attach(t *track) {
	t.node, t.slot = n, len(n.devices)
	n.devices = append(n.devices, t)
}

func (n *node) detach(t *track) {
	last := len(n.devices) - 1
	n.devices[t.slot] = n.devices[last]
	n.devices[t.slot].slot = t.slot
	n.devices[last] = nil
	n.devices = n.devices[:last]
}

// empty reports whether no device hangs on n or below it.
func (n *node) empty() bool {
	return len(n.devices) == 0 && !slices.ContainsFunc(n.children, func(c *node) bool { return !c.empty() })
}

// each calls f with n and every concentrator below it.
func (n *node) each(f func(*node)) {
	f(n)
	for _, c := range n.children {
		c.each(f)
	}
}

// node returns a concentrator, made below parent if it is new; parent itself if there are too many.
func (e *Engine) node(id string, parent *node) *node {
	n := e.nodes[id]
	if n == nil {
		if len(e.nodes) >= e.o.MaxConcentrators {
			e.stats.Overflows++
			return parent
		}
		n = &node{id: id, parent: parent, path: topic.Join(parent.path, id), since: e.now()}
		n.inherit()
		e.nodes[id] = n
		parent.children = append(parent.children, n)
	}
	return n
}

// inherit takes over what the concentrators above it mean for it.
func (n *node) inherit() {
	p := n.parent
	n.blocked, n.settling, n.returned, n.silentAt = n.down(), n.settleEnd != 0, n.backSign, n.backAt
	if p != nil {
		n.blocked = n.blocked || p.blocked
		n.settling = n.settling || p.settling
		n.returned = max(n.returned, p.returned)
		n.silentAt = max(n.silentAt, p.silentAt)
	}
}

// learn makes the concentrators of a path known and returns the innermost.
func (e *Engine) learn(path string) *node {
	n := e.root
	if path != "" {
		for id := range strings.SplitSeq(path, "/") {
			n = e.node(id, n)
		}
	}
	return n
}

// travelled takes the path of a message that was made at made as proof that the concentrators on it are there, and where;
// it returns the innermost. What was made before a concentrator was lost proves nothing, nor does a message that does not
// say when it was made (0). A concentrator of which nothing is known yet is taken at its word.
func (e *Engine) travelled(path string, made, at uint32) *node {
	n := e.root
	if path == "" {
		return n
	}
	for id := range strings.SplitSeq(path, "/") {
		c := e.node(id, n)
		if c == n {
			return n
		}
		proof := c.status == nodeUnknown || made > c.since
		if c.gone == n && made <= c.goneAt {
			proof = false
		}
		if c.parent != n && proof && (!c.stated || c.status != nodeOnline) {
			e.move(c, n, at)
		}
		if c.parent == n && proof && c.status != nodeOnline {
			e.setStatus(c, nodeOnline, at)
		}
		n = c
	}
	return n
}

// move hangs a concentrator below another one, unless that stands below it itself.
func (e *Engine) move(c, to *node, at uint32) {
	for p := to; p != nil; p = p.parent {
		if p == c {
			return
		}
	}
	from := c.parent
	c.hang(to)
	c.each(func(n *node) {
		e.replace(n)
		e.markNode(n)
	})
	e.emptied(from, at)
	if !c.empty() {
		e.filled(to)
	}
	e.spread(c, at, "concentrator-online", at)
}

// hang takes a concentrator from where it is and puts it below to.
func (n *node) hang(to *node) {
	i := slices.Index(n.parent.children, n)
	n.parent.children = slices.Delete(n.parent.children, i, i+1)
	n.parent = to
	to.children = append(to.children, n)
}

// replace gives a concentrator, and the devices on it, the path of the place where it hangs now.
func (e *Engine) replace(n *node) {
	n.path = topic.Join(n.parent.path, n.id)
	n.inherit()
	if n.dev != nil {
		n.dev.node, n.dev.dev.Path = n.parent, n.parent.path
		e.mark(n.dev)
	}
	for _, t := range n.devices {
		t.dev.Path = n.path
		e.mark(t)
	}
}

// spread works out what a concentrator's change means for everything below it. It walks over all of that, and nothing else
// does.
func (e *Engine) spread(c *node, at uint32, what string, when uint32) {
	c.each(func(n *node) {
		n.inherit()
		for _, t := range n.devices {
			e.refresh(t, at, what, when)
		}
	})
}

// markNode has an event tell how a concentrator is now. The centre is none.
func (e *Engine) markNode(n *node) {
	if !n.dirty && n.parent != nil {
		n.dirty = true
		e.changed.nodes = append(e.changed.nodes, n)
	}
}

// OnConcentrator takes the status of a concentrator: online, lost or offline. path is that of the topic: the concentrators
// above it. dev is the concentrator as a device (of kind concentrator, added before), whose link then keeps the status over
// restarts; nil if it is not kept as one. It returns false for a status that changes nothing because it is unknown, came
// back to where it started, or came over a path where the concentrator is not any more.
func (e *Engine) OnConcentrator(dev *cim.EndDevice, path, id, status string, at uint32) bool {
	e.signs++
	st := uint8(slices.Index(nodeNames[:], status))
	if st < nodeOnline || int(st) >= len(nodeNames) || slices.Contains(strings.Split(path, "/"), id) {
		return false
	}
	parent := e.travelled(path, 0, at) // a status does not say when it was made, and may be a retained one
	_, known := e.nodes[id]
	n := e.node(id, parent)
	if n == parent {
		return false
	}
	if dev != nil && n.dev == nil {
		n.dev = e.track(dev)
	}
	if n.parent != parent {
		if st != nodeOnline {
			e.stats.OldStatuses++
			n.gone, n.goneAt = parent, at
			return false
		}
		e.move(n, parent, at)
		if n.parent != parent {
			return false // it would stand below itself
		}
	}
	if n.dev != nil {
		n.dev.node, n.dev.dev.Path, n.dev.dev.LastSeen = parent, parent.path, at
		if n.dev.dev.FirstSeen == 0 {
			n.dev.dev.FirstSeen = at
		}
	}
	if st == nodeOnline {
		n.stated = true
	}
	if n.status != st || !known {
		e.setStatus(n, st, at)
	}
	return true
}

// setStatus changes a concentrator's status:
//
//	unknown ──> online <──────────> lost, offline
//	                   its devices: unreachable; on the way back they settle
func (e *Engine) setStatus(n *node, st uint8, at uint32) {
	wasDown := n.down()
	n.status, n.since = st, at
	e.markNode(n)
	if n.dev != nil {
		link := cim.LinkUp
		if n.down() {
			link = cim.LinkLost
		}
		n.dev.dev.Link = cim.Fact[cim.Link]{State: link, Since: at}
		n.dev.own = n.dev.dev.Link
		e.mark(n.dev)
	}
	switch {
	case n.down():
		n.settleEnd = 0
		if st == nodeOffline && n.outage == nil {
			e.tookLeave(n)
		} else {
			n.leaveEnd = 0
			e.openNode(n, at)
		}
	case wasDown:
		n.leaveEnd = 0
		n.backSign, n.backAt = e.signs, at
		n.settleEnd = e.settleEnd()
		if !n.waits {
			n.waits = true
			e.settles = append(e.settles, n)
		}
		e.closeNode(n, at)
	default:
		return // unknown to online: nothing was taken for lost
	}
	if !wasDown || !n.down() {
		e.spread(n, at, "concentrator-"+nodeNames[st], at)
	}
}

func (e *Engine) settleEnd() uint32 { return e.in(e.o.Settle) }

// in is the first second of business time behind a span of wall time.
func (e *Engine) in(wall time.Duration) uint32 {
	return uint32(min(max(e.o.Clock.Deadline(wall).Unix()+1, 1), 1<<32-1))
}

// tookLeave gives a concentrator that went in order the time of a restart, its own or of the whole system, before it is a case.
func (e *Engine) tookLeave(n *node) {
	if n.leaveEnd == 0 && !slices.Contains(e.leaves, n) {
		e.leaves = append(e.leaves, n)
	}
	n.leaveEnd = e.in(e.o.Leave)
}

// absent makes cases of the concentrators that took their leave and did not come back. It returns when the next one is due, 0: none.
func (e *Engine) absent(at uint32) (next uint32) {
	kept := e.leaves[:0]
	for _, n := range e.leaves {
		switch {
		case n.leaveEnd == 0: // it is back, or was lost after all
		case at >= n.leaveEnd:
			n.leaveEnd = 0
			if !n.empty() { // else nobody is unreachable through it, and it may have gone for good
				e.openNode(n, n.since)
			}
		default:
			kept = append(kept, n)
			if next == 0 || n.leaveEnd < next {
				next = n.leaveEnd
			}
		}
	}
	clear(e.leaves[len(kept):])
	e.leaves = kept
	return next
}

// Below returns every device on the last concentrator of path and below it, concentrators left out; none if it is unknown.
func (e *Engine) Below(path string) []*cim.EndDevice {
	_, id := topic.Parent(path)
	n := e.nodes[id]
	if n == nil || n.path != path {
		return nil
	}
	var out []*cim.EndDevice
	n.each(func(n *node) {
		for _, t := range n.devices {
			out = append(out, t.dev)
		}
	})
	return out
}
