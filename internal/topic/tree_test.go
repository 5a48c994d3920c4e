package topic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestTreeMatch holds the tree to the examples of MQTT 3.1.1, 4.7, and to the
// filters of the contract.
func TestTreeMatch(t *testing.T) {
	tests := []struct {
		filter, name string
		want         bool
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1", true}, // [MQTT-4.7.1-2]
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/tennis/player1/#", "sport/tennis/player12", false},
		{"sport/#", "sport", true},
		{"#", "a/b/c", true},
		{"sport/tennis/+", "sport/tennis/player1", true}, // [MQTT-4.7.1-3]
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"+/tennis/#", "a/tennis/b/c", true},
		{"#", "$SYS/x", false}, // [MQTT-4.7.2-1]
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/#", "$SYS/", true},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"ACCOUNTS", "Accounts", false}, // [MQTT-4.7.3-4]
		{"/finance", "finance", false},
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
		{"up/#", "up/C1/C7/meter/M1/reading", true},
		{"dn/meter/M1/#", "dn/meter/M10/cmd", false},
		{"dn/all/meter/#", "dn/all/meter/cmd", true},
	}
	for _, tt := range tests {
		var tree Tree[string]
		if !tree.Add(tt.filter, "v") || tree.Add(tt.filter, "v") {
			t.Fatalf("%s: add", tt.filter)
		}
		if got := len(tree.Match(tt.name, nil)) == 1; got != tt.want {
			t.Errorf("%s matches %s: %v", tt.filter, tt.name, got)
		}
		if Match(tt.filter, tt.name) != tt.want {
			t.Errorf("Match(%s, %s) disagrees", tt.filter, tt.name)
		}
		if !tree.Remove(tt.filter, "v") || tree.Remove(tt.filter, "v") || tree.Len() != 0 || !tree.root.empty() {
			t.Errorf("%s: not empty after removal", tt.filter)
		}
	}
}

// TestTreeAgainstMatch compares the tree with Match over random filters that
// come and go.
func TestTreeAgainstMatch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"", "a", "b", "c", "$a", "+"}
	pick := func(n int) string {
		levels := make([]string, 1+rnd.IntN(4))
		for i := range levels {
			levels[i] = words[rnd.IntN(n)]
		}
		return strings.Join(levels, "/")
	}
	var tree Tree[string]
	have := map[string]bool{}
	for range 20_000 {
		filter := pick(len(words))
		if rnd.IntN(3) == 0 {
			filter += "/#"
		}
		if CheckFilter(filter) != nil {
			continue
		}
		if rnd.IntN(2) == 0 {
			if tree.Add(filter, filter) == have[filter] {
				t.Fatalf("add %s", filter)
			}
			have[filter] = true
		} else {
			if tree.Remove(filter, filter) != have[filter] {
				t.Fatalf("remove %s", filter)
			}
			delete(have, filter)
		}
		name := pick(len(words) - 1)
		if CheckName(name) != nil {
			continue
		}
		var want []string
		for f := range have {
			if Match(f, name) {
				want = append(want, f)
			}
		}
		got := tree.Match(name, nil)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", name, got, want)
		}
	}
	if tree.Len() != len(have) {
		t.Errorf("size %d, want %d", tree.Len(), len(have))
	}
}

func TestTreeManyOnOneFilter(t *testing.T) {
	var tree Tree[int]
	const n = 10_000
	for i := range n {
		tree.Add("dn/all/meter/#", i)
	}
	got := tree.Match("dn/all/meter/cmd", nil)
	slices.Sort(got)
	if len(got) != n || got[0] != 0 || got[n-1] != n-1 {
		t.Fatalf("%d values", len(got))
	}
	for i := range n {
		if !tree.Remove("dn/all/meter/#", (i*7)%n) {
			t.Fatalf("remove %d", i)
		}
	}
	if !tree.root.empty() {
		t.Error("not empty")
	}
}

func TestTreeConcurrent(t *testing.T) {
	var tree Tree[int]
	tree.Add("up/#", -1)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var dst []int
			for i := range 1000 {
				filter := fmt.Sprintf("up/meter/M%d/+", i%50)
				tree.Add(filter, g)
				dst = tree.Match("up/meter/M1/reading", dst[:0])
				if !slices.Contains(dst, -1) {
					t.Error("the standing filter was missed")
				}
				tree.Remove(filter, g)
			}
		})
	}
	wg.Wait()
	if tree.Len() != 1 {
		t.Errorf("size %d", tree.Len())
	}
}

func TestTreeMatchDoesNotAllocate(t *testing.T) {
	var tree Tree[int]
	tree.Add("up/#", 1)
	tree.Add("up/+/+/reading", 2)
	tree.Add("up/meter/M1/reading", 3)
	dst := make([]int, 0, 8)
	if n := testing.AllocsPerRun(100, func() { dst = tree.Match("up/meter/M1/reading", dst[:0]) }); n != 0 || len(dst) != 3 {
		t.Errorf("%v allocations, %v", n, dst)
	}
}

func BenchmarkTreeMatch(b *testing.B) {
	var tree Tree[int]
	tree.Add("up/#", 0)
	for i := range 100_000 {
		tree.Add(fmt.Sprintf("dn/meter/M%d/#", i), i)
		tree.Add("dn/all/meter/#", i)
	}
	for _, name := range []string{"up/meter/M77/reading", "dn/meter/M77/cmd"} {
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				var dst []int
				for pb.Next() {
					dst = tree.Match(name, dst[:0])
				}
			})
		})
	}
}
