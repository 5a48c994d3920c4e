package web

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/tariff"
)

type exportIn struct {
	Format    string    `query:"format" enum:"csv,parquet,espi,cim" default:"csv" doc:"csv, parquet, espi (Green Button) or cim (MeterReadings of IEC 61968-9)."`
	What      string    `query:"what" enum:"intervals,registers,determinants,changes" default:"intervals" doc:"What to tell: intervals, registers at local midnights, determinants of bills, or what changed since a time."`
	From      string    `query:"from" required:"true" doc:"A date, of each usage point's own time zone, or an RFC 3339 time."`
	To        string    `query:"to" required:"true" doc:"The end, not included: a date if from is one, else a time."`
	Meter     []string  `query:"meter" doc:"Only these usage points or meters, with commas between or as a parameter for each."`
	Path      string    `query:"path" doc:"Only meters below these concentrators, such as C1/C7."`
	Feeder    string    `query:"feeder" maxLength:"255" doc:"Only usage points on this feeder."`
	Tariff    string    `query:"tariff" maxLength:"255" doc:"Only usage points with this tariff."`
	Calendar  string    `query:"calendar" maxLength:"64" doc:"The tariff calendar of usage points without a tariff; needed where there are several."`
	Zone      string    `query:"zone" maxLength:"64" doc:"The time zone of usage points without one; default UTC, or that of their calendar."`
	AsKnownAt time.Time `query:"asKnownAt" doc:"As known then, at the end of that second; default: the last second of which all is committed."`
	Since     time.Time `query:"since" doc:"Of changes: since when."`
	After     string    `query:"after" maxLength:"512" doc:"The Wattbus-Next of the part before."`
	Limit     int       `query:"limit" minimum:"1" maximum:"1000000" doc:"How many usage points to tell in this part; default all."`
	Count     bool      `query:"count" doc:"Tell how many usage points there are in all, in the header Wattbus-Total, in a part behind the first, too."`
	Skipped   int       `query:"skipped" minimum:"0" maximum:"1000" doc:"How many usage points that are left out Wattbus-Skipped may name; default as many as go into 2,048 bytes, which every client takes."`
	Split     bool      `query:"split" doc:"A document for each usage point, as multipart/mixed with file names."`
}

// The headers and trailers of an export.
const (
	exportTotal   = "Wattbus-Total"       // header: usage points in all
	exportKnown   = "Wattbus-As-Known-At" // header
	exportNext    = "Wattbus-Next"        // trailers from here on: cursor of the following part
	exportPoints  = "Wattbus-Points"
	exportRows    = "Wattbus-Rows"
	exportSkipped = "Wattbus-Skipped" // JSON: usage points that could not be told, with reasons; the first ones
	exportLeft    = "Wattbus-Left"    // how many there are of these
	exportSum     = "Wattbus-Sha256"
)

// skippedBytes bounds Wattbus-Skipped for who does not say that it takes more: Go's client takes trailers of 4 KiB in all.
const skippedBytes = 2048

// exportsPath is the call whose answer may be as long as all values.
const exportsPath = "/v1/exports"

// exportCalls registers GET /v1/exports.
func (s *Server) exportCalls(h huma.API) {
	op := operation("export", http.MethodGet, exportsPath, "export", "Export values",
		"Intervals, registers at midnight, determinants of bills or changes, of one usage point after the other, in a format for other programs. "+
			"The same question with the same asKnownAt gives the same bytes. The header Wattbus-Total tells how many usage points there are in all; the "+
			"trailers Wattbus-Points, Wattbus-Rows, Wattbus-Left (how many usage points could not be told), Wattbus-Skipped (the first of these, with reasons), Wattbus-Next (the cursor of the following part, empty on the last) and Wattbus-Sha256 "+
			"(of the body before compression) come with the end. A body that ends early has no trailers, and its connection is cut.")
	op.Responses = map[string]*huma.Response{"200": {Description: "The document", Content: map[string]*huma.MediaType{}}, "default": problemResponse(h)}
	for _, f := range export.Formats() {
		op.Responses["200"].Content[f.ContentType()] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	huma.Register(h, op, func(ctx context.Context, in *exportIn) (*huma.StreamResponse, error) {
		q, total, err := s.exportQuestion(ctx, in)
		if err != nil {
			return nil, s.asError(err)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			s.export(w, r, in, q, total)
		}}, nil
	})
}

type runPutIn struct {
	RunIn
	Body runBody
}

// RunIn is the part of a path that names a billing run.
type RunIn struct {
	Name string `path:"name" doc:"The run's name: letters, digits, '-', '_' and '.'."`
}

// runCalls registers the calls about billing runs.
func (s *Server) runCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("put-billing-run", http.MethodPut, "/v1/billing-runs/{name}", "export", "Keep a billing run",
		"Keeps the question under the name, with the second as of which it is answered. The answer tells asKnownAt, to be given to exports. The same "+
			"question again gives the same answer; another one is refused.")),
		func(ctx context.Context, in *runPutIn) (*out[api.BillingRun], error) {
			if err := s.checkRun(&in.Body); err != nil {
				return nil, s.asError(err)
			}
			return one[api.BillingRun, api.BillingRun](ctx, s, s.opt.LongAskTimeout, api.QueryRunPut, in.Body.run(in.Name, principal(ctx).Name))
		})
	huma.Register(h, withProblem(h, operation("get-billing-run", http.MethodGet, "/v1/billing-runs/{name}", "export", "Get a billing run", "")),
		func(ctx context.Context, in *RunIn) (*out[api.BillingRun], error) {
			return one[api.ByID, api.BillingRun](ctx, s, s.opt.AskTimeout, api.QueryRun, api.ByID{ID: in.Name})
		})
	huma.Register(h, withProblem(h, operation("list-billing-runs", http.MethodGet, "/v1/billing-runs", "export", "List billing runs", "By name.")),
		func(ctx context.Context, in *struct{ PageIn }) (*out[api.Page[api.BillingRun]], error) {
			return slicePage(ctx, s, api.QueryRuns, struct{}{}, in.PageIn, func(_ int, r api.BillingRun) string { return r.Name })
		})
}

// runBody is a billing run without what stands in the path and what the centre gives.
type runBody struct {
	What     string   `json:"what" enum:"intervals,registers,determinants"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Meters   []string `json:"meters,omitempty"`
	Path     string   `json:"path,omitempty"`
	Feeder   string   `json:"feeder,omitempty"`
	Tariff   string   `json:"tariff,omitempty"`
	Calendar string   `json:"calendar,omitempty"`
	Zone     string   `json:"zone,omitempty"`
}

func (b runBody) run(name, by string) api.BillingRun {
	return api.BillingRun{Name: name, By: by, What: b.What, From: b.From, To: b.To, Meters: b.Meters, Path: b.Path, Feeder: b.Feeder, Tariff: b.Tariff,
		Calendar: b.Calendar, Zone: b.Zone}
}

// checkRun refuses a run that nothing could be exported of: its name would be taken for good.
func (s *Server) checkRun(b *runBody) error {
	q := &export.Question{Format: export.CSV, What: export.What(b.What), Known: s.opt.Clock.Now(), Default: b.Calendar, Calendar: s.opt.Calendars()}
	var err error
	if q.Period, err = export.ParsePeriod(b.From, b.To); err != nil {
		return err
	}
	if b.Zone != "" {
		if q.Zone, err = tariff.LoadZone(b.Zone); err != nil {
			return api.BadRequest("zone", "%v", err)
		}
	}
	return q.Check()
}

// exportSource asks the MDMS.
func (s *Server) exportSource(ctx context.Context, q api.ExportQuery) (api.ExportPage, error) {
	return askWithin[api.ExportQuery, api.ExportPage](ctx, s, s.opt.LongAskTimeout, api.QueryExport, q)
}

// exportQuestion checks what is asked for, and asks how many usage points there are.
func (s *Server) exportQuestion(ctx context.Context, in *exportIn) (*export.Question, int, error) {
	q := &export.Question{Format: export.Format(in.Format), What: export.What(in.What), Known: in.AsKnownAt, Since: in.Since, Meters: in.Meter, Path: in.Path,
		Feeder: in.Feeder, Tariff: in.Tariff, Default: in.Calendar, Calendar: s.opt.Calendars()}
	var err error
	if q.Period, err = export.ParsePeriod(in.From, in.To); err != nil {
		return nil, 0, err
	}
	if in.Zone != "" {
		if q.Zone, err = tariff.LoadZone(in.Zone); err != nil {
			return nil, 0, api.BadRequest("zone", "%v", err)
		}
	}
	if in.Split && q.Format == export.Parquet {
		return nil, 0, api.BadRequest("split", "parquet files of one usage point are not made; take csv, espi or cim")
	}
	if q.Known.IsZero() {
		q.Known = s.opt.Clock.Now()
	}
	if err := q.Check(); err != nil {
		return nil, 0, err
	}
	total, err := q.Count(ctx, s.exportSource, in.After, in.Count || in.After == "", in.AsKnownAt.IsZero())
	return q, total, err
}

func (s *Server) export(w http.ResponseWriter, r *http.Request, in *exportIn, q *export.Question, total int) {
	h := w.Header()
	h.Set("Content-Type", q.Format.ContentType())
	for _, k := range []string{exportNext, exportPoints, exportRows, exportLeft, exportSkipped, exportSum} {
		h.Add("Trailer", k) // RFC 9110, 6.6.2
	}
	if in.Count || in.After == "" {
		h.Set(exportTotal, strconv.Itoa(total))
	}
	h.Set(exportKnown, q.Known.UTC().Format(time.RFC3339))
	out := &exportBody{w: w, rc: http.NewResponseController(w), within: s.opt.WriteTimeout, sum: sha256.New()}
	if err := out.rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	var res export.Result
	var err error
	if in.Split {
		res, err = s.exportSplit(r.Context(), h, out, in, q)
	} else {
		res, err = q.Document(r.Context(), s.exportSource, in.After, in.Limit, out)
	}
	if err != nil {
		if r.Context().Err() == nil {
			s.log.Error("export cut", "remote", r.RemoteAddr, "points", res.Points, "error", err)
		}
		if out.n == 0 {
			var p statusProblem
			if !errors.As(s.asError(err), &p) {
				p = statusProblem{problem(http.StatusInternalServerError, "")}
			}
			h.Del("Trailer")
			writeProblem(w, p.Problem)
			return
		}
		panic(http.ErrAbortHandler) // the head is out: only a cut connection tells that this is not all
	}
	for k, v := range map[string]string{exportPoints: strconv.Itoa(res.Points), exportRows: strconv.FormatInt(res.Rows, 10), exportNext: res.Next,
		exportLeft: strconv.Itoa(res.Left()), exportSkipped: string(skippedJSON(res.Skipped, in.Skipped)), exportSum: fmt.Sprintf("%x", out.sum.Sum(nil))} {
		h.Set(k, v)
	}
}

// skippedJSON tells the first usage points that were left out: up to a number of them or, where that is 0, as many as skippedBytes hold.
func skippedJSON(all []export.Skipped, most int) []byte {
	out := []byte("[")
	for i := range all {
		one, err := json.Marshal(&all[i])
		if err != nil || most > 0 && i >= most || most == 0 && len(out)+len(one)+2 > skippedBytes {
			break
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, one...)
	}
	return append(out, ']')
}

// exportSplit writes a document for each usage point that has rows.
func (s *Server) exportSplit(ctx context.Context, h http.Header, out io.Writer, in *exportIn, q *export.Question) (export.Result, error) {
	mw := multipart.NewWriter(out)
	// The same bytes for the same question: the boundary follows from it, and stands in no document of a usage point.
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", *in))
	if err := mw.SetBoundary(fmt.Sprintf("wattbus-%x", sum[:16])); err != nil {
		return export.Result{}, err
	}
	h.Set("Content-Type", "multipart/mixed; boundary="+mw.Boundary())
	rows := int64(0)
	res, err := q.Each(ctx, s.exportSource, in.After, in.Limit, func(p *export.Point) error {
		part, err := mw.CreatePart(textproto.MIMEHeader{
			"Content-Type":        {q.Format.ContentType()},
			"Content-Disposition": {`attachment; filename="` + export.FileName(p.ID) + q.Format.Extension() + `"`},
		})
		if err != nil {
			return err
		}
		doc, err := export.New(q.Head(), part)
		if err != nil {
			return err
		}
		if err := doc.Point(p); err != nil {
			return err
		}
		rows += doc.Rows()
		return doc.Close()
	})
	if err != nil {
		return res, err
	}
	res.Rows = rows
	return res, mw.Close()
}

// exportBody sums up a body, and gives a client that takes nothing only so long.
type exportBody struct {
	w      io.Writer
	rc     *http.ResponseController
	within time.Duration
	sum    hash.Hash
	n      int64
	since  time.Time
}

func (b *exportBody) Write(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.since) > b.within/10 {
		b.since = now
		if err := b.rc.SetWriteDeadline(now.Add(b.within)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
	}
	n, err := b.w.Write(p)
	b.n += int64(n)
	b.sum.Write(p[:n])
	return n, err
}
