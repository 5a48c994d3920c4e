package store

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func TestSteps(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	got, err := Steps(fstest.MapFS{"m/0001-first.sql": file("A"), "m/0002-more-of-it.sql": file("B")}, "m")
	if err != nil || len(got) != 2 || got[1] != (Step{2, "more-of-it", "B"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	for want, files := range map[string]fstest.MapFS{
		"file does not exist":   {},
		"want a name like":      {"m/first.sql": file("A")},
		"b.sql has number 0001": {"m/0001-a.sql": file("A"), "m/0001-b.sql": file("B")},
		"b.sql has number 0000": {"m/0000-b.sql": file("A")},
	} {
		if _, err := Steps(files, "m"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestStepsLeft(t *testing.T) {
	steps := []Step{{1, "a", ""}, {2, "b", ""}, {3, "c", ""}}
	gap := []Step{{1, "a", ""}, {2, "b", ""}, {5, "e", ""}}
	filled := []Step{{1, "a", ""}, {2, "b", ""}, {4, "d", ""}, {5, "e", ""}}
	if left, err := StepsLeft(gap, 2, map[int]string{2: "b"}); err != nil || len(left) != 1 || left[0].Number != 5 {
		t.Errorf("over a gap: %v, %v", left, err)
	}
	if left, err := StepsLeft(filled, 5, map[int]string{2: "b", 5: "e"}); err != nil || len(left) != 1 || left[0].Number != 4 {
		t.Errorf("a gap that was filled: %v, %v", left, err)
	}
	if _, err := StepsLeft(gap, 5, map[int]string{2: "b", 4: "d", 5: "e"}); !errors.Is(err, ErrNewer) {
		t.Errorf("a step that is not known: %v", err)
	}
	for _, tc := range []struct {
		version int
		applied map[int]string
		left    int // -1: refused
	}{{0, nil, 3}, {2, nil, 1}, {3, map[int]string{3: "c"}, 0}, {2, map[int]string{2: "x"}, -1}, {4, nil, -1}, {-1, nil, -1}} {
		left, err := StepsLeft(steps, tc.version, tc.applied)
		if tc.left < 0 != errors.Is(err, ErrNewer) || tc.left >= 0 && len(left) != tc.left {
			t.Errorf("%+v: %d left, %v", tc, len(left), err)
		}
	}
}
