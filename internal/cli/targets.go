package cli

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/topic"
)

const targetHelp = `

TARGET is one of
  M1000317               a meter's id
  M1000317,M1004851      several of them
  @meters.csv            a file of them: a line each, or a CSV file with a column "meter" or "id"; "-" reads standard input
  path:C1/C7             all meters below a concentrator
  group:12               the members of a group
  query:feeder=F12,state=online
                         those of which all that fits: path, substation, feeder, transformer, tag, contract (active, vacant,
                         disconnected), state (online, disconnected, power-lost, comm-lost, unreachable, sleeping, never-seen)`

// target is what a command is for, and of a list where its meters stand, so that what the centre finds wrong with one can be told.
type target struct {
	api.Target
	list  string // "": none
	lines []int  // of each meter
}

// readTarget reads what a command is for. in is what "-" reads.
func readTarget(s string, in io.Reader) (target, error) {
	if query, ok := strings.CutPrefix(s, "query:"); ok {
		q, err := parseQuery(query)
		return target{Target: q}, err
	}
	name, ok := strings.CutPrefix(s, "@")
	switch {
	case s == "-" && in == nil:
		return target{}, usagef("target -: there is no standard input")
	case s == "-":
		return meterList("standard input", in)
	case ok:
		f, err := os.Open(name)
		if err != nil {
			return target{}, usagef("target %q: %w", s, err)
		}
		t, err := meterList(name, f)
		return t, errors.Join(err, f.Close())
	case strings.Contains(s, ","):
		return meterList("target", strings.NewReader(strings.ReplaceAll(s, ",", "\n")))
	}
	t, err := parseTarget(s)
	return target{Target: t}, err
}

// parseQuery reads feeder=F12,state=online.
func parseQuery(s string) (api.Target, error) {
	var q api.TargetQuery
	fields := map[string]*string{"path": &q.Path, "substation": &q.Substation, "feeder": &q.Feeder, "transformer": &q.Transformer, "tag": &q.Tag,
		"contract": &q.Contract, "state": &q.State}
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(part, "=")
		to := fields[strings.TrimSpace(name)]
		if !ok || to == nil || value == "" {
			return api.Target{}, usagef("target query: %q, want path=, substation=, feeder=, transformer=, tag=, contract= or state= with a value, and commas between", part)
		}
		if *to != "" {
			return api.Target{}, usagef("target query: %s stands there twice", name)
		}
		*to = value
	}
	return api.Target{Query: &q}, nil
}

// meterList reads ids, a line each, or a CSV file whose first line names a column meter or id. Empty lines and what follows a #
// at the beginning of a line do not count. It tells of every line that is wrong, and takes none of the list then.
func meterList(name string, r io.Reader) (target, error) {
	rows := csv.NewReader(bufio.NewReader(r))
	rows.FieldsPerRecord, rows.Comment, rows.TrimLeadingSpace = -1, '#', true
	t := target{Target: api.Target{Meters: []string{}}, list: name}
	var wrong wrongLines
	column, at := 0, map[string]int{}
	for first := true; ; first = false {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var bad *csv.ParseError
		switch {
		case errors.As(err, &bad):
			wrong.add(bad.StartLine, "%v", bad.Err)
			continue
		case err != nil:
			return t, usagef("%s: %w", name, err)
		}
		if first {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			if text := strings.Join(row, ","); !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				return t, usagef("%s: it is no text in UTF-8: export the list as comma-separated values in UTF-8; nothing was sent", name)
			}
			if i := strings.IndexAny(row[0], ";\t"); i >= 0 && len(row) == 1 {
				return t, usagef("%s: the columns are parted by %q, want commas: export the list as comma-separated values; nothing was sent", name, row[0][i])
			}
			if i := slices.IndexFunc(row, func(s string) bool { s = strings.ToLower(strings.TrimSpace(s)); return s == "meter" || s == "id" }); i >= 0 {
				column = i
				continue
			}
			if len(row) > 1 {
				return t, usagef("%s: %d columns and none of them named meter or id", name, len(row))
			}
		}
		line, _ := rows.FieldPos(0)
		if column >= len(row) {
			wrong.add(line, "%d columns, the meter should stand in number %d", len(row), column+1)
			continue
		}
		id := strings.TrimSpace(row[column])
		if err := topic.CheckID(id); err != nil {
			wrong.add(line, "%v", err)
			continue
		}
		if before := at[id]; before != 0 {
			wrong.add(line, "%s stands in line %d already", id, before)
			continue
		}
		at[id] = line
		t.Meters, t.lines = append(t.Meters, id), append(t.lines, line)
	}
	if wrong.count > 0 {
		return t, usagef("%s: %w", name, wrong.err(wrong.count+len(t.Meters)))
	}
	switch n := len(t.Meters); {
	case n == 0:
		return t, usagef("%s: no meter in it", name)
	case n > command.MaxListed:
		return t, usagef("%s: %d meters, want %d at most in one command; nothing was sent", name, n, command.MaxListed)
	case n == 1:
		t.Target = api.Target{Meter: t.Meters[0]}
	}
	return t, nil
}

// maxWrong bounds the lines of a list that are told as wrong.
const maxWrong = 50

// wrongLines collects what is wrong with the lines of a list.
type wrongLines struct {
	count int
	told  []string
}

func (w *wrongLines) add(line int, format string, args ...any) {
	if w.count++; w.count <= maxWrong {
		w.told = append(w.told, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
	}
}

func (w *wrongLines) err(lines int) error {
	if w.count == 1 {
		return errors.New(w.told[0] + "; nothing was sent")
	}
	return errors.New(fmt.Sprintf("%d of %d lines are wrong; nothing was sent", w.count, lines) + toldLines(w.told, w.count))
}

// toldLines are lines below a message, of which there are count in all.
func toldLines(lines []string, count int) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("\n  " + l)
	}
	if more := count - len(lines); more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}

// place says where in the list the parts of a request stand that the centre finds wrong.
func (t *target) place(err error) error {
	var p *api.Problem
	if t.list == "" || !errors.As(err, &p) {
		return err
	}
	q := *p
	at := func(field string) string {
		n, ok := strings.CutPrefix(field, "target.meters[")
		i, err := strconv.Atoi(strings.TrimSuffix(n, "]"))
		if !ok || err != nil || i < 0 || i >= len(t.lines) {
			return field
		}
		return fmt.Sprintf("%s, line %d", t.list, t.lines[i])
	}
	q.Field, q.Errors = at(q.Field), nil
	for _, e := range p.Errors {
		q.Errors = append(q.Errors, api.FieldError{Field: at(e.Field), Detail: e.Detail})
	}
	return &q
}

// queryText writes a query as it is given.
func queryText(q *api.TargetQuery) string {
	var parts []string
	for _, f := range []struct{ name, value string }{{"path", q.Path}, {"substation", q.Substation}, {"feeder", q.Feeder}, {"transformer", q.Transformer},
		{"tag", q.Tag}, {"contract", q.Contract}, {"state", q.State}} {
		if f.value != "" {
			parts = append(parts, f.name+"="+f.value)
		}
	}
	return "query:" + strings.Join(parts, ",")
}

// listText tells how many meters a list names.
func listText(t api.Target) string { return fmt.Sprintf("%d meters", max(len(t.Meters), t.Listed)) }
