package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/exportfile"
	"github.com/wattbus/wattbus/internal/tariff"
)

// exportFlags are the flags of "export".
type exportFlags struct {
	app                *app
	server             server
	q                  exportfile.Question
	month, out, output string
	data, storeURL     string
	calendars          []string
	run, sinceRun      string
	verify             bool
	moment             bool // it was said as of when, by --as-known-at or --run
}

func newExport(a *app) *cobra.Command {
	x := &exportFlags{app: a}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write intervals, midnight registers or billing determinants into files",
		Long: `Write what the centre knows into files for other programs: intervals, registers at local midnights, determinants of bills (energy by
time of use, maximum demand), or what changed since a time; as CSV, Parquet, Green Button XML (ESPI) or MeterReadings XML of
IEC 61968-9 (CIM).

--from and --to are dates of each usage point's own time zone, or RFC 3339 times; --to is the end, not included. --month 2018-11
stands for a whole month. --out is a file if it ends like one of the format (.csv, .parquet, .xml), else a directory: with a file for
every --part usage points or, for espi, one for each usage point in subdirectories.

The export is as known at one moment: --as-known-at, or when it was begun. The same question with the same moment gives the same
bytes. After a kill or a lost connection the same command goes on where it stopped: finished parts are verified, not made again. What is
not whole has a temporary name; manifest.jsonl, with the SHA-256 of each file, comes last.

With --run NAME the centre keeps the question and the moment under a name; --since-run NAME later tells only what has changed since
that run, with old and new value.

Values come from a running centre (--server) or, with --data, from the data directory of one that does not run.`,
		Example: "  wattbus export --month 2018-11 --out november/ --format espi\n" +
			"  wattbus export --from 2018-11-01 --to 2018-12-01 --what determinants --calendar day-night --run november --out november.csv\n" +
			"  wattbus export --since-run november --out corrections.csv\n" +
			"  wattbus export --data /var/lib/wattbus --month 2018-11 --format parquet --out november.parquet\n" +
			"  wattbus export --verify --out november/",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.do(cmd.Context()) },
	}
	f := cmd.Flags()
	x.server.flags(f)
	f.StringVar(&x.q.What, "what", "intervals", "intervals, registers, determinants or changes")
	f.StringVar(&x.q.Format, "format", "", "csv, parquet, espi or cim (default: by the ending of --out, else csv)")
	f.StringVar(&x.q.From, "from", "", "beginning: a date such as 2026-03-01, or an RFC 3339 time")
	f.StringVar(&x.q.To, "to", "", "end, not included")
	f.StringVar(&x.month, "month", "", "a month such as 2026-03, in place of --from and --to")
	f.StringVar(&x.out, "out", "", "file or directory to write")
	f.StringSliceVar(&x.q.Meters, "meters", nil, "only these usage points or meters")
	f.StringVar(&x.q.Path, "path", "", "only meters below these concentrators, such as C1/C7")
	f.StringVar(&x.q.Feeder, "feeder", "", "only usage points on this feeder")
	f.StringVar(&x.q.Tariff, "tariff", "", "only usage points with this tariff")
	f.StringVar(&x.q.Calendar, "calendar", "", "tariff calendar of usage points without a tariff (default: the only one there is)")
	f.StringVar(&x.q.Zone, "zone", "", "time zone of usage points without one (default: UTC, or that of their calendar)")
	f.StringVar(&x.q.Known, "as-known-at", "", "values as known then, RFC 3339 (default: now)")
	f.StringVar(&x.q.Since, "since", "", "of --what changes: since when, RFC 3339")
	f.StringVar(&x.run, "run", "", "keep question and moment as a billing run with this name")
	f.StringVar(&x.sinceRun, "since-run", "", "what has changed since the billing run with this name")
	f.IntVar(&x.q.Points, "part", 1000, "usage points in one part: what is done again after a kill")
	f.StringVar(&x.data, "data", "", "data directory of a centre that does not run, in place of --server")
	f.StringVar(&x.storeURL, "store", "", "with --data: its store, if it is not SQLite below it")
	f.StringSliceVar(&x.calendars, "calendars", nil, "with --data: files of tariff calendars")
	f.BoolVar(&x.verify, "verify", false, "read the finished export in --out and compare it with its manifest")
	f.StringVarP(&x.output, "output", "o", "table", "summary on standard output: table or json")
	return cmd
}

// exportSummary is the summary of -o json.
type exportSummary struct {
	exportfile.Question
	exportfile.Summary
	Out      string           `json:"out"`
	SHA256   string           `json:"sha256,omitempty"` // of a single file
	Manifest string           `json:"manifest"`
	Seconds  float64          `json:"seconds"`
	Left     []export.Skipped `json:"leftOut,omitempty"` // the first few that could not be exported
}

func (x *exportFlags) do(ctx context.Context) error {
	if x.output != "table" && x.output != "json" {
		return usagef("flag --output: value %q, want table or json", x.output)
	}
	if x.out == "" {
		return usagef("flag --out: name a file or a directory to write")
	}
	if x.out == "-" {
		return usagef("flag --out: name a file or a directory: an export has a manifest beside it and cannot go to standard output")
	}
	if x.verify {
		return x.doVerify(ctx)
	}
	src, err := x.source(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	if err := x.complete(ctx, src); err != nil {
		return err
	}
	file, dir := x.place()
	if file != "" {
		if done, err := x.already(ctx, file); done || err != nil {
			return err
		}
	}
	q, err := x.question()
	if err != nil {
		return err
	}
	if err := src.prepare(q); err != nil {
		return err
	}
	start := time.Now()
	bar := newProgress(x.app.Err, "export")
	total := int64(0)
	var skipped []export.Skipped
	e := exportfile.Export{Dir: dir, Question: x.q}
	e.Source = func(ctx context.Context, after string, limit int, begin func() error, to exportfile.Sink) (export.Result, error) {
		res, all, err := src.part(ctx, q, x.q, after, limit, begin, to)
		total = int64(all)
		skipped = append(skipped, res.Skipped[:min(len(res.Skipped), 20-min(len(skipped), 20))]...)
		return res, err
	}
	first, since := int64(0), start
	e.Progress = func(s exportfile.Summary, verifying bool) {
		done := int64(s.Points + s.Skipped)
		note := "verified"
		if verifying {
			first, since = done, time.Now()
		} else {
			took := time.Since(since).Seconds()
			rate := float64(done-first) / max(took, 0.001)
			note = fmt.Sprintf("%s/s", thousands(int64(rate)))
			if left := total - done; left > 0 && rate > 0 {
				note += fmt.Sprintf("  %s left", (time.Duration(float64(left) / rate * float64(time.Second))).Round(time.Second))
			}
			note += fmt.Sprintf("  %s rows", thousands(s.Rows))
		}
		if total > 0 {
			bar.update(done, max(total, done), note)
		}
	}
	sum, err := e.Run(ctx)
	if err != nil {
		bar.clear()
		if sum.Parts > 0 && !errors.Is(err, exportfile.ErrOther) {
			fmt.Fprintf(x.app.Err, "wattbus: %d parts with %s usage points are whole; the same command goes on from there\n", sum.Parts, thousands(sum.Points))
		}
		return err
	}
	out := exportSummary{Question: x.q, Summary: sum, Out: dir, Manifest: filepath.Join(dir, exportfile.Manifest), Left: skipped}
	if file != "" {
		whole, err := x.join(ctx, &e, q, file, dir)
		if err != nil {
			bar.clear()
			return err
		}
		out.Out, out.Manifest, out.SHA256, out.Bytes, out.Files = file, manifestOf(file), whole.SHA256, whole.Bytes, 1
	}
	out.Seconds = time.Since(start).Seconds()
	bar.finish(fmt.Sprintf("%s usage points, %s rows, %s bytes", thousands(sum.Points), thousands(sum.Rows), thousands(out.Bytes)))
	return x.tell(&out)
}

// tell prints the summary.
func (x *exportFlags) tell(s *exportSummary) error {
	if x.output == "json" {
		if err := json.NewEncoder(x.app.Out).Encode(s); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(x.app.Out, "%s: %s, %s of %s to %s as known at %s\n", s.Out, s.Format, s.What, s.From, s.To, s.Known)
	}
	switch {
	case s.Summary.Points == 0 && s.Summary.Skipped == 0:
		fmt.Fprintln(x.app.Err, "wattbus: no usage point is chosen: look at --path, --feeder and --tariff")
	case s.Rows == 0 && s.Summary.Points > 0:
		fmt.Fprintf(x.app.Err, "wattbus: nothing was known of that time at %s\n", s.Known)
	}
	if n := s.Summary.Skipped; n > 0 {
		for _, line := range leftOut(s.Left) {
			fmt.Fprintln(x.app.Err, "wattbus: "+line)
		}
		return fmt.Errorf("%d of %d usage points are left out; the manifest names them", n, s.Summary.Points+n)
	}
	return nil
}

// leftOut tells why usage points are left out, a line for each reason.
func leftOut(all []export.Skipped) []string {
	var reasons []string
	points := map[string][]string{}
	for _, k := range all {
		if points[k.Reason] == nil {
			reasons = append(reasons, k.Reason)
		}
		points[k.Reason] = append(points[k.Reason], k.Point)
	}
	for i, r := range reasons {
		reasons[i] = "left out, such as " + strings.Join(points[r], " ") + ": " + r
	}
	return reasons
}

func manifestOf(file string) string { return file + "." + exportfile.Manifest }

// partsOf is the directory in which the parts of a single file are gathered.
func partsOf(file string) string { return file + ".parts" }

// checkOut refuses a name that looks like a file of another format: it would become a directory.
func (x *exportFlags) checkOut() error {
	if !slices.Contains(export.Formats(), export.Format(x.q.Format)) {
		return usagef("flag --format: %q, want csv, parquet, espi or cim", x.q.Format)
	}
	if info, err := os.Stat(x.out); err == nil && info.IsDir() || strings.HasSuffix(x.out, string(filepath.Separator)) {
		return nil
	}
	want := export.Format(x.q.Format).Extension()
	switch ext := filepath.Ext(x.out); ext {
	case ".csv", ".parquet", ".xml", ".txt", ".json", ".tsv", ".xlsx", ".gz", ".zip":
		if ext != want {
			return usagef("flag --out: %s: a file of format %s ends in %s; for a directory put a %c behind it", x.out, x.q.Format, want, filepath.Separator)
		}
	}
	return nil
}

// place tells a file from a directory by its ending.
func (x *exportFlags) place() (file, dir string) {
	if strings.HasSuffix(x.out, export.Format(x.q.Format).Extension()) {
		return x.out, partsOf(x.out)
	}
	return "", x.out
}

// complete fills in what follows from other flags, and from an export that waits to be continued.
func (x *exportFlags) complete(ctx context.Context, src exportSource) error {
	if x.q.Format == "" {
		x.q.Format = string(export.CSV)
		switch filepath.Ext(x.out) {
		case ".parquet":
			x.q.Format = string(export.Parquet)
		case ".xml":
			return usagef("flag --format: %s may be espi or cim: say which", x.out)
		}
	}
	if err := x.checkOut(); err != nil {
		return err
	}
	if x.month != "" {
		if x.q.From != "" || x.q.To != "" {
			return usagef("flag --month: it stands for --from and --to; give either")
		}
		t, err := time.Parse("2006-01", x.month)
		if err != nil {
			return usagef("flag --month: %q, want a month such as 2026-03", x.month)
		}
		x.q.From, x.q.To = t.Format(time.DateOnly), t.AddDate(0, 1, 0).Format(time.DateOnly)
	}
	if x.sinceRun != "" {
		run, err := src.run(ctx, x.sinceRun)
		if err != nil {
			return err
		}
		if x.q.What != "intervals" && x.q.What != string(export.Changes) {
			return usagef("flag --what: --since-run tells changes, not %s; leave it out", x.q.What)
		}
		if x.q.From != "" || x.q.Since != "" || len(x.q.Meters) > 0 || x.q.Path+x.q.Feeder+x.q.Tariff+x.q.Zone != "" {
			return usagef("flag --since-run: the run says which period and which usage points; leave out --from, --to, --since and the filters")
		}
		format, points, known := x.q.Format, x.q.Points, x.q.Known
		x.q = run
		x.q.Since, x.q.What, x.q.Format, x.q.Points, x.q.Known, x.q.Calendar, x.q.Split = run.Known, string(export.Changes), format, points, known, "", false
		x.q.Run = x.sinceRun
	}
	if x.run != "" {
		x.q.Run = x.run
	}
	if x.q.From == "" || x.q.To == "" {
		return usagef("flags --from and --to: say of which time: --from 2018-11-01 --to 2018-12-01, or --month 2018-11")
	}
	if x.q.Points < 1 || x.q.Points > 100_000 {
		return usagef("flag --part: value %d, want 1 to 100000", x.q.Points)
	}
	x.q.Split = x.q.Format == string(export.ESPI) && filepath.Ext(x.out) != ".xml"
	for _, t := range []struct {
		flag string
		text *string
	}{{"as-known-at", &x.q.Known}, {"since", &x.q.Since}} {
		at, err := parseTime(t.flag, *t.text)
		if err != nil {
			return err
		}
		if at != nil {
			*t.text = at.UTC().Format(time.RFC3339)
		}
	}
	_, dir := x.place()
	old, _, there, err := exportfile.Unfinished(dir)
	if err != nil {
		return err
	}
	if !there {
		if err := empty(dir); err != nil {
			return err
		}
	}
	if x.run != "" {
		if x.q.Known != "" || x.q.What == string(export.Changes) {
			return usagef("flag --run: the run says as of when values are known; leave out --as-known-at, --since and --what changes")
		}
		// What cannot be exported keeps no name.
		probe := *x
		probe.q.Known = time.Now().UTC().Format(time.RFC3339)
		q, err := probe.question()
		if err != nil {
			return err
		}
		if err := src.prepare(q); err != nil {
			return err
		}
		known, err := src.keepRun(ctx, x.run, x.q)
		if err != nil {
			return err
		}
		x.q.Known = known.UTC().Format(time.RFC3339)
	}
	if x.moment = x.q.Known != ""; !x.moment {
		if there {
			x.q.Known = old.Known
			return nil
		}
		now, err := src.now(ctx)
		if err != nil {
			return err
		}
		x.q.Known = now.Add(-time.Second).UTC().Format(time.RFC3339)
	}
	return nil
}

// empty refuses a directory that holds something that is no export.
func empty(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, n := range names {
		if !strings.HasPrefix(n.Name(), ".unfinished") {
			return fmt.Errorf("flag --out: %s %w (%s): take a directory that is missing or empty", dir, exportfile.ErrOther, n.Name())
		}
	}
	return nil
}

// question reads the question as package export asks it.
func (x *exportFlags) question() (*export.Question, error) {
	q := &export.Question{Format: export.Format(x.q.Format), What: export.What(x.q.What), Meters: x.q.Meters, Path: x.q.Path, Feeder: x.q.Feeder,
		Tariff: x.q.Tariff, Default: x.q.Calendar}
	var err error
	if q.Period, err = export.ParsePeriod(x.q.From, x.q.To); err != nil {
		return nil, &usageError{err: err}
	}
	if x.q.Zone != "" {
		if q.Zone, err = tariff.LoadZone(x.q.Zone); err != nil {
			return nil, usagef("flag --zone: %w", err)
		}
	}
	if q.Known, err = time.Parse(time.RFC3339, x.q.Known); err != nil {
		return nil, err
	}
	if x.q.Since != "" {
		if q.Since, err = time.Parse(time.RFC3339, x.q.Since); err != nil {
			return nil, err
		}
	}
	if err := export.Check(q.Format, q.What); err != nil {
		return nil, &usageError{err: err, hint: "wattbus export"}
	}
	return q, nil
}

// already reports whether the file of an earlier run of the same question is there and whole.
func (x *exportFlags) already(ctx context.Context, file string) (bool, error) {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	sum, q, err := exportfile.VerifyFile(ctx, file, manifestOf(file))
	if err != nil {
		return false, fmt.Errorf("flag --out: %s is there already: %w; take another name, or remove it", file, err)
	}
	asked := x.q
	if !x.moment {
		asked.Known = q.Known
	}
	if !q.Same(&asked) {
		return false, fmt.Errorf("flag --out: %s %w: a finished export of another question; take another name", file, exportfile.ErrOther)
	}
	if err := os.RemoveAll(partsOf(file)); err != nil { // of a run that was killed behind the last step but one
		return false, err
	}
	fmt.Fprintf(x.app.Err, "export: %s is whole already; for values as known now take another name, or remove it\n", file)
	x.q = q
	return true, x.tell(&exportSummary{Question: q, Summary: sum, Out: file, Manifest: manifestOf(file)})
}

// join makes one file of the parts, and leaves its manifest beside it.
func (x *exportFlags) join(ctx context.Context, e *exportfile.Export, q *export.Question, file, dir string) (exportfile.File, error) {
	whole, err := e.Join(ctx, q.Head(), file, manifestOf(file))
	if err != nil {
		return whole, err
	}
	return whole, os.RemoveAll(dir)
}

func (x *exportFlags) doVerify(ctx context.Context) error {
	bar := newProgress(x.app.Err, "verify")
	start := time.Now()
	if info, err := os.Stat(x.out); err == nil && !info.IsDir() {
		sum, q, err := exportfile.VerifyFile(ctx, x.out, manifestOf(x.out))
		if err != nil {
			return err
		}
		bar.finish(fmt.Sprintf("%s bytes are what the manifest says", thousands(sum.Bytes)))
		return x.tell(&exportSummary{Question: q, Summary: sum, Out: x.out, Manifest: manifestOf(x.out), Seconds: time.Since(start).Seconds()})
	}
	e := exportfile.Export{Dir: x.out, Progress: func(exportfile.Summary, bool) {}}
	q, whole, there, err := exportfile.Unfinished(x.out)
	if err == nil && (!there || !whole) {
		err = fmt.Errorf("%s holds no finished export", x.out)
	}
	if err != nil {
		return err
	}
	sum, err := e.Verify(ctx)
	if err != nil {
		bar.clear()
		return err
	}
	bar.finish(fmt.Sprintf("%s files with %s bytes are what the manifest says", thousands(sum.Files), thousands(sum.Bytes)))
	return x.tell(&exportSummary{Question: q, Summary: sum, Out: x.out, Manifest: filepath.Join(x.out, exportfile.Manifest), Seconds: time.Since(start).Seconds()})
}
