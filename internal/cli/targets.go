package cli

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
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

// readTarget reads what a command is for. in is what "-" reads.
func readTarget(s string, in io.Reader) (api.Target, error) {
	if query, ok := strings.CutPrefix(s, "query:"); ok {
		return parseQuery(query)
	}
	name, ok := strings.CutPrefix(s, "@")
	switch {
	case s == "-" && in == nil:
		return api.Target{}, usagef("target -: there is no standard input")
	case s == "-":
		return meterList("standard input", in)
	case ok:
		f, err := os.Open(name)
		if err != nil {
			return api.Target{}, usagef("target %q: %w", s, err)
		}
		t, err := meterList(name, f)
		return t, errors.Join(err, f.Close())
	case strings.Contains(s, ","):
		return meterList("target", strings.NewReader(strings.ReplaceAll(s, ",", "\n")))
	}
	return parseTarget(s)
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
// at the beginning of a line do not count.
func meterList(name string, r io.Reader) (api.Target, error) {
	rows := csv.NewReader(bufio.NewReader(r))
	rows.FieldsPerRecord, rows.Comment, rows.TrimLeadingSpace = -1, '#', true
	t := api.Target{Meters: []string{}}
	column := 0
	for first := true; ; first = false {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return t, usagef("%s: %w", name, err)
		}
		if first {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
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
			return t, usagef("%s, line %d: %d columns, the meter should stand in number %d", name, line, len(row), column+1)
		}
		id := strings.TrimSpace(row[column])
		if err := topic.CheckID(id); err != nil {
			return t, usagef("%s, line %d: %w", name, line, err)
		}
		t.Meters = append(t.Meters, id)
	}
	if len(t.Meters) == 0 {
		return t, usagef("%s: no meter in it", name)
	}
	if len(t.Meters) == 1 {
		return api.Target{Meter: t.Meters[0]}, nil
	}
	return t, nil
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
