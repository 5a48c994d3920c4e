package exportfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/export"
)

var errKilled = errors.New("killed")

// maker makes parts of numbered usage points, and dies when it is told to.
type maker struct {
	points int
	made   []int // part sizes, by call
	dieAt  int   // usage point at which it fails; 0: never
	text   string
}

func (m *maker) source(split bool) Source {
	return func(_ context.Context, after string, limit int, begin func() error, to Sink) (res export.Result, err error) {
		if err := begin(); err != nil {
			return res, err
		}
		first := 0
		if after != "" {
			if first, err = strconv.Atoi(after); err != nil {
				return res, err
			}
		}
		var w io.Writer
		if !split {
			if w, err = to(""); err != nil {
				return res, err
			}
			if _, err := io.WriteString(w, "usage_point,meter,channel,start,end,wh,quality\n"); err != nil {
				return res, err
			}
		}
		for n := first + 1; n <= m.points; n++ {
			if n == m.dieAt {
				return res, errKilled
			}
			if split {
				if w, err = to(fmt.Sprintf("U%d.csv", n)); err != nil {
					return res, err
				}
			}
			if _, err := fmt.Fprintf(w, "U%d,%s\n", n, m.text); err != nil {
				return res, err
			}
			res.Points++
			res.Rows++
			if res.Points == limit && n < m.points {
				res.Next = strconv.Itoa(n)
				break
			}
		}
		m.made = append(m.made, res.Points)
		return res, nil
	}
}

func question(split bool) Question {
	return Question{Format: "csv", What: "intervals", From: "2026-03-01", To: "2026-04-01", Known: "2026-04-02T00:00:00Z", Points: 10, Split: split}
}

func newExport(dir string, m *maker, split bool) *Export {
	return &Export{Dir: dir, Question: question(split), Source: m.source(split), Progress: func(Summary, bool) {}}
}

// tree reads all files below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Killed at any usage point, an export goes on to be the same as one that was not, and makes no finished part again.
func TestGoesOnAfterAKill(t *testing.T) {
	for _, split := range []bool{false, true} {
		whole := t.TempDir()
		want, err := newExport(whole, &maker{points: 35, text: "x"}, split).Run(t.Context())
		if err != nil || !want.Whole || want.Parts != 4 || want.Points != 35 {
			t.Fatalf("%+v, %v", want, err)
		}
		for die := 1; die <= 35; die += 3 {
			dir := t.TempDir()
			m := &maker{points: 35, dieAt: die, text: "x"}
			if _, err := newExport(dir, m, split).Run(t.Context()); !errors.Is(err, errKilled) {
				t.Fatalf("died at %d: %v", die, err)
			}
			if _, err := os.Stat(filepath.Join(dir, Manifest)); err == nil {
				t.Fatalf("died at %d: there is a manifest", die)
			}
			// What a kill leaves: a torn line and a file with a temporary name.
			if len(m.made) > 0 || split && die > 1 { // else there is nothing to go on from, and nothing is left
				j, err := os.OpenFile(filepath.Join(dir, journalName), os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := j.WriteString(`{"part":99,"af`); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(j.Close(), os.WriteFile(filepath.Join(dir, tempName), []byte("half"), 0o600)); err != nil {
					t.Fatal(err)
				}
			} else if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("died at %d: the directory is still there: %v", die, err)
			}
			before := len(m.made)
			m.dieAt = 0
			got, err := newExport(dir, m, split).Run(t.Context())
			if err != nil || got != want || len(m.made) != 4 || before != (die-1)/10 {
				t.Fatalf("died at %d, went on to %+v with %d parts made, %d of them before: %v", die, got, len(m.made), before, err)
			}
			after := tree(t, dir)
			delete(after, tempName)
			if !reflect.DeepEqual(after, tree(t, whole)) {
				t.Fatalf("died at %d: the export is another", die)
			}
		}
	}
}

func TestDamagedPartsAreMadeAgain(t *testing.T) {
	dir := t.TempDir()
	m := &maker{points: 35, dieAt: 33, text: "x"}
	if _, err := newExport(dir, m, false).Run(t.Context()); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "intervals-000002.csv"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.dieAt = 0
	if _, err := newExport(dir, m, false).Run(t.Context()); err != nil || len(m.made) != 5 {
		t.Fatalf("%d parts made: %v", len(m.made), err)
	}

	// A part that cannot be made as it was is told.
	dir = t.TempDir()
	m = &maker{points: 35, dieAt: 33, text: "x"}
	if _, err := newExport(dir, m, false).Run(t.Context()); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "intervals-000001.csv")); err != nil {
		t.Fatal(err)
	}
	m.dieAt, m.text = 0, "y"
	if _, err := newExport(dir, m, false).Run(t.Context()); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "part 1 was damaged") {
		t.Errorf("error %v", err)
	}
}

func TestAnotherQuestionIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := newExport(dir, &maker{points: 35, dieAt: 33}, false).Run(t.Context()); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	other := newExport(dir, &maker{points: 35}, false)
	other.Question.To = "2026-05-01"
	if _, err := other.Run(t.Context()); !errors.Is(err, ErrOther) {
		t.Errorf("unfinished: %v", err)
	}
	if _, err := newExport(dir, &maker{points: 35}, false).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Run(t.Context()); !errors.Is(err, ErrOther) {
		t.Errorf("finished: %v", err)
	}
	m := &maker{points: 35}
	sum, err := newExport(dir, m, false).Run(t.Context())
	if err != nil || !sum.Whole || len(m.made) != 0 {
		t.Errorf("a finished export again: %+v, %d parts made, %v", sum, len(m.made), err)
	}
}

func TestAFinishedExportIsMended(t *testing.T) {
	dir := t.TempDir()
	if _, err := newExport(dir, &maker{points: 35, text: "x"}, false).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost, damaged := filepath.Join(dir, "intervals-000001.csv"), filepath.Join(dir, "intervals-000003.csv")
	if err := errors.Join(os.Remove(lost), os.WriteFile(damaged, []byte("damaged"), 0o600)); err != nil {
		t.Fatal(err)
	}
	other := newExport(dir, &maker{points: 35, text: "x"}, false)
	other.Question.To = "2026-05-01"
	if _, err := other.Run(t.Context()); !errors.Is(err, ErrOther) {
		t.Errorf("another question: %v", err)
	}
	m := &maker{points: 35, text: "x"}
	x := newExport(dir, m, false)
	if sum, err := x.Run(t.Context()); err != nil || !sum.Whole || len(m.made) != 2 {
		t.Fatalf("%+v, %d parts made, %v", sum, len(m.made), err)
	}
	if sum, err := x.Verify(t.Context()); err != nil || !sum.Whole || sum.Points != 35 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	x := newExport(dir, &maker{points: 25}, true)
	if _, err := x.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sum, err := x.Verify(t.Context()); err != nil || !sum.Whole || sum.Files != 25 {
		t.Errorf("%+v, %v", sum, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "000002", "U13.csv"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Verify(t.Context()); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "U13") {
		t.Errorf("a changed file: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, Manifest))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for name, bad := range map[string]string{
		"cut off":     strings.Join(lines[:2], ""),
		"outside":     lines[0] + strings.Replace(lines[1], "000001/U1.csv", "../U1.csv", 1) + lines[len(lines)-2],
		"unknown key": lines[0] + `{"colour":1}` + "\n",
		"behind":      string(text) + lines[1],
		"no JSON":     "x\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, Manifest), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Verify(t.Context()); err == nil {
			t.Errorf("a manifest that is %s was accepted", name)
		}
	}
}

// A full disk or a cancelled context leaves no file that looks whole.
func TestJoin(t *testing.T) {
	dir := t.TempDir()
	x := newExport(filepath.Join(dir, "out.csv.parts"), &maker{points: 35, text: "x"}, false)
	if _, err := x.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	file, manifest := filepath.Join(dir, "out.csv"), filepath.Join(dir, "out.csv.manifest.jsonl")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	head := export.Head{Format: export.CSV, What: export.Intervals}
	if _, err := x.Join(ctx, head, file, manifest); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("a file that is not whole has its name")
	}
	f, err := x.Join(t.Context(), head, file, manifest)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "\n") != 36 || int64(len(text)) != f.Bytes {
		t.Errorf("%d lines, %v", strings.Count(string(text), "\n"), err)
	}
	sum, q, err := VerifyFile(t.Context(), file, manifest)
	if want := question(false); err != nil || !sum.Whole || sum.Points != 35 || !q.Same(&want) {
		t.Errorf("%+v %+v %v", sum, q, err)
	}
	if err := os.WriteFile(file, text[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := VerifyFile(t.Context(), file, manifest); !errors.Is(err, ErrChanged) {
		t.Errorf("a changed file: %v", err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add("{\"format\":\"csv\",\"what\":\"intervals\",\"from\":\"a\",\"to\":\"b\",\"asKnownAt\":\"c\",\"pointsPerPart\":1}\n{\"part\":1,\"points\":1,\"rows\":1,\"files\":[]}\n{\"whole\":true}\n")
	f.Add("{}\n{\"part\":1")
	f.Add("\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		parts := 0
		_, _, size, err := readJournal(strings.NewReader(text), func(*Part) error { parts++; return nil })
		if size > int64(len(text)) || err == nil && strings.Count(text[:size], "\n") < parts {
			t.Fatalf("%d bytes of %d, %d parts, %v", size, len(text), parts, err)
		}
	})
}
