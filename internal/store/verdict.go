package store

import (
	"encoding/json"
	"fmt"

	"github.com/wattbus/wattbus/internal/cim"
)

// Verdict is one judgement of one device's day of one channel: by the rules of validation and estimation, or by people. It
// stands beside the blocks, which hold what came from the meter and nothing else. Verdicts are only added; the newest counts.
type Verdict struct {
	Device   uint32
	Channel  cim.Channel
	Day      cim.Day
	Length   uint16      // minutes, of the slots
	Version  uint32      // from 1; a higher one supersedes the lower ones, which stay
	Recorded uint32      // business time at which it was made
	Quality  cim.Quality // the least certain of its values: Validated, Estimated, Edited; Raw where some are doubted, Missing where some are
	Raw      uint32      // version of the block that it rests on; 0: there was none
	Rules    string      // id of the rule set
	By       string      // who; "" for the rules
	Doc      []byte      // what differs from validated values, a VerdictDoc as JSON; nil: nothing
}

// VerdictDoc is what a verdict says beyond "validated". Slots count from 0.
type VerdictDoc struct {
	First int    `json:"first,omitempty"` // slots before this one are not expected
	Cells []Cell `json:"cells,omitempty"` // by ascending slot
}

// Cell is the judgement of one slot.
type Cell struct {
	Slot    int         `json:"slot"`
	Wh      *uint32     `json:"wh,omitempty"`  // the value; nil: that of the block, or none
	Raw     *uint32     `json:"raw,omitempty"` // what the block said then; nil: nothing
	Quality cim.Quality `json:"quality"`       // Raw (doubted), Estimated, Edited, Missing, or Validated (no energy during an outage, or a person said so)
	Code    string      `json:"code"`          // IEC 61968-9 ReadingQualityType
	Method  string      `json:"method,omitempty"`
	Numbers []Number    `json:"numbers,omitempty"` // that the value rests on
	Edit    uint64      `json:"edit,omitempty"`    // id of the edit
	Lost    bool        `json:"lost,omitempty"`    // no value came, and none will: the meter does not hold it any more
}

// Number is one of the numbers that a value or a finding rests on.
type Number struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Decode reads the verdict's document.
func (v *Verdict) Decode() (VerdictDoc, error) {
	var d VerdictDoc
	if len(v.Doc) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(v.Doc, &d); err != nil {
		return d, fmt.Errorf("verdict %d of device %d on %v: %w: %w", v.Version, v.Device, v.Day, ErrCorrupt, err)
	}
	return d, nil
}

// Finding is what a rule found, as it is kept. Text and numbers are in Doc, as JSON.
type Finding struct {
	ID         uint64
	Device     uint32
	Channel    cim.Channel
	Day        cim.Day
	Version    uint32 // of the verdict that it belongs to
	Rule       string
	Severity   uint8
	From, To   uint32
	Recorded   uint32
	Superseded uint32 // when a newer verdict took its place; 0: it stands
	Doc        []byte
}

// FindingQuery selects findings, newest first.
type FindingQuery struct {
	Device   *uint32 // nil: of all
	Rule     string  // "": all
	Severity uint8   // at least
	From, To uint32  // that overlap [From, To); To 0: no bound
	All      bool    // also those that a newer verdict superseded
	Before   uint64  // ids below; 0: the newest
	Limit    int
}

// Edit is a proposal of a person, with what became of it. Doc is its API form as JSON.
type Edit struct {
	ID      uint64
	Created uint32
	Open    bool // neither approved nor rejected
	Doc     []byte
}

// RuleSet is a rule set that was in force, in full.
type RuleSet struct {
	ID       string
	Recorded uint32 // when it was first used
	Text     string
}

// Known is a day as it is known: the values of its block, with those of its verdict on top.
type Known struct {
	Wh      []uint32      // cim.NoValue: none
	Quality []cim.Quality // Raw, Recovered, Validated, Estimated, Edited, Missing or Joined
	Cells   []*Cell       // what the verdict says of a slot; nil: nothing, or it no longer holds
	First   int           // slots before this one are not expected
}

// Merge puts the newest verdict on top of a day's values as they came: version is that of their block, 0 for none. v may be
// nil. Values that came after the verdict was made supersede its estimates, but not its edits.
func Merge(wh []uint32, quality []cim.Quality, version uint32, v *Verdict) (Known, error) {
	k := Known{Wh: wh, Quality: quality, Cells: make([]*Cell, len(wh))}
	if v == nil || int(v.Length)*len(wh) != 1440 {
		return k, nil
	}
	doc, err := v.Decode()
	if err != nil {
		return k, err
	}
	k.Wh, k.Quality, k.First = append([]uint32(nil), wh...), append([]cim.Quality(nil), quality...), doc.First
	current := version == v.Raw
	if current && version > 0 {
		for i, q := range k.Quality {
			if k.Wh[i] != cim.NoValue && (q == cim.Raw || q == cim.Recovered) {
				k.Quality[i] = cim.Validated
			}
		}
	}
	for i := range doc.Cells {
		c := &doc.Cells[i]
		if c.Slot < 0 || c.Slot >= len(wh) {
			return k, fmt.Errorf("verdict %d of device %d on %v: slot %d: %w", v.Version, v.Device, v.Day, c.Slot, ErrCorrupt)
		}
		raw := wh[c.Slot]
		switch c.Quality {
		case cim.Estimated, cim.Validated:
			if raw != cim.NoValue && (c.Raw == nil || *c.Raw != raw) {
				continue // the true value came
			}
		case cim.Edited:
		default:
			if !current || c.Quality == cim.Missing && raw != cim.NoValue { // judged before anything came
				continue
			}
		}
		k.Cells[c.Slot], k.Quality[c.Slot] = c, c.Quality
		if c.Wh != nil {
			k.Wh[c.Slot] = *c.Wh
		}
	}
	return k, nil
}
