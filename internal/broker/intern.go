package broker

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"unsafe"
)

// internSlots and internMax bound the table of topic strings: slots × bytes,
// 4 MiB at the very most.
const (
	internSlots = 1 << 14
	internMax   = 256
)

// intern gives the same string for the same bytes most of the time, so that the
// topic of a device that publishes again costs no allocation. A slot holds the
// last topic that fell into it; nothing is ever wrong, only allocated again.
type intern struct {
	seed  maphash.Seed
	slots []atomic.Pointer[string]
}

func newIntern() *intern {
	return &intern{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[string], internSlots)}
}

func (t *intern) get(b []byte) string {
	if len(b) > internMax {
		return string(b)
	}
	return t.short(b)
}

// view is get for a topic that most often nobody keeps: a long one is not copied, and borrowed.
func (t *intern) view(b []byte) (name string, borrowed bool) {
	if len(b) > internMax {
		return unsafe.String(&b[0], len(b)), true
	}
	return t.short(b), false
}

// own makes the topic a string of its own, before somebody keeps it.
func (m *Inbound) own() {
	if m.borrowed {
		m.Topic, m.borrowed = strings.Clone(m.Topic), false
	}
}

func (t *intern) short(b []byte) string {
	slot := &t.slots[maphash.Bytes(t.seed, b)%internSlots]
	if p := slot.Load(); p != nil && *p == string(b) {
		return *p
	}
	s := string(b)
	slot.Store(&s)
	return s
}
