package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
)

// The document of a breaker command for many is written once in a while, but every meter's part in it is in the audit trail, in the commit
// of the turn that brought it about. So a restart reads from the trail what the document does not have yet: no meter is asked again, nor
// taken off a budget again, that had its message or had answered. What alone is not known is what went out between the last commit and
// the end; that goes out again, and the meter tells by the command's id that it has it.

// relivePage is how many entries are read at once.
const relivePage = 2000

// reliveSlack is how much further back in time the trail is read than documents are held back, for turns that took long.
const reliveSlack = time.Minute

// behind is a restored command whose document may be behind the trail.
type behind struct {
	c     *control
	trail uint64    // the entry up to which the document knows
	sent  int       // meters that it went out to since
	at    time.Time // to the first of them
}

// relive does to restored commands what the trail tells of them behind their documents.
func (e *Engine) relive(docs []restored) error {
	cs := map[string]*behind{} // by id
	var first uint64           // the entry behind which something may be told
	var held time.Duration     // for how long at most a document may be behind
	for i := range docs {
		d := &docs[i]
		if d.c == nil || !d.c.bulk || effect(d.c.op) != "breaker" || d.Engine.Trail == nil {
			continue
		}
		if trail := *d.Engine.Trail; len(cs) == 0 || trail < first {
			first = trail
		}
		held = max(held, heldBack(d.c.open))
		cs[d.c.doc.ID] = &behind{c: d.c, trail: *d.Engine.Trail}
	}
	if e.o.Reader != nil && len(cs) > 0 {
		if err := e.readBack(cs, first, held+reliveSlack); err != nil {
			return fmt.Errorf("what the audit trail tells of open commands is not known, meters may be asked again: %w", err)
		}
	}
	for _, b := range cs {
		switch c := b.c; {
		case b.sent == 0:
		case c.broadcast && c.counts[queued] == 0:
			c.doc.Sends++
			c.sentAt = b.at
		default:
			c.doc.Sends += b.sent
			c.broadcast = false // the budgets did not allow it
		}
	}
	e.countReads(docs)
	return nil
}

// readBack reads the trail from its end back to the entry numbered first, or to a page that is older than back before the end: whatever is
// that old is in the documents.
func (e *Engine) readBack(cs map[string]*behind, first uint64, back time.Duration) error {
	ctx := context.Background()
	head, err := e.o.Reader.AuditHead(ctx)
	if err != nil {
		return err
	}
	var end time.Time
	for last := head.Sequence; last > first; {
		after := max(first, last-min(last, relivePage))
		rs, err := e.o.Reader.Audit(ctx, after, int(last-after))
		if err != nil || len(rs) == 0 { // nothing there: the end was cut off, which is audit verify's to tell
			return err
		}
		for i, r := range slices.Backward(rs) {
			edge := i == 0 || end.IsZero()
			if !edge && !bytes.Contains(r.Doc, []byte(`"action":"command.`)) {
				continue
			}
			a, err := r.Entry()
			if err != nil {
				return err
			}
			if end.IsZero() {
				end = a.Time
			}
			if b := cs[a.Subject]; b != nil && r.Sequence > b.trail {
				e.redo(b, &a)
			}
			if i == 0 && end.Sub(a.Time) > back {
				return nil
			}
		}
		last = after
	}
	return nil
}

// redo does again what an entry tells of. The newest comes first, so a meter that has ended had its message before.
func (e *Engine) redo(b *behind, a *audit.Entry) {
	c := b.c
	var d transition
	if err := json.Unmarshal(a.Detail, &d); err != nil {
		e.log.Warn("audit entry not understood", "action", a.Action, "command", c.id, "error", err)
		return
	}
	switch a.Action {
	case "command." + api.CommandSent:
		c.doc.State = api.CommandSent
		c.doc.History = append(c.doc.History, api.NewTransition(c.doc.State, a.Time, d.Said))
		e.touch(c)
	case "command." + api.VerifyDone, "command." + api.VerifyContradicted, "command." + api.VerifyUnanswered:
		e.verified(c, strings.TrimPrefix(a.Action, "command."), 1)
	case "command.meter":
		st, known := parseState(d.State)
		dev, found := e.find(a.Meter)
		if !known || !found {
			return
		}
		if st == sent {
			b.sent++
			b.at = a.Time
		}
		switch m := e.member(c, dev); {
		case m == nil:
		case st.finished():
			e.leave(m, st, e.o.Wall())
		case st > m.state:
			e.move(m, st)
		}
		e.touch(c)
	}
}

// countReads counts the readings that are still to verify each restored command.
func (e *Engine) countReads(docs []restored) {
	reads := map[uint64]int{}
	for i := range docs {
		if c := docs[i].c; c != nil && c.verifies != 0 {
			reads[c.verifies]++
		}
	}
	for i := range docs {
		c := docs[i].c
		if c == nil || !c.bulk || c.checks[api.VerifyPending] == reads[c.id] {
			continue
		}
		e.verified(c, api.VerifyPending, reads[c.id]-c.checks[api.VerifyPending])
	}
}
