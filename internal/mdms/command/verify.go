package command

import (
	"context"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// A switch is believed when the meter has been read behind it. The meter's result says where it moved its breaker to; a reading
// of its own, asked for by the centre, says by its flags and its power whether that is so:
//
//	done ──read──> verified      the reading fits
//	          ──> contradicted  it does not: somebody has to look
//	          ──> unanswered    no reading came in verifyWithin
//
// The command itself is done by then, and stays so; its verification stands beside it.

// verifyWithin is how long a meter has for the reading, wall time, and what it still sleeps.
const verifyWithin = time.Minute

// verify reads a meter that has just moved its breaker.
func (e *Engine) verify(c *control, dev *cim.EndDevice) {
	if !e.o.Verify {
		return
	}
	e.verified(c, api.VerifyPending, 1)
	read, err := e.add(plan{op: record.OpRead, expires: min(verifyWithin+e.asleep(dev), MaxExpiry), devices: []*cim.EndDevice{dev}, priority: high, verifies: c.id,
		req: api.CommandRequest{Type: api.CommandRead, By: api.ByCentre, Target: api.Target{Meter: dev.ID}}})
	if err != nil {
		e.log.Warn("breaker not read behind its switch", "command", c.id, "device", dev.ID, "error", err)
		e.verified(c, api.VerifyPending, -1)
		e.verified(c, api.VerifyUnanswered, 1)
		return
	}
	if !c.bulk {
		c.doc.Verification = &api.Verification{State: api.VerifyPending, Read: read.doc.ID}
	}
}

// verified counts the meters of a command by what their readings said.
func (e *Engine) verified(c *control, state string, n int) {
	if c.checks == nil {
		c.checks = map[string]int{}
	}
	if c.checks[state] += n; c.checks[state] <= 0 {
		delete(c.checks, state)
	}
	e.touch(c)
}

// fits reports whether a reading is what a meter shows whose breaker was moved so.
func fits(typ string, arm bool, g *record.Reading) bool {
	open := g.Flags&record.FlagBreakerOpen != 0
	if typ == api.CommandDisconnect || arm {
		return open && g.Power == 0
	}
	return !open
}

// checked takes the end of a read that was to verify a switch; g is nil where no reading came.
func (e *Engine) checked(read *control, g *record.Reading, now time.Time) {
	dev := read.members[0].dev
	v := api.Verification{State: api.VerifyUnanswered, Read: read.doc.ID, Time: now.UTC()}
	judge := func(doc *api.Command) {
		if g == nil {
			return
		}
		v.State, v.Power, v.Voltage = api.VerifyDone, g.Power, float64(g.Voltage)/10
		// An armed breaker may have been closed by the person at the meter by now: that is what it was armed for.
		if !fits(doc.Type, doc.Params.Arm, g) && !doc.Params.Arm {
			v.State = api.VerifyContradicted
		}
	}
	if c := e.commands[read.verifies]; c != nil {
		judge(&c.doc)
		e.verified(c, api.VerifyPending, -1)
		e.verified(c, v.State, 1)
		if !c.bulk {
			c.doc.Verification = &v
		}
		e.note(c, v.State, "", dev.ID, transition{State: c.doc.State, Verification: &v})
		e.count(&v, c.id, dev)
		return
	}
	// The centre was restarted in between: the switch had ended and is in the store.
	if e.o.Reader == nil {
		return
	}
	k, err := e.o.Reader.Command(context.Background(), read.verifies)
	if err != nil {
		e.log.Warn("switch whose breaker was read is not known any more", "command", read.verifies, "error", err)
		return
	}
	for i := range e.amended { // of this very turn
		if e.amended[i].ID == k.ID {
			k = e.amended[i]
			e.amended = append(e.amended[:i], e.amended[i+1:]...)
			break
		}
	}
	doc, err := Decode(k)
	if err != nil || k.Open {
		return
	}
	judge(&doc)
	if doc.Bulk != nil {
		if doc.Bulk.Verification == nil {
			doc.Bulk.Verification = map[string]int{}
		}
		if doc.Bulk.Verification[api.VerifyPending]--; doc.Bulk.Verification[api.VerifyPending] <= 0 {
			delete(doc.Bulk.Verification, api.VerifyPending)
		}
		doc.Bulk.Verification[v.State]++
	} else {
		doc.Verification = &v
	}
	whole, err := encode(doc)
	if err != nil {
		return
	}
	e.amended = append(e.amended, store.Command{ID: k.ID, Created: k.Created, Own: k.Own, Meter: k.Meter, Doc: whole})
	e.note(&control{doc: doc}, v.State, "", dev.ID, transition{State: doc.State, Verification: &v})
	e.count(&v, k.ID, dev)
}

func (e *Engine) count(v *api.Verification, id uint64, dev *cim.EndDevice) {
	switch v.State {
	case api.VerifyDone:
		e.stats.Verified++
	case api.VerifyContradicted:
		e.stats.Contradicted++
		e.log.Error("the breaker is not where its command moved it", "command", id, "device", dev.ID, "power_w", v.Power)
	default:
		e.stats.Unanswered++
	}
}
