package mdms

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// TestKept: what took long is given out again for twenty times that, and while it is made anew; what took no time never is.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k kept[string, int]
		made := 0
		ask := func(takes time.Duration) int {
			v, err := k.get("a", func() (int, error) { time.Sleep(takes); made++; return made, nil })
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if ask(time.Millisecond) != 1 || ask(100*time.Millisecond) != 2 || ask(time.Hour) != 2 {
			t.Fatalf("made %d times", made)
		}
		time.Sleep(1900 * time.Millisecond)
		if ask(time.Hour) != 2 {
			t.Fatal("it was made anew before twenty times what it took had passed")
		}
		time.Sleep(time.Second)
		var all sync.WaitGroup
		var old atomic.Int64
		for range 20 { // one makes it, the others are answered with the old one meanwhile
			all.Go(func() {
				if ask(time.Second) == 2 {
					old.Add(1)
				}
			})
		}
		all.Wait()
		if made != 3 || old.Load() != 19 {
			t.Fatalf("made %d times, %d were answered with the old one", made, old.Load())
		}
		time.Sleep(10 * time.Second)
		if ask(0) != 4 { // 20 s would be too old
			t.Fatal("it is kept for more than 10 s")
		}
		if _, err := k.get("b", func() (int, error) { return 0, errors.New("no") }); err == nil {
			t.Fatal("an error was kept back")
		}
		for _, key := range strings.Split("bcdefgh", "") {
			if _, err := k.get(key, func() (int, error) { return 1, nil }); err != nil {
				t.Fatal(err)
			}
		}
		if len(k.all) != keepKinds {
			t.Fatalf("%d are kept", len(k.all))
		}
	})
}

// TestHoursOf: a concentrator's hours are those of all that is below it, whatever sorts between.
func TestHoursOf(t *testing.T) {
	s := &hourSums{}
	for _, k := range []string{"", "C1", "C1-2", "C1.x", "C1/C11", "C1/C7", "C10", "C1a"} {
		s.items = append(s.items, api.HourCounts{Key: k, Meters: 1, Expected: []int64{1, 2}, Missing: []int64{0, 1}})
	}
	if !slices.IsSortedFunc(s.items, func(a, b api.HourCounts) int { return strings.Compare(a.Key, b.Key) }) {
		t.Fatal("the test's keys are in another order")
	}
	for key, want := range map[string]int{"": 8, "C1": 3, "C1/C7": 1, "C10": 1, "C1-2": 1} {
		if h, ok := s.of(key, true); !ok || h.Key != key || h.Meters != want || h.Expected[1] != int64(2*want) || h.Missing[1] != int64(want) {
			t.Errorf("below %q: %+v, want %d meters", key, h, want)
		}
	}
	if h, ok := s.of("C1", false); !ok || h.Meters != 1 {
		t.Errorf("C1 alone: %+v", h)
	}
	for _, key := range []string{"C2", "C1/C1", "0", "z"} {
		if h, ok := s.of(key, true); ok {
			t.Errorf("%q: %+v", key, h)
		}
		if h, ok := s.of(key, false); ok {
			t.Errorf("%q alone: %+v", key, h)
		}
	}
	if s.items[1].Expected[1] != 2 {
		t.Error("what is kept was added to")
	}
}
