package command

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// groups is who is to be in which group. Membership is a property of the device: it is told its whole new membership, and
// each change takes a new command, because a device carries out an id once. The newest command of a device is its carrier;
// older ones that are still open are cancelled.
type groups struct {
	members  map[uint32]map[string]uint32 // group -> id -> when confirmed, business time; 0: not yet
	of       map[string][]uint32          // id -> its groups, ascending
	carrier  map[string]uint64            // id -> the command that carries its present membership, while open
	answered map[string]uint64            // id -> the command by which it last confirmed
	left     map[string][]uint32          // id -> groups it may still be subscribed to
	leaving  map[uint32]int               // group -> how many may still be subscribed although they left
	doubt    map[string]struct{}          // ids that answered an older command while the carrier was open
	untold   map[string]struct{}          // ids to be told their membership again although all of it was confirmed
	changed  map[uint32]struct{}
	again    []string  // ids whose membership must be sent anew
	retry    time.Time // before which again is not looked at
}

func newGroups() groups {
	return groups{members: map[uint32]map[string]uint32{}, of: map[string][]uint32{}, carrier: map[string]uint64{},
		answered: map[string]uint64{}, left: map[string][]uint32{}, leaving: map[uint32]int{},
		doubt: map[string]struct{}{}, untold: map[string]struct{}{}, changed: map[uint32]struct{}{}}
}

// ids lists a group's members in order.
func (g *groups) ids(group uint32) []string {
	out := make([]string, 0, len(g.members[group]))
	for id := range g.members[group] {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// set makes whole the membership of a device.
func (g *groups) set(id string, whole []uint32) {
	for _, n := range g.of[id] {
		if !slices.Contains(whole, n) {
			delete(g.members[n], id)
			g.changed[n] = struct{}{}
			g.leaves(id, n)
		}
	}
	for _, n := range whole {
		g.stays(id, n)
		if _, ok := g.members[n][id]; !ok {
			if g.members[n] == nil {
				g.members[n] = map[string]uint32{}
			}
			g.members[n][id] = 0
			g.changed[n] = struct{}{}
		}
	}
	if len(whole) == 0 {
		delete(g.of, id)
	} else {
		g.of[id] = whole
	}
}

// leaves notes that the device may still be subscribed to a group.
func (g *groups) leaves(id string, n uint32) {
	if !slices.Contains(g.left[id], n) {
		g.left[id] = append(g.left[id], n)
		g.leaving[n]++
	}
}

// stays forgets that the device may still be in a group that it was to leave.
func (g *groups) stays(id string, n uint32) {
	i := slices.Index(g.left[id], n)
	if i < 0 {
		return
	}
	if g.left[id] = slices.Delete(g.left[id], i, i+1); len(g.left[id]) == 0 {
		delete(g.left, id)
	}
	if g.leaving[n]--; g.leaving[n] == 0 {
		delete(g.leaving, n)
	}
}

func (g *groups) dropCarrier(id string, command uint64) {
	if g.carrier[id] == command {
		delete(g.carrier, id)
	}
}

// open reports whether the device has yet to confirm something and no command is on its way.
func (g *groups) open(id string) bool {
	if _, ok := g.carrier[id]; ok {
		return false
	}
	if _, ok := g.untold[id]; ok || len(g.left[id]) > 0 {
		return true
	}
	for _, n := range g.of[id] {
		if g.members[n][id] == 0 {
			return true
		}
	}
	return false
}

func (g *groups) wake(id string) {
	if g.open(id) {
		g.again = append(g.again, id)
	}
}

// joinGroups takes over the memberships that a new command carries.
func (e *Engine) joinGroups(c *control, devices []*cim.EndDevice) {
	for _, dev := range devices {
		e.groups.set(dev.ID, c.payload[dev])
		e.supersede(dev, c.id)
		e.groups.carrier[dev.ID] = c.id
	}
}

// supersede cancels the device's older groups commands.
func (e *Engine) supersede(dev *cim.EndDevice, by uint64) {
	now := e.o.Wall()
	for _, m := range slices.Clone(e.queues.of(dev)) {
		if m.c.op != record.OpGroups || m.c.id == by {
			continue
		}
		e.stats.Superseded++
		e.leave(m, cancelled, now)
		e.touch(m.c)
		if m.c.open == 0 {
			if m.c.bulk {
				e.conclude(m.c, failed, now, nil)
			} else {
				e.conclude(m.c, cancelled, now, api.Say("command.superseded", "id", formatID(by)))
			}
		}
	}
}

// confirm notes that the device is in the groups that c carried to it, and in no others.
func (e *Engine) confirm(dev *cim.EndDevice, c *control) {
	g := &e.groups
	g.answered[dev.ID] = c.id
	g.dropCarrier(dev.ID, c.id)
	at := e.header().Time
	for _, n := range c.payload[dev] {
		if when, ok := g.members[n][dev.ID]; ok && when == 0 {
			g.members[n][dev.ID] = max(at, 1)
			g.changed[n] = struct{}{}
		}
	}
	for _, n := range slices.Clone(g.left[dev.ID]) {
		g.stays(dev.ID, n)
	}
	delete(g.untold, dev.ID)
	if _, ok := g.doubt[dev.ID]; ok {
		delete(g.doubt, dev.ID)
		g.unconfirm(dev.ID)
	}
}

// staleGroups looks at a result of an older groups command that comes after a newer one's: the device may have carried them
// out in the wrong order, so nothing is confirmed any more and it is told again. After a restart the centre does not know
// which command a device confirmed by, and takes each for an older one: once too often does no harm.
func (e *Engine) staleGroups(dev *cim.EndDevice, r *record.Result) {
	g := &e.groups
	if r.Opcode != record.OpGroups || r.Outcome != record.Done || g.answered[dev.ID] == r.Command {
		return
	}
	if _, ok := g.carrier[dev.ID]; ok {
		g.doubt[dev.ID] = struct{}{} // which of the two came last will not be known from the newer one's result either
		return
	}
	g.unconfirm(dev.ID)
}

// unconfirm has a device told its membership again.
func (g *groups) unconfirm(id string) {
	for _, n := range g.of[id] {
		if g.members[n][id] != 0 {
			g.members[n][id] = 0
			g.changed[n] = struct{}{}
		}
	}
	g.untold[id] = struct{}{}
	g.again = append(g.again, id)
}

// reissue sends memberships anew.
func (e *Engine) reissue(now time.Time) {
	again := e.groups.again
	if len(again) == 0 || now.Before(e.groups.retry) {
		return
	}
	e.groups.again = nil
	for i, id := range again {
		dev, ok := e.find(id)
		if _, carried := e.groups.carrier[id]; !ok || carried {
			continue
		}
		whole := e.groups.of[id]
		_, err := e.add(plan{op: record.OpGroups, expires: e.o.GroupExpiry, devices: []*cim.EndDevice{dev},
			payload: map[*cim.EndDevice][]uint32{dev: whole},
			req: api.CommandRequest{Type: api.CommandGroups, By: api.ByCentre, Target: api.Target{Meter: id},
				Params: api.Params{Groups: whole}}})
		if err != nil {
			e.log.Warn("membership not sent, will be tried again", "device", id, "error", err)
			e.groups.again, e.groups.retry = again[i:], now.Add(MaxRepeat)
			return
		}
	}
}

// PutGroup makes members the whole membership of a group. The devices that join or leave are told by one command of type
// groups, whose target is the group. Errors are *api.Problem: 404 for an unknown member, 400 for group 0, a concentrator,
// and a member that would be in more than 8 groups.
func (e *Engine) PutGroup(put api.GroupPut, by string) (api.Group, error) {
	if put.Group == 0 {
		return api.Group{}, noGroup("group")
	}
	if put.Was != nil && !slices.Equal(slices.Sorted(slices.Values(*put.Was)), e.groups.ids(put.Group)) {
		return api.Group{}, api.Outdated("group %d has other members by now: get it again", put.Group)
	}
	want := map[string]*cim.EndDevice{}
	var wrong api.Faults
	for i, id := range put.Members {
		field := fmt.Sprintf("members[%d]", i)
		dev, ok := e.find(id)
		_, in := e.groups.members[put.Group][id]
		switch {
		case !ok:
			wrong.Unknown(field, "no meter %.40q is known", id)
		case dev.Kind == topic.Concentrator:
			wrong.Invalid(field, "%q is a concentrator: it takes no groups", id)
		case !in && len(e.groups.of[id]) >= record.MaxGroups:
			wrong.Invalid(field, "%s is in %d groups already, a device can be in at most %d", id, len(e.groups.of[id]), record.MaxGroups)
		default:
			want[id] = dev
		}
	}
	if err := wrong.Problem(len(put.Members), "members", "the group is as it was"); err != nil {
		return api.Group{}, err
	}
	p := plan{op: record.OpGroups, expires: e.o.GroupExpiry, bulk: true, payload: map[*cim.EndDevice][]uint32{}}
	for id, dev := range want {
		if _, in := e.groups.members[put.Group][id]; !in {
			whole := append(slices.Clone(e.groups.of[id]), put.Group)
			slices.Sort(whole)
			p.devices, p.payload[dev] = append(p.devices, dev), whole
		}
	}
	for id := range e.groups.members[put.Group] {
		if _, stays := want[id]; stays {
			continue
		}
		dev, ok := e.find(id)
		if !ok {
			continue
		}
		whole := slices.DeleteFunc(slices.Clone(e.groups.of[id]), func(n uint32) bool { return n == put.Group })
		p.devices, p.payload[dev] = append(p.devices, dev), whole
	}
	if len(p.devices) > 0 {
		slices.SortFunc(p.devices, func(a, b *cim.EndDevice) int { return strings.Compare(a.ID, b.ID) })
		group := put.Group
		p.req = api.CommandRequest{Type: api.CommandGroups, By: by, Target: api.Target{Group: &group}}
		if _, err := e.add(p); err != nil {
			return api.Group{}, err
		}
		e.noteGroup(put, by, len(p.devices))
	}
	return e.group(put.Group), nil
}

func (e *Engine) group(n uint32) api.Group {
	out := api.Group{Group: n, Members: []api.Member{}}
	for _, id := range e.groups.ids(n) {
		m := api.Member{ID: id}
		if at := e.groups.members[n][id]; at != 0 {
			t := time.Unix(int64(at), 0).UTC()
			m.Confirmed = &t
		}
		out.Members = append(out.Members, m)
	}
	return out
}

// Groups lists the groups that have members, by number. The cursor is the last number of the page before.
func (e *Engine) Groups(pg api.Paging) (api.Page[api.Group], error) {
	limit := pageLimit(pg.Limit)
	out := api.Page[api.Group]{Items: []api.Group{}}
	var numbers []uint32
	for n, members := range e.groups.members {
		if len(members) > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	if pg.Cursor != "" {
		last, err := strconv.ParseUint(pg.Cursor, 10, 32)
		if err != nil {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", pg.Cursor)
		}
		i, found := slices.BinarySearch(numbers, uint32(last))
		if found {
			i++
		}
		numbers = numbers[i:]
	}
	for i, n := range numbers {
		if i == limit {
			out.Next = strconv.FormatUint(uint64(numbers[i-1]), 10)
			break
		}
		out.Items = append(out.Items, e.group(n))
	}
	return out, nil
}

// GroupsOf returns the groups that a device is to be in, ascending. The caller must not change them.
func (e *Engine) GroupsOf(id string) []uint32 { return e.groups.of[id] }

// GroupChange is a group's whole new membership, to be kept.
type GroupChange struct {
	Group   uint32
	Members []store.GroupMember
}

func (e *Engine) changedGroups() []GroupChange {
	out := make([]GroupChange, 0, len(e.groups.changed))
	for n := range e.groups.changed {
		gc := GroupChange{Group: n}
		for _, id := range e.groups.ids(n) {
			gc.Members = append(gc.Members, store.GroupMember{Group: n, Device: id, Confirmed: e.groups.members[n][id]})
		}
		out = append(out, gc)
	}
	clear(e.groups.changed)
	slices.SortFunc(out, func(a, b GroupChange) int { return int(int64(a.Group) - int64(b.Group)) })
	return out
}
