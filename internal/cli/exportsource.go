package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/dirlock"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/exportfile"
	"github.com/wattbus/wattbus/internal/mdms"
)

// exportSource is where an export's values come from.
type exportSource interface {
	now(ctx context.Context) (time.Time, error)
	// prepare checks the question before anything is written.
	prepare(q *export.Question) error
	part(ctx context.Context, q *export.Question, asked exportfile.Question, after string, limit int, begin func() error, to exportfile.Sink) (res export.Result, total int, err error)
	run(ctx context.Context, name string) (exportfile.Question, error)
	// keepRun keeps the question under a name and returns the time for which it is frozen.
	keepRun(ctx context.Context, name string, q exportfile.Question) (known time.Time, err error)
	close()
}

func (x *exportFlags) source(ctx context.Context) (exportSource, error) {
	if x.data == "" {
		if len(x.calendars) > 0 {
			return nil, usagef("flag --calendars: a running centre has calendars of its own (wattbus center --calendars)")
		}
		client, err := x.server.client()
		if err != nil {
			return nil, err
		}
		return &remoteExport{client: client, log: x.app.Err}, nil
	}
	calendars, err := export.LoadCalendars(x.calendars...)
	if err != nil {
		return nil, &usageError{err: err}
	}
	o := centerOptions{data: x.data, storeURL: x.storeURL}
	if o.storeURL == "" { // before the lock, which would make the directory
		if _, err := os.Stat(filepath.Join(o.data, "wattbus.db")); err != nil {
			return nil, fmt.Errorf("flag --data: no store of a centre below %s: %w", o.data, err)
		}
	}
	release, err := dirlock.Take(x.data)
	if errors.Is(err, dirlock.ErrInUse) {
		return nil, fmt.Errorf("flag --data: a centre runs on %s: ask it (--server) instead", x.data)
	}
	if err != nil {
		return nil, fmt.Errorf("flag --data: %w", err)
	}
	st, err := o.openStore(ctx, true)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	clk, err := keptTime(o.data)
	if err != nil {
		return nil, errors.Join(err, st.Close(), release())
	}
	books, err := mdms.OpenBooks(ctx, st, clk, nil)
	if err != nil {
		return nil, errors.Join(err, st.Close(), release())
	}
	return &localExport{books: books, clock: clk, calendars: calendars, release: func() error { return errors.Join(st.Close(), release()) }, log: x.app.Err}, nil
}

// keptTime is the business time of a centre that does not run: where "up" stopped, else now.
func keptTime(dir string) (*clock.Clock, error) {
	path := filepath.Join(dir, clockName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return clock.Real(), nil
	}
	k, err := openClock(path, time.Time{}, time.Time{}, 1)
	if err != nil {
		return nil, err
	}
	return k.clock, nil
}

// remoteExport asks a running centre.
type remoteExport struct {
	client *apiclient.Client
	log    io.Writer
	total  int // usage points in all; 0: not asked yet
}

func (r *remoteExport) close() { r.client.Close() }

func (r *remoteExport) prepare(*export.Question) error { return nil } // the centre checks it

func (r *remoteExport) now(ctx context.Context) (time.Time, error) {
	t, err := r.client.Totals(ctx)
	return t.Time, err
}

func (r *remoteExport) run(ctx context.Context, name string) (exportfile.Question, error) {
	b, err := r.client.BillingRun(ctx, name)
	return exportfile.Question{What: b.What, From: b.From, To: b.To, Known: b.Known.UTC().Format(time.RFC3339), Meters: b.Meters, Path: b.Path, Feeder: b.Feeder,
		Tariff: b.Tariff, Calendar: b.Calendar, Zone: b.Zone}, err
}

func (r *remoteExport) keepRun(ctx context.Context, name string, q exportfile.Question) (time.Time, error) {
	b, err := r.client.PutBillingRun(ctx, api.BillingRun{Name: name, What: q.What, From: q.From, To: q.To, Meters: q.Meters, Path: q.Path, Feeder: q.Feeder, Tariff: q.Tariff,
		Calendar: q.Calendar, Zone: q.Zone})
	return b.Known, err
}

// exportTries is how often a part is asked for before the export gives up, to be continued later.
const exportTries = 6

func (r *remoteExport) part(ctx context.Context, _ *export.Question, asked exportfile.Question, after string, limit int, begin func() error, to exportfile.Sink) (res export.Result, total int, err error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	for k, v := range map[string]string{"format": asked.Format, "what": asked.What, "from": asked.From, "to": asked.To, "asKnownAt": asked.Known, "since": asked.Since, "path": asked.Path,
		"feeder": asked.Feeder, "tariff": asked.Tariff, "calendar": asked.Calendar, "zone": asked.Zone, "after": after, "meter": strings.Join(asked.Meters, ",")} {
		if v != "" {
			query.Set(k, v)
		}
	}
	if asked.Split {
		query.Set("split", "true")
	}
	if r.total == 0 {
		query.Set("count", "true")
	}
	wait := time.Second
	for try := 1; ; try++ {
		if err := begin(); err != nil {
			return res, total, err
		}
		var sink *sinkError
		res, total, err = r.try(ctx, query, to)
		var p *api.Problem
		switch {
		case err == nil:
			if total >= 0 {
				r.total = total
			}
			return res, r.total, nil
		case ctx.Err() != nil, errors.As(err, &p) && p.Status < 500, errors.As(err, &sink), try == exportTries:
			return res, total, err
		}
		fmt.Fprintf(r.log, "\nexport: %v; trying again in %v\n", err, wait)
		select {
		case <-ctx.Done():
			return res, total, ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, 30*time.Second)
	}
}

// sinkError is a failure of the disk that is written to: trying again does not help.
type sinkError struct{ error }

func (e *sinkError) Unwrap() error { return e.error }

// sinkWriter marks errors of what is written to.
type sinkWriter struct{ w io.Writer }

func (s sinkWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		err = &sinkError{err}
	}
	return n, err
}

func (r *remoteExport) try(ctx context.Context, query url.Values, to exportfile.Sink) (res export.Result, total int, err error) {
	x, err := r.client.Export(ctx, query)
	if err != nil {
		return res, 0, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	kind, params, err := mime.ParseMediaType(x.ContentType)
	if err != nil {
		return res, x.Total, fmt.Errorf("export: content type %q: %w", x.ContentType, err)
	}
	copyTo := func(name string, from io.Reader) error {
		w, err := to(name)
		if err != nil {
			return &sinkError{err}
		}
		_, err = io.Copy(sinkWriter{w}, from)
		return err
	}
	if kind != "multipart/mixed" {
		if err := copyTo("", x); err != nil {
			return res, x.Total, err
		}
		res, err = x.End()
		return res, x.Total, err
	}
	parts := multipart.NewReader(x, params["boundary"])
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			res, err = x.End()
			return res, x.Total, err
		}
		if err != nil {
			return res, x.Total, err
		}
		if err := copyTo(p.FileName(), p); err != nil {
			return res, x.Total, err
		}
	}
}

// localExport reads the books of a centre that does not run.
type localExport struct {
	books     *mdms.Books
	clock     *clock.Clock
	calendars export.CalendarSet
	release   func() error
	log       io.Writer
	total     int
	counted   bool
}

func (l *localExport) close() {
	if err := l.release(); err != nil {
		fmt.Fprintf(l.log, "wattbus: closing the store: %v\n", err)
	}
}

func (l *localExport) now(context.Context) (time.Time, error) { return l.clock.Now(), nil }

func (l *localExport) prepare(q *export.Question) error {
	q.Calendar = l.calendars
	if err := q.Check(); err != nil {
		return &usageError{err: err}
	}
	return nil
}

func (l *localExport) part(ctx context.Context, q *export.Question, asked exportfile.Question, after string, limit int, begin func() error, to exportfile.Sink) (res export.Result, total int, err error) {
	if err := begin(); err != nil {
		return res, 0, err
	}
	if !l.counted {
		if l.total, err = q.Count(ctx, l.books.Export, "", true, false); err != nil {
			return res, 0, err
		}
		l.counted = true
	}
	if !asked.Split {
		w, err := to("")
		if err != nil {
			return res, l.total, err
		}
		res, err = q.Document(ctx, l.books.Export, after, limit, w)
		return res, l.total, err
	}
	rows := int64(0)
	res, err = q.Each(ctx, l.books.Export, after, limit, func(p *export.Point) error {
		w, err := to(export.FileName(p.ID) + q.Format.Extension())
		if err != nil {
			return err
		}
		doc, err := export.New(q.Head(), w)
		if err != nil {
			return err
		}
		if err := doc.Point(p); err != nil {
			return err
		}
		rows += doc.Rows()
		return doc.Close()
	})
	res.Rows = rows
	return res, l.total, err
}

func (l *localExport) run(context.Context, string) (exportfile.Question, error) {
	return exportfile.Question{}, errors.New("flag --since-run: billing runs are kept by a running centre: ask it (--server), or give --what changes --since with the time of the run's manifest")
}

func (l *localExport) keepRun(context.Context, string, exportfile.Question) (time.Time, error) {
	return time.Time{}, errors.New("flag --run: billing runs are kept by a running centre: ask it (--server)")
}
