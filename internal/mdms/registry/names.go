package registry

import (
	"hash/maphash"
	"strings"
)

// name stands for a string that is kept once; 0 is "".
type name uint32

const (
	maxName   = 255     // bytes
	nameBlock = 1 << 16 // bytes of one block of strings
)

// names keeps each string once, at some 12 bytes beside its text. The text lies in blocks that never move, so a string that
// is handed out costs nothing.
type names struct {
	seed   maphash.Seed
	blocks []*strings.Builder
	at     []uint32 // of name i: its block and its place in it, where a byte with its length stands
	slots  []name   // open addressing, a power of two, at most 3/4 full
}

func newNames() names {
	return names{seed: maphash.MakeSeed(), at: make([]uint32, 1), slots: make([]name, 64)}
}

func (n *names) text(h name) string {
	if h == 0 {
		return ""
	}
	at := n.at[h]
	b := n.blocks[at>>16].String()[at&(nameBlock-1):]
	return b[1 : 1+int(b[0])]
}

// find returns the name of a string, 0 if it is not kept.
func (n *names) find(s string) name {
	if s == "" {
		return 0
	}
	h, _ := n.slot(s)
	return h
}

func (n *names) slot(s string) (name, int) {
	mask := len(n.slots) - 1
	for i := int(maphash.String(n.seed, s)) & mask; ; i = (i + 1) & mask {
		if h := n.slots[i]; h == 0 || n.text(h) == s {
			return h, i
		}
	}
}

// intern keeps a string; one that is longer than maxName is cut (checks refuse it before).
func (n *names) intern(s string) name {
	s = s[:min(len(s), maxName)]
	if s == "" {
		return 0
	}
	h, i := n.slot(s)
	if h != 0 {
		return h
	}
	last := len(n.blocks) - 1
	if last < 0 || n.blocks[last].Len()+1+len(s) > nameBlock {
		b := &strings.Builder{}
		b.Grow(nameBlock)
		n.blocks = append(n.blocks, b)
		last++
	}
	b := n.blocks[last]
	n.at = append(n.at, uint32(last)<<16|uint32(b.Len()))
	b.WriteByte(byte(len(s)))
	b.WriteString(s)
	h = name(len(n.at) - 1)
	n.slots[i] = h
	if 4*len(n.at) > 3*len(n.slots) {
		n.grow()
	}
	return h
}

func (n *names) grow() {
	n.slots = make([]name, 2*len(n.slots))
	mask := len(n.slots) - 1
	for h := name(1); int(h) < len(n.at); h++ {
		i := int(maphash.String(n.seed, n.text(h))) & mask
		for n.slots[i] != 0 {
			i = (i + 1) & mask
		}
		n.slots[i] = h
	}
}
