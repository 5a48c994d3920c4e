package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// Changes are what changed since the last call of Changed.
type Changes struct {
	Commands   []store.Command   // by ascending id
	Groups     []GroupChange     // for the same commit
	Events     []api.Event       // of type command, to be published after the commit
	Allowances []store.Allowance // for the same commit
	Audit      []audit.Entry     // what was done since, in its order, for the same commit
}

// kept is the document of a command in the store: its API form, and what a restart needs beside it.
type kept struct {
	api.Command
	Engine *engineDoc `json:"engine,omitempty"`
}

type engineDoc struct {
	Expiry    uint32              `json:"expiry"`              // business time, on the wire
	Lasts     time.Duration       `json:"lasts,omitempty"`     // of a command that waits for approval, or for its time, from then on
	Since     *time.Time          `json:"since,omitempty"`     // when it took its place in the queues
	Waiting   bool                `json:"waiting,omitempty"`   // for its time
	Broadcast bool                `json:"broadcast,omitempty"` // still to go out
	Trail     *uint64             `json:"trail,omitempty"`     // the audit entry up to which all that is told of the command is in here; nil: from before that was kept
	Members   []string            `json:"members,omitempty"`   // of a bulk command, those that it has not gone out to (before Trail was kept: all unfinished ones, which it goes out to again), see withMembers
	Sent      []string            `json:"sent,omitempty"`      // and those that it has, and that have not ended
	Groups    map[string][]uint32 `json:"groups,omitempty"`    // memberships that are not confirmed
	Left      map[string][]uint32 `json:"left,omitempty"`      // groups that a device has not confirmed to have left
}

// Decode gives the API form of a command from the store.
func Decode(c store.Command) (api.Command, error) {
	var doc api.Command
	if err := json.Unmarshal(c.Doc, &doc); err != nil {
		return doc, fmt.Errorf("command %d in the store: %w", c.ID, err)
	}
	return doc, nil
}

// Changed hands out what changed since the last call. From now on the engine may send the commands in it: commit them
// before the next Tick, with what they tell the audit trail behind its entry numbered trail. An unfinished bulk command is handed out at
// most once a second, a large one less often; what a power cut then forgets is read from the trail.
func (e *Engine) Changed(trail uint64) Changes {
	now := e.o.Wall()
	trail += uint64(len(e.trail))
	out := Changes{Groups: e.changedGroups(), Audit: e.trail, Allowances: e.changedAllowances(now)}
	e.trail = nil
	e.flush = time.Time{}
	ids := make([]uint64, 0, len(e.dirty))
	for id := range e.dirty {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		c := e.dirty[id]
		if c.kept && c.bulk && c.open > 0 {
			if at := c.stored.Add(heldBack(c.open)); now.Before(at) {
				if e.flush.IsZero() || at.Before(e.flush) {
					e.flush = at
				}
				continue
			}
		}
		c.dirty = false
		delete(e.dirty, id)
		c.stored = now
		doc := e.view(c)
		whole, data, err := e.encodeDoc(c, doc, trail)
		if err != nil { // cannot happen: times are within years 0 to 9999, and nothing else can fail
			e.log.Error("command not encoded", "command", id, "error", err)
			continue
		}
		k := c.row()
		k.Doc = whole
		out.Commands = append(out.Commands, k)
		out.Events = append(out.Events, e.event(c, &doc, now, data))
		if !c.kept {
			e.release(c, now)
		}
	}
	out.Commands = append(out.Commands, e.amended...)
	e.amended = nil
	e.evict()
	return out
}

// heldBack is for how long what becomes of an unfinished bulk command is kept by the audit trail alone.
func heldBack(open int) time.Duration { return time.Second + time.Duration(open)*100*time.Microsecond }

// row is what the store is asked for a command by; its document is not in it.
func (c *control) row() store.Command {
	return store.Command{ID: c.id, Created: uint32(c.doc.Created.Unix()), Open: c.open > 0, Own: api.ByItself(c.doc.By), Meter: c.doc.Target.Meter}
}

// release lets a command go out, now that the centre keeps it.
func (e *Engine) release(c *control, now time.Time) {
	c.kept = true
	if c.pending || c.waiting {
		return
	}
	if c.broadcast && c.sentAt.IsZero() {
		e.fresh = append(e.fresh, c)
		return
	}
	e.goOut(c, now)
}

func (e *Engine) engineDoc(c *control, trail uint64) *engineDoc {
	if c.open == 0 {
		return nil
	}
	d := &engineDoc{Expiry: c.expiry, Broadcast: c.broadcast && c.sentAt.IsZero()}
	if c.bulk {
		d.Trail = &trail
	}
	if c.pending || c.waiting {
		d.Lasts, d.Waiting = c.lasts, c.waiting
	}
	if !c.since.IsZero() {
		since := c.since.UTC()
		d.Since = &since
	}
	if c.op != record.OpGroups {
		return d
	}
	for i := c.low; i < len(c.members); i++ {
		m := &c.members[i]
		if m.state.finished() {
			continue
		}
		if d.Groups == nil {
			d.Groups = map[string][]uint32{}
		}
		d.Groups[m.dev.ID] = c.payload[m.dev]
		if left := e.groups.left[m.dev.ID]; len(left) > 0 {
			if d.Left == nil {
				d.Left = map[string][]uint32{}
			}
			d.Left[m.dev.ID] = left
		}
	}
	return d
}

// withMembers adds the unfinished meters of a bulk command to its engineDoc's JSON, those that it has gone out to apart. There may be a
// million: encoding/json takes ten times as long, and ids need no escapes.
func (c *control) withMembers(doc []byte) []byte {
	if !c.bulk || c.open == 0 {
		return doc
	}
	doc = slices.Grow(doc[:len(doc)-1], 12*c.open+32)
	for _, out := range [...]bool{false, true} {
		first := true
		for i := c.low; i < len(c.members); i++ {
			m := &c.members[i]
			if m.state.finished() || out != (m.state != queued) {
				continue
			}
			switch {
			case !first:
				doc = append(doc, `","`...)
			case out:
				doc = append(doc, `,"sent":["`...)
			default:
				doc = append(doc, `,"members":["`...)
			}
			first = false
			doc = append(doc, m.dev.ID...)
		}
		if !first {
			doc = append(doc, `"]`...)
		}
	}
	return append(doc, '}')
}

// encode writes the API form of a command.
func encode(doc api.Command) ([]byte, error) { return json.Marshal(doc) }

// encodeDoc makes the document for the store, as kept decodes it, and the data of the event. A live event carries no load
// profile; who wants it asks for the command.
func (e *Engine) encodeDoc(c *control, doc api.Command, trail uint64) (whole, data []byte, err error) {
	if whole, err = encode(doc); err != nil {
		return nil, nil, err
	}
	data = whole
	long := doc.Result != nil && len(doc.Result.Readings) > 0
	if long {
		r := *doc.Result
		r.Readings, doc.Result = nil, &r
	}
	if long || len(doc.Target.Meters) > 0 {
		doc.Target = short(doc.Target)
		if data, err = json.Marshal(doc); err != nil {
			return nil, nil, err
		}
	}
	d := e.engineDoc(c, trail)
	if d == nil {
		return whole, data, nil
	}
	own, err := json.Marshal(d)
	if err != nil {
		return nil, nil, err
	}
	own = c.withMembers(own)
	out := make([]byte, 0, len(whole)+len(own)+len(`,"engine":}`))
	out = append(append(out, whole[:len(whole)-1]...), `,"engine":`...)
	return append(append(out, own...), '}'), data, nil
}

func (e *Engine) event(c *control, doc *api.Command, now time.Time, data []byte) api.Event {
	e.events++
	ev := api.Event{SpecVersion: "1.0", ID: fmt.Sprintf("%d-%x-%x", c.id, now.UnixNano(), e.events), Type: "wattbus." + api.EventCommand + ".v1",
		Time: now.UTC(), ContentType: "application/json", Data: data}
	switch t := doc.Target; {
	case t.Group != nil:
		ev.Subject = fmt.Sprint(*t.Group)
		ev.Source = "/group/" + ev.Subject
	case t.Meters != nil, t.Query != nil:
		ev.Subject, ev.Source = c.doc.ID, "/command/"+c.doc.ID
	case t.Path != "":
		outer, id := topic.Parent(t.Path)
		ev.Subject, ev.Source = id, "/"+topic.Join(outer, topic.Concentrator)+"/"+id
	default:
		kind, path := topic.Meter, ""
		if len(c.members) > 0 {
			kind, path = c.members[0].dev.Kind, c.members[0].dev.Path
		}
		ev.Subject, ev.Source = t.Meter, "/"+topic.Join(path, kind)+"/"+t.Meter
	}
	return ev
}

// evict drops the oldest finished commands from RAM; they are in the store.
func (e *Engine) evict() {
	n := 0
	for len(e.finished)-n > e.o.MaxFinished || e.readings > maxKeptReadings && n < len(e.finished) {
		c := e.commands[e.finished[n]]
		if c.dirty || c.checks[api.VerifyPending] > 0 { // the reading behind it comes in a minute, or never
			break
		}
		if c.doc.Result != nil {
			e.readings -= len(c.doc.Result.Readings)
		}
		delete(e.commands, c.id)
		e.orderRemove(c.id)
		n++
	}
	e.finished = slices.Delete(e.finished, 0, n)
}

// Restore takes over what the store kept: every open command, and every membership. It is called once, before anything
// else, when all devices are known. Commands that expired meanwhile get the grace for results that are still on their way
// to the loop. What cannot be understood is left out and named in the error; all the rest is restored.
func (e *Engine) Restore(open []store.Command, members []store.GroupMember) error {
	var errs []error
	for _, m := range members {
		g := &e.groups
		if g.members[m.Group] == nil {
			g.members[m.Group] = map[string]uint32{}
		}
		g.members[m.Group][m.Device] = m.Confirmed
		g.of[m.Device] = append(g.of[m.Device], m.Group)
	}
	for _, whole := range e.groups.of {
		slices.Sort(whole)
	}
	// In the order in which they lined up, so that each meter's queue and its newest membership come out as they were.
	docs := make([]restored, 0, len(open))
	for _, k := range open {
		doc := restored{id: k.ID}
		if err := json.Unmarshal(k.Doc, &doc.kept); err != nil {
			errs = append(errs, fmt.Errorf("open command %d in the store: %w", k.ID, err))
			continue
		}
		docs = append(docs, doc)
	}
	slices.SortFunc(docs, func(a, b restored) int {
		return cmp.Or(a.since().Compare(b.since()), cmp.Compare(a.id, b.id))
	})
	now := e.o.Wall()
	for i := range docs {
		if err := e.restore(&docs[i], now); err != nil {
			errs = append(errs, err)
		}
	}
	if err := e.relive(docs); err != nil {
		errs = append(errs, err)
	}
	for i := range docs {
		e.resume(&docs[i], now)
	}
	for id := range e.groups.of {
		e.groups.wake(id)
	}
	slices.Sort(e.groups.again)
	e.restoreCuts(now)
	return errors.Join(errs...)
}

// restored is the document of an open command.
type restored struct {
	kept
	id uint64
	c  *control // nil: it could not be restored
}

// since is when the command took its place in the queues; of one from before that was kept, when it was made.
func (r *restored) since() time.Time {
	if r.Engine != nil && r.Engine.Since != nil {
		return *r.Engine.Since
	}
	return r.Created
}

func (e *Engine) restore(doc *restored, now time.Time) error {
	op, ok := opcode(doc.Type)
	if !ok || doc.Engine == nil || doc.Expires == nil || e.commands[doc.id] != nil {
		return fmt.Errorf("open command %d in the store: type %q: without what is needed to go on with it", doc.id, doc.Type)
	}
	c := &control{id: doc.id, doc: doc.Command, op: op, expiry: max(doc.Engine.Expiry, 1), deadline: *doc.Expires,
		bulk: doc.Target.Meter == "", broadcast: doc.Engine.Broadcast, kept: true, stored: now,
		pending: doc.State == api.CommandPendingApproval, lasts: doc.Engine.Lasts, since: doc.since(), priority: keptPriority(doc.Priority)}
	if doc.At != nil {
		c.start, c.waiting = *doc.At, doc.Engine.Waiting
	}
	if c.doc.Verifies != "" {
		c.verifies, _ = ParseID(c.doc.Verifies) // 0 is no command's
	}
	if c.doc.Bulk != nil {
		c.checks = c.doc.Bulk.Verification
	}
	c.doc.Bulk = nil
	c.end = c.deadline.Add(e.o.Grace)
	if least := now.Add(max(e.o.Grace, restoreGrace)); c.end.Before(least) {
		c.end = least
	}
	waiting, out := doc.Engine.Members, doc.Engine.Sent
	if !c.bulk {
		waiting, out = nil, []string{doc.Target.Meter}
		if doc.State == queued.String() || c.pending || c.waiting {
			waiting, out = out, nil
		}
		if op == record.OpRead || op == record.OpProfile {
			c.extra = &attachment{}
		}
	}
	if doc.Bulk != nil {
		for name, n := range doc.Bulk.States {
			if st, ok := parseState(name); ok && st.finished() && n > 0 {
				c.counts[st] = n
			}
		}
	}
	ids := slices.Concat(out, waiting)
	devices := make([]*cim.EndDevice, 0, len(ids))
	first := 0 // of devices that it has not gone out to
	for i, id := range ids {
		dev, ok := e.find(id)
		if !ok {
			c.counts[failed]++
			e.log.Warn("meter of an open command is not known any more", "command", c.id, "device", id)
			continue
		}
		if devices = append(devices, dev); i < len(out) {
			first++
		}
	}
	if op == record.OpGroups {
		c.payload = map[*cim.EndDevice][]uint32{}
		for _, dev := range devices {
			c.payload[dev] = doc.Engine.Groups[dev.ID]
			for _, n := range doc.Engine.Left[dev.ID] {
				e.groups.leaves(dev.ID, n)
			}
		}
		e.joinGroups(c, devices)
	}
	c.members = make([]member, len(devices))
	for i, dev := range devices {
		c.members[i] = member{c: c, dev: dev, state: sent, restored: true}
		if i >= first {
			c.members[i].state = queued
		}
	}
	c.open = len(devices)
	c.counts[sent] += first
	c.counts[queued] += len(devices) - first
	e.enter(c)
	doc.c = c
	return nil
}

// resume lets a restored command go on.
func (e *Engine) resume(doc *restored, now time.Time) {
	switch c := doc.c; {
	case c == nil:
	case c.open > 0:
		e.release(c, now)
	case len(c.members) == 0:
		e.conclude(c, failed, now, api.Say("command.unknown"))
	default:
		e.conclude(c, failed, now, nil)
	}
}
