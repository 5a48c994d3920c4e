package outage

import (
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
)

// Place is where a device hangs in the grid, as the registry says it; "" where that is not known.
type Place struct{ Substation, Feeder, Lateral, Transformer string }

// The levels of the grid at which supply can fail for many at once.
const (
	levelTransformer uint8 = iota + 1
	levelLateral
	levelFeeder
)

var scopes = [...]string{"meter", "transformer", "lateral", "feeder"}

// element is a transformer, a lateral or a feeder. Meters hang on transformers; a transformer hangs on its lateral or, where it
// has none, on its feeder.
//
//	in service ──P(out) ≥ sure──> out ──one that was out is back──> restoring ──95 % are back, or nobody more comes──> in service
//	                               └──one was there all the time: it was not out──> in service, what was inferred is taken back
type element struct {
	level    uint8
	name     string // of itself
	parent   *element
	children []*element
	meters   []*track // of a transformer

	out       bool
	implied   bool   // what it hangs on is out
	restoring bool   // somebody is back
	onset     uint32 // since when, by the devices' times: nobody who was out has been heard since
	exact     bool   // a last gasp said so
	news      uint32 // when the first news of it came
	since     uint32 // when it was found out
	firstBack uint32 // when the first of them came back, by the devices' times
	backAt    uint32 // when the last one did
	odds      float64
	peak      float64 // the most that they were while it is out, without those that were there all the time
	signs     signs   // of a transformer, as of the last look

	mass     bool   // it went out by the wills of many concentrators, see massWent
	taken    bool   // the last time that it was taken for out it was not
	planned  bool   // it lies in a maintenance window
	calm     uint32 // when it came back last: what went before has nothing to do with what goes after
	backSeen uint32 // when the last one was seen to come back, by the centre's time

	substation string
	dirty      bool
	whole      bool    // of a dirty transformer: all its meters are judged anew, also where nothing goes on
	visit      uint32  // Engine.visit of the last correlation that met it
	asked      uint32  // when its sample was asked last
	wake       uint32  // when it is looked at again, 0: nobody waits
	outage     *outage // its case
}

// gridKey names an element: transformers of different feeders may be called the same.
type gridKey struct {
	level                                    uint8
	substation, feeder, lateral, transformer string
}

// grid is the network of supply.
type grid struct {
	elements map[gridKey]*element
	dirty    [levelFeeder + 1][]*element
}

func (g *grid) element(k gridKey, name string, parent *element) *element {
	x := g.elements[k]
	if x == nil {
		x = &element{level: k.level, name: name, parent: parent, substation: k.substation, odds: oddsPrior}
		g.elements[k] = x
		if parent != nil {
			parent.children = append(parent.children, x)
		}
	}
	return x
}

// at returns the transformer of a place, made at first sight; nil where it is not known: then the meter stands alone.
func (g *grid) at(p Place) *element {
	if p.Transformer == "" {
		return nil
	}
	var up *element
	if p.Feeder != "" {
		up = g.element(gridKey{levelFeeder, p.Substation, p.Feeder, "", ""}, p.Feeder, nil)
	}
	if p.Lateral != "" {
		up = g.element(gridKey{levelLateral, p.Substation, p.Feeder, p.Lateral, ""}, p.Lateral, up)
	}
	return g.element(gridKey{levelTransformer, p.Substation, p.Feeder, p.Lateral, p.Transformer}, p.Transformer, up)
}

// touch has an element looked at anew, with all that hangs on it.
func (g *grid) touch(x *element) {
	if x != nil {
		x.whole = true
		g.look(x)
	}
}

// look has a transformer looked at anew, and one of its meters judged. The others are judged, too, if something goes on there.
func (g *grid) look(x *element) {
	if x != nil && !x.dirty {
		x.dirty = true
		g.dirty[x.level] = append(g.dirty[x.level], x)
	}
}

// quiet reports whether nothing goes on at a transformer: what one of its meters shows says nothing of another.
func (x *element) quiet() bool {
	return x.signs.onset == 0 && !x.out && !x.implied && !x.restoring && !x.planned && x.outage == nil && x.top() == nil
}

// leave takes a meter from its transformer. Elements that nothing hangs on stay: a network has as many as it has.
func (x *element) leave(t *track) {
	last := len(x.meters) - 1
	x.meters[t.gridSlot] = x.meters[last]
	x.meters[t.gridSlot].gridSlot = t.gridSlot
	x.meters[last] = nil
	x.meters = x.meters[:last]
}

// Placed tells where a device hangs in the grid. It may be told again at any time; the same again costs nothing.
func (e *Engine) Placed(dev *cim.EndDevice, p Place) {
	t := e.track(dev)
	if t == nil {
		return
	}
	x := e.grid.at(p)
	if x == t.grid {
		return
	}
	if t.slot < 0 { // a concentrator is supplied, but is no customer
		t.grid = x
		return
	}
	if t.grid != nil {
		e.endCut(t, e.now(), cutRetracted)
		t.grid.leave(t)
		e.grid.touch(t.grid)
	}
	t.grid = x
	if x != nil {
		t.gridSlot = len(x.meters)
		x.meters = append(x.meters, t)
		e.grid.touch(x)
	}
}

// up calls f with x and what it hangs on, from the bottom up, until f returns false.
func (x *element) up(f func(*element) bool) {
	for ; x != nil && f(x); x = x.parent {
	}
}

// top is the highest element at or above x that is out, nil for none.
func (x *element) top() (top *element) {
	x.up(func(y *element) bool {
		if y.out {
			top = y
		}
		return true
	})
	return top
}

// transformers calls f with every transformer at or below x.
func (x *element) transformers(f func(*element)) {
	if x.level == levelTransformer {
		f(x)
		return
	}
	for _, c := range x.children {
		c.transformers(f)
	}
}

// feeder names the feeder that x hangs on.
func (x *element) feeder() (name string) {
	x.up(func(y *element) bool {
		if y.level == levelFeeder {
			name = y.name
		}
		return true
	})
	return name
}

// of reports whether x is, or hangs on, an element of that level and name.
func (x *element) of(level uint8, name string) (found bool) {
	x.up(func(y *element) bool {
		found = y.level == level && y.name == name
		return !found
	})
	return found
}

// level of a scope's name; 0 for a meter, false for none.
func levelOf(scope string) (uint8, bool) {
	i := slices.Index(scopes[:], scope)
	return uint8(max(i, 0)), i >= 0
}
