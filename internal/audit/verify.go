package audit

import (
	"fmt"
	"slices"
)

// Break is where a chain is broken.
type Break struct {
	Sequence uint64 // of the first entry that is not what it was
	Why      string
}

// Error implements error.
func (b *Break) Error() string {
	return fmt.Sprintf("the audit trail was tampered with, at entry %d: %s", b.Sequence, b.Why)
}

// Verifier follows a chain from its beginning, or from a head that is trusted, and checks it against heads that were written
// down. It holds a few bytes, however long the chain is.
type Verifier struct {
	at      Head
	anchors []Head // still to be passed, ascending
}

// NewVerifier checks what comes behind from, the zero Head for a whole chain, and that the chain has each of the anchors.
func NewVerifier(from Head, anchors ...Head) *Verifier {
	v := &Verifier{at: from, anchors: slices.Clone(anchors)}
	slices.SortFunc(v.anchors, func(a, b Head) int {
		switch {
		case a.Sequence < b.Sequence:
			return -1
		case a.Sequence > b.Sequence:
			return 1
		}
		return 0
	})
	return v
}

// Head is the last entry that was found good.
func (v *Verifier) Head() Head { return v.at }

// Add checks the next record. The error is a *Break; there is no going on behind one.
func (v *Verifier) Add(r Record) error {
	if err := v.pass(); err != nil {
		return err
	}
	want := v.at.Sequence + 1
	switch {
	case r.Sequence > want:
		return &Break{want, fmt.Sprintf("it is missing, entry %d follows entry %d", r.Sequence, v.at.Sequence)}
	case r.Sequence < want:
		return &Break{r.Sequence, fmt.Sprintf("it stands where entry %d belongs", want)}
	}
	if Next(v.at.Hash, r.Sequence, r.Doc) != r.Hash {
		return &Break{r.Sequence, "it does not fit its hash and the entry before it: one of them was changed, put in or moved"}
	}
	v.at = Head{r.Sequence, r.Hash}
	return v.pass()
}

// pass compares the anchors that were reached.
func (v *Verifier) pass() error {
	for len(v.anchors) > 0 && v.anchors[0].Sequence <= v.at.Sequence {
		a := v.anchors[0]
		v.anchors = v.anchors[1:]
		if a.Sequence == v.at.Sequence && a.Hash != v.at.Hash {
			return &Break{a.Sequence, "its hash is another one than was written down: the chain was made anew up to here"}
		}
	}
	return nil
}

// Finish tells whether the chain is whole: an anchor that it does not reach says that its end was cut off.
func (v *Verifier) Finish() error {
	if err := v.pass(); err != nil {
		return err
	}
	if len(v.anchors) > 0 {
		last := v.anchors[len(v.anchors)-1]
		return &Break{v.at.Sequence + 1, fmt.Sprintf("the trail ends with entry %d, but had %d entries when the head was written down: its end was cut off",
			v.at.Sequence, last.Sequence)}
	}
	return nil
}
