package store

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
)

func TestMerge(t *testing.T) {
	p := func(v uint32) *uint32 { return &v }
	const none = cim.NoValue
	raw := func(wh ...uint32) ([]uint32, []cim.Quality) {
		q := make([]cim.Quality, len(wh))
		for i, v := range wh {
			if v != none {
				q[i] = cim.Raw
			}
		}
		return wh, q
	}
	cells := []Cell{{Slot: 0, Wh: p(7), Quality: cim.Estimated}, {Slot: 1, Wh: p(8), Raw: p(99), Quality: cim.Edited}, {Slot: 2, Quality: cim.Raw, Raw: p(3), Code: "3.5.258"},
		{Slot: 3, Wh: p(9), Raw: p(4000), Quality: cim.Estimated}}
	doc, err := json.Marshal(VerdictDoc{Cells: cells})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		wh      []uint32
		version uint32
		v       *Verdict
		want    []uint32
		quality []cim.Quality
	}{
		"no verdict":  {[]uint32{none, 1, 3, 5}, 1, nil, []uint32{none, 1, 3, 5}, []cim.Quality{cim.Missing, cim.Raw, cim.Raw, cim.Raw}},
		"clean":       {[]uint32{none, 1, 3, 5}, 1, &Verdict{Length: 360, Raw: 1}, []uint32{none, 1, 3, 5}, []cim.Quality{cim.Missing, cim.Validated, cim.Validated, cim.Validated}},
		"newer block": {[]uint32{2, 1, 3, 5}, 2, &Verdict{Length: 360, Raw: 1}, []uint32{2, 1, 3, 5}, []cim.Quality{cim.Raw, cim.Raw, cim.Raw, cim.Raw}},
		"no block":    {[]uint32{2, none, none, none}, 0, &Verdict{Length: 360}, []uint32{2, none, none, none}, []cim.Quality{cim.Raw, cim.Missing, cim.Missing, cim.Missing}},
		"cells":       {[]uint32{none, 99, 3, 4000}, 1, &Verdict{Length: 360, Raw: 1, Doc: doc}, []uint32{7, 8, 3, 9}, []cim.Quality{cim.Estimated, cim.Edited, cim.Raw, cim.Estimated}},
		"late values": {[]uint32{6, 98, 3, 4001}, 2, &Verdict{Length: 360, Raw: 1, Doc: doc}, []uint32{6, 8, 3, 4001}, []cim.Quality{cim.Raw, cim.Edited, cim.Raw, cim.Raw}},
		"others late": {[]uint32{none, 99, 4, 4000}, 2, &Verdict{Length: 360, Raw: 1, Doc: doc}, []uint32{7, 8, 4, 9}, []cim.Quality{cim.Estimated, cim.Edited, cim.Raw, cim.Estimated}},
		"length":      {[]uint32{none, 1}, 1, &Verdict{Length: 360, Raw: 1, Doc: doc}, []uint32{none, 1}, []cim.Quality{cim.Missing, cim.Raw}},
	} {
		wh, q := raw(tc.wh...)
		k, err := Merge(wh, q, tc.version, tc.v)
		if err != nil || !reflect.DeepEqual(k.Wh, tc.want) || !reflect.DeepEqual(k.Quality, tc.quality) {
			t.Errorf("%s: %v %v, %v; want %v %v", name, k.Wh, k.Quality, err, tc.want, tc.quality)
		}
	}
	for _, bad := range []string{`{`, `{"cells":[{"slot":4}]}`, `{"cells":[{"slot":-1}]}`} {
		wh, q := raw(1, 2, 3, 4)
		if _, err := Merge(wh, q, 1, &Verdict{Length: 360, Raw: 1, Doc: []byte(bad)}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
