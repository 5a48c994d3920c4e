package command

import "github.com/wattbus/wattbus/internal/cim"

// queues are the unfinished commands of each device, the one in flight first. Most devices have none or one, so a command for a million meters
// costs a pointer each.
type queues struct {
	first []*member            // by ordinal
	more  map[uint32][]*member // all of a device that has more than one
	count int                  // devices that have some
}

// of is a device's queue, of which nothing is set to nil in place. Who changes it hands it to put.
func (q *queues) of(dev *cim.EndDevice) []*member {
	n := dev.Ordinal
	if int(n) >= len(q.first) || q.first[n] == nil {
		return nil
	}
	if all := q.more[n]; all != nil {
		return all
	}
	return q.first[n : n+1 : n+1]
}

// alone makes a member the only one of its device's queue, which is empty.
func (q *queues) alone(m *member) {
	n := m.dev.Ordinal
	if int(n) >= len(q.first) {
		q.first = append(q.first, make([]*member, int(n)+1-len(q.first))...)
	}
	q.first[n] = m
	q.count++
}

// put makes all the device's queue.
func (q *queues) put(dev *cim.EndDevice, all []*member) {
	n := dev.Ordinal
	if int(n) >= len(q.first) {
		q.first = append(q.first, make([]*member, int(n)+1-len(q.first))...)
	}
	if len(all) > 1 {
		if q.more == nil {
			q.more = map[uint32][]*member{}
		}
		q.more[n] = all
	} else {
		delete(q.more, n)
	}
	var head *member
	if len(all) > 0 {
		head = all[0] // before what follows, for all may be what of gave
	}
	switch before := q.first[n] != nil; {
	case head != nil && !before:
		q.count++
	case head == nil && before:
		q.count--
	}
	q.first[n] = head
}
