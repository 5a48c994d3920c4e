package store

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// riceRound packs groups and reads them again.
func riceRound(t *testing.T, groups [][]uint32) []byte {
	t.Helper()
	var w riceWriter
	for _, g := range groups {
		w.group(g)
	}
	p := w.flush(nil)
	r := riceReader{p: p}
	for i, g := range groups {
		got := make([]uint32, len(g))
		if !r.group(got) || !slices.Equal(got, g) {
			t.Fatalf("group %d: %v, want %v", i, got, g)
		}
	}
	if r.bytes() != len(p) {
		t.Fatalf("%d bytes read, want %d", r.bytes(), len(p))
	}
	for n := range p {
		r := riceReader{p: p[:n]}
		all := true
		for _, g := range groups {
			all = all && r.group(make([]uint32, len(g)))
		}
		if all {
			t.Fatalf("all groups are in %d bytes of %d", n, len(p))
		}
	}
	return p
}

// TestRice packs groups of all sorts, one behind the other.
func TestRice(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var groups [][]uint32
		for range 1 + r.IntN(5) {
			g := make([]uint32, 1+r.IntN(riceGroup))
			most := uint32(1) << r.IntN(32)
			for i := range g {
				if g[i] = r.Uint32N(most); r.IntN(40) == 0 {
					g[i] = math.MaxUint32 - r.Uint32N(3)
				}
			}
			groups = append(groups, g)
		}
		riceRound(t, groups)
	}
	for _, tc := range []struct {
		name string
		vs   []uint32
		bits string
	}{
		{"zeros", []uint32{0, 0, 0}, "11111"},
		{"a zero and a one", []uint32{0, 1}, "00000" + "0" + "10"},
		{"eights", []uint32{8, 9, 11}, "11000" + "10000" + "10100" + "10110"},
		{"one that is much more", append(make([]uint32, 31), 1<<20), "00000" + strings.Repeat("0", 31) + strings.Repeat("1", 16) + strings.Repeat("0", 20) + "1" + strings.Repeat("0", 11)},
		{"the most", []uint32{math.MaxUint32}, "01111" + "1110" + strings.Repeat("1", 30)},
	} {
		if got, want := riceRound(t, [][]uint32{tc.vs}), bitText(tc.bits); !bytes.Equal(got, want) {
			t.Errorf("%s: %08b, want %08b", tc.name, got, want)
		}
	}
	for _, bits := range []string{"01111" + "11110", "01111" + strings.Repeat("1", 15) + "0"} { // of 4 and 15 times 2^30
		if r := (riceReader{p: append(bitText(bits), make([]byte, 16)...)}); r.group(make([]uint32, 1)) {
			t.Errorf("a value beyond 32 bits: %s", bits)
		}
	}
}

// TestRiceBits compares the k that is found with the best one.
func TestRiceBits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 2000 {
		vs := make([]uint32, 1+r.IntN(riceGroup))
		mean := math.Exp(r.Float64() * 12)
		for i := range vs {
			vs[i] = uint32(min(r.ExpFloat64()*mean, math.MaxUint32/2))
		}
		if slices.Max(vs) == 0 {
			continue
		}
		got, best := riceCost(vs, riceBits(vs)), math.MaxInt
		for k := range riceMaxBit + 1 {
			best = min(best, riceCost(vs, k))
		}
		if got > best+len(vs)/2 {
			t.Fatalf("%v in %d bits, want %d", vs, got, best)
		}
	}
}

func FuzzRice(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0})
	f.Add(make([]byte, 300))
	f.Fuzz(func(t *testing.T, p []byte) {
		in := riceReader{p: p}
		for range len(p) { // whatever it says, it ends
			if !in.group(make([]uint32, riceGroup)) {
				break
			}
		}
		var groups [][]uint32
		for len(p) >= 4 && len(groups) < 20 {
			var g []uint32
			for ; len(p) >= 4 && len(g) < riceGroup; p = p[4:] {
				g = append(g, binary.LittleEndian.Uint32(p))
			}
			groups = append(groups, g)
		}
		if len(groups) > 0 {
			riceRound(t, groups)
		}
	})
}
