package meter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func openLog(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := OpenLog(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func save(t *testing.T, s Store, id string, st *State, n int) {
	t.Helper()
	if err := s.Save(id, st.append(nil, n, nil, true, false)); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, s Store, id string, want State) {
	t.Helper()
	got, ok, err := s.Load(id)
	if err != nil || !ok || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: %v %v, got %+v\nwant %+v", id, ok, err, got, want)
	}
}

func TestStores(t *testing.T) {
	for name, s := range map[string]Store{"memory": &Memory{}, "log": openLog(t, t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			if _, ok, err := s.Load("M1"); ok || err != nil {
				t.Fatalf("an empty store has a state: %v", err)
			}
			st := State{Sequence: 4, Groups: []uint32{7}, Cuts: []Cut{{5, forever}}}
			st.remember(Executed{ID: 1})
			save(t, s, "M1", &st, 1)
			check(t, s, "M1", st)
			got, _, _ := s.Load("M1") // a loaded state is the caller's own
			got.Cuts[0].To, got.Groups[0], got.Executed[0].ID = 9, 9, 9
			check(t, s, "M1", st)
			if err := s.Save("M1", []byte("rubbish")); err == nil {
				t.Error("rubbish is saved")
			}
			check(t, s, "M1", st)
		})
	}
}

func TestLogReopens(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	var want []State
	var wg sync.WaitGroup
	for i := range 20 {
		want = append(want, State{Sequence: 50, PowerSeq: uint16(i)})
		st := State{PowerSeq: uint16(i)}
		wg.Go(func() {
			for n := range uint32(50) {
				st.Sequence = n + 1
				if err := l.Save(fmt.Sprintf("M%d", i), st.append(nil, 0, nil, false, false)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := OpenLog(dir, nil); err == nil || !strings.Contains(err.Error(), LogName) {
		t.Errorf("a second process may open the log: %v", err)
	}
	l.Close()
	if err := l.Save("M1", (&State{}).Snapshot(nil)); err == nil {
		t.Error("a closed log saves")
	}
	l = openLog(t, dir)
	for i, st := range want {
		check(t, l, fmt.Sprintf("M%d", i), st)
	}
}

// Whatever was cut off the end, what stands before it is whole, and the log goes on from there.
func TestLogTorn(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	path := filepath.Join(dir, LogName)
	var ends []int
	for n := range uint32(5) {
		save(t, l, "M1", &State{Sequence: n + 1}, 0)
		info, _ := os.Stat(path)
		ends = append(ends, int(info.Size()))
	}
	l.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut <= len(whole); cut += 7 {
		for _, tail := range [][]byte{nil, bytes.Repeat([]byte{0xA5}, 30)} { // a file system may leave rubbish
			dir := t.TempDir()
			path := filepath.Join(dir, LogName)
			if cut < len(logHeader) && tail != nil {
				continue
			}
			if err := os.WriteFile(path, append(bytes.Clone(whole[:cut]), tail...), 0o644); err != nil {
				t.Fatal(err)
			}
			l := openLog(t, dir)
			want := uint32(0)
			for i, end := range ends {
				if cut >= end {
					want = uint32(i + 1)
				}
			}
			st, _, _ := l.Load("M1")
			if st.Sequence != want {
				t.Fatalf("cut at %d: sequence %d, want %d", cut, st.Sequence, want)
			}
			save(t, l, "M1", &State{Sequence: 99}, 0)
			l.Close()
			check(t, openLog(t, dir), "M1", State{Sequence: 99})
		}
	}
	if err := os.WriteFile(path, []byte("something else entirely\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLog(dir, nil); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("another file is taken for a log: %v", err)
	}
}

func TestLogIsRewritten(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	l.size = logSlack + 1 // as if it were that large
	st := State{Sequence: 1}
	st.remember(Executed{ID: 5})
	save(t, l, "M1", &st, 1)
	info, err := os.Stat(filepath.Join(dir, LogName))
	if err != nil || info.Size() != l.size || l.size > 200 {
		t.Fatalf("%v: %d bytes, size %d", err, info.Size(), l.size)
	}
	st.Sequence = 2
	save(t, l, "M1", &st, 0)
	l.Close()
	check(t, openLog(t, dir), "M1", st)
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzLogReplay(f *testing.F) {
	f.Add(appendRecord(nil, "M1", (&State{Sequence: 3}).Snapshot(nil)))
	f.Add([]byte{0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &Log{states: make(map[string]*State)}
		if n, err := l.replay(b); err == nil && n > len(b) {
			t.Fatalf("%d good bytes of %d", n, len(b))
		}
	})
}
