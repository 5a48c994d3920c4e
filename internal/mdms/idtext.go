package mdms

import (
	"bytes"
	"iter"
	"slices"
	"sort"
	"strings"
)

// idText is the ids of an index in one text, so that a part of an id is found among a million without looking at the devices.
type idText struct {
	order  []uint32 // ordinals of the devices whose ids it holds
	text   []byte   // in lower case, a line each
	starts []int    // of each id
}

func newIDText(all []*device, order []uint32) *idText {
	t := &idText{order: order, starts: make([]int, 0, len(all))}
	size := 0
	for _, d := range all {
		size += len(d.ID) + 1
	}
	t.text = make([]byte, 0, size)
	for _, d := range all {
		t.starts = append(t.starts, len(t.text))
		t.text = append(append(t.text, strings.ToLower(d.ID)...), '\n')
	}
	return t
}

// from returns the ordinals of the devices from a place on whose ids contain the part, which is in lower case and holds no line feed.
func (t *idText) from(place int, part []byte) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for place < len(t.starts) {
			at := bytes.Index(t.text[t.starts[place]:], part)
			if at < 0 {
				return
			}
			at += t.starts[place]
			place += sort.Search(len(t.starts)-place, func(i int) bool { return t.starts[place+i] > at })
			if !yield(t.order[place-1]) {
				return
			}
		}
	}
}

// list returns the ordinals of the devices behind a cursor, by id; with a part of an id only those whose ids contain it. What it returns
// stays as it is when others are added.
func (x *index) list(cursor, part string) iter.Seq[uint32] {
	all, order := x.all(), x.behind(cursor)
	switch {
	case part == "":
		return slices.Values(order)
	case strings.Contains(part, "\n"):
		return func(func(uint32) bool) {}
	}
	if x.text == nil || len(x.text.order) != len(all) {
		x.text = newIDText(all, x.order)
	}
	return x.text.from(len(all)-len(order), []byte(strings.ToLower(part)))
}
