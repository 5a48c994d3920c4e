package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
)

// ErrNewer is returned for a database whose schema has steps that this program does not know.
var ErrNewer = errors.New("this database was made by a newer program")

// Step is one change of a backend's schema. A database has the version of the highest step that was applied to it.
type Step struct {
	Number int // from 1; numbers may be left out, for steps that are made at the same time and finished in another order
	Name   string
	SQL    string
}

var stepName = regexp.MustCompile(`^(\d{4})-([a-z0-9-]+)\.sql$`)

// Steps reads the steps of a backend from the files NNNN-name.sql in dir. A released step is never changed, only followed by
// another. A change has the same number and name in all backends; one that has nothing to do there says so in a comment.
func Steps(files fs.FS, dir string) ([]Step, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	var out []Step
	for _, e := range entries { // by name
		m := stepName.FindStringSubmatch(e.Name())
		if m == nil {
			return nil, fmt.Errorf("schema: file %s, want a name like 0001-first.sql", e.Name())
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n < 1 || len(out) > 0 && n == out[len(out)-1].Number {
			return nil, fmt.Errorf("schema: file %s has number %s, want each number once, from 0001 on", e.Name(), m[1])
		}
		text, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		out = append(out, Step{Number: n, Name: m[2], SQL: string(text)})
	}
	return out, nil
}

// StepsLeft returns the steps that a database of the version lacks, in their order. applied are the names of those that it has, by
// number, as far as it knows them: databases from before names were kept know none, and have all below the first that they know. A
// step with a number below others that were applied is applied all the same.
func StepsLeft(steps []Step, version int, applied map[int]string) ([]Step, error) {
	last, named := 0, version+1
	known := make(map[int]string, len(steps))
	for _, s := range steps {
		known[s.Number] = s.Name
		last = max(last, s.Number)
	}
	if version > last || version < 0 {
		return nil, fmt.Errorf("schema version %d, this program knows versions up to %d: run the program that wrote it, or a newer one: %w", version, last, ErrNewer)
	}
	for n, name := range applied {
		named = min(named, n)
		if ours, ok := known[n]; !ok || ours != name {
			return nil, fmt.Errorf("schema step %d is %q, this program's is %q: run the program that wrote it, or a newer one: %w", n, name, ours, ErrNewer)
		}
	}
	var left []Step
	for _, s := range steps {
		if _, done := applied[s.Number]; !done && s.Number >= named {
			left = append(left, s)
		}
	}
	return left, nil
}
