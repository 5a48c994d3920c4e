package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wattbus/wattbus/internal/api"
)

// The two calls whose bodies may be of any length.
const (
	importPath = "/v1/registry/import"
	exportPath = "/v1/registry/export"
)

const (
	importPiece  = 256 << 10        // bytes of a file that are handed on at once
	importFinish = 10 * time.Minute // for the last piece, with which everything is checked together and kept
)

// TimesIn are the two times of a question about the registry.
type TimesIn struct {
	At    time.Time `query:"at" doc:"For when it is asked; default now."`
	Known time.Time `query:"known" doc:"As it was known at this time; default now."`
}

// UsagePointIn is the part of a path that names a usage point.
type UsagePointIn struct {
	ID string `path:"id" maxLength:"64" doc:"The usage point's id."`
}

type usagePointsIn struct {
	PageIn
	TimesIn
	Substation  string `query:"substation" maxLength:"64" doc:"Only those of this substation."`
	Feeder      string `query:"feeder" maxLength:"64" doc:"Only those on this feeder."`
	Transformer string `query:"transformer" maxLength:"64" doc:"Only those behind this transformer."`
	Contract    string `query:"contract" enum:"active,vacant,disconnected" doc:"Only those in this state."`
	Tag         string `query:"tag" maxLength:"64" doc:"Only those with this tag."`
	Q           string `query:"q" maxLength:"64" doc:"Only those whose id contains this."`
}

type usagePointIn struct {
	UsagePointIn
	TimesIn
}

type usagePointHistoryIn struct {
	UsagePointIn
	PageIn
}

type exchangeIn struct {
	UsagePointIn
	IfMatchIn
	Body exchangeBody
}

type exchangeBody struct {
	Time        time.Time `json:"time,omitempty" doc:"When it was done; default now."`
	OldImport   *uint64   `json:"oldImport,omitempty" doc:"Final import register of the old meter, Wh."`
	OldExport   *uint64   `json:"oldExport,omitempty" doc:"Its final export register, Wh."`
	Meter       string    `json:"meter,omitempty" maxLength:"23" doc:"The new meter; none: the old one is taken out only."`
	FirstImport *uint64   `json:"firstImport,omitempty" doc:"First import register of the new meter, Wh."`
	FirstExport *uint64   `json:"firstExport,omitempty" doc:"Its first export register, Wh."`
	Serial      string    `json:"serial,omitempty" maxLength:"64" doc:"Its serial number."`
	Dials       int       `json:"dials,omitempty" minimum:"0" maximum:"12" doc:"Digits of its registers, kWh."`
	Reason      string    `json:"reason,omitempty" maxLength:"64" doc:"Why."`
	By          string    `json:"by,omitempty" maxLength:"64" doc:"Who did it."`
}

type retireIn struct {
	MeterIn
	Body retireBody
}

type retireBody struct {
	Time      time.Time `json:"time,omitempty" doc:"Since when; default now."`
	OldImport *uint64   `json:"oldImport,omitempty" doc:"Final import register, Wh, of a meter that is at a usage point."`
	OldExport *uint64   `json:"oldExport,omitempty" doc:"Final export register, Wh."`
	Reason    string    `json:"reason,omitempty" maxLength:"64" doc:"Why."`
	By        string    `json:"by,omitempty" maxLength:"64" doc:"Who says so."`
}

type importIn struct {
	DryRun bool   `query:"dryRun" doc:"Check and count only."`
	By     string `query:"by" maxLength:"64" doc:"Who does it."`
}

type registryExportIn struct {
	Known time.Time `query:"known" doc:"As it was known at this time; default now."`
}

// registryCalls registers the calls about the registry.
func (s *Server) registryCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-usage-points", http.MethodGet, "/v1/usage-points", "registry", "List usage points",
		"By id, as they were `at` a time and as `known` at another.")),
		func(ctx context.Context, in *usagePointsIn) (*out[api.Page[api.UsagePoint]], error) {
			return page[api.UsagePointQuery, api.UsagePoint](ctx, s, s.opt.LongAskTimeout, api.QueryUsagePoints, api.UsagePointQuery{Paging: in.paging(),
				Substation: in.Substation, Feeder: in.Feeder, Transformer: in.Transformer, Contract: in.Contract, Tag: in.Tag, Q: in.Q, At: in.At, Known: in.Known})
		})
	huma.Register(h, withProblem(h, operation("get-usage-point", http.MethodGet, "/v1/usage-points/{id}", "registry", "Get a usage point",
		"With all meters that ever were there, as known at the time.")),
		func(ctx context.Context, in *usagePointIn) (*out[api.UsagePoint], error) {
			return one[api.UsagePointByID, api.UsagePoint](ctx, s, s.opt.AskTimeout, api.QueryUsagePoint, api.UsagePointByID{ID: in.ID, At: in.At, Known: in.Known})
		})
	huma.Register(h, withProblem(h, operation("list-usage-point-history", http.MethodGet, "/v1/usage-points/{id}/history", "registry", "List what was recorded of a usage point",
		"Everything that was ever said of it, in the order of recording: nothing is overwritten.")),
		func(ctx context.Context, in *usagePointHistoryIn) (*out[api.Page[api.UsagePointEntry]], error) {
			// Nothing in it ever changes its place, so a place is a cursor.
			return slicePage(ctx, s, api.QueryUsagePointHistory, api.ByID{ID: in.ID}, in.PageIn, func(i int, _ api.UsagePointEntry) string { return strconv.Itoa(i + 1) })
		})
	huma.Register(h, withProblem(h, operation("exchange-meter", http.MethodPost, "/v1/usage-points/{id}/exchange", "registry", "Exchange a meter",
		"Closes the chain of one meter's registers and opens the next one's.")),
		func(ctx context.Context, in *exchangeIn) (*out[api.UsagePoint], error) {
			b := in.Body
			q := api.MeterExchange{UsagePoint: in.ID, Time: b.Time, OldImport: b.OldImport, OldExport: b.OldExport, Meter: b.Meter, FirstImport: b.FirstImport,
				FirstExport: b.FirstExport, Serial: b.Serial, Dials: b.Dials, Reason: b.Reason, By: by(ctx, b.By)}
			if len(in.IfMatch) > 0 {
				u, err := ask[api.UsagePointByID, api.UsagePoint](ctx, s, api.QueryUsagePoint, api.UsagePointByID{ID: in.ID})
				if err = in.matches("usage point "+in.ID, u, err); err != nil {
					return nil, s.asError(err)
				}
				q.Was = &u.Meter
			}
			return one[api.MeterExchange, api.UsagePoint](ctx, s, s.opt.LongAskTimeout, api.QueryMeterExchange, q)
		})
	huma.Register(h, withProblem(h, operation("retire-meter", http.MethodPost, "/v1/meters/{id}/retire", "registry", "Retire a meter",
		"It never comes back: it is taken out of its usage point, nothing is expected of it any more, and what it still sends is ignored.")),
		func(ctx context.Context, in *retireIn) (*out[api.Retired], error) {
			b := in.Body
			return one[api.MeterRetirement, api.Retired](ctx, s, s.opt.LongAskTimeout, api.QueryMeterRetire,
				api.MeterRetirement{ID: in.ID, Time: b.Time, OldImport: b.OldImport, OldExport: b.OldExport, Reason: b.Reason, By: by(ctx, b.By)})
		})
	s.registryFiles(h)
}

// registryFiles registers import and export.
func (s *Server) registryFiles(h huma.API) {
	text := map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}}
	op := withProblem(h, operation("import-registry", http.MethodPost, importPath, "registry", "Import the registry",
		"CSV as described in docs/registry.md, of any length. All of it is applied or nothing: a problem document tells every wrong line."))
	op.RequestBody = &huma.RequestBody{Required: true, Content: text}
	op.Responses["200"] = &huma.Response{Description: "What was changed, or would be", Content: map[string]*huma.MediaType{
		"application/json": {Schema: h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.RegistryImport](), true, "RegistryImport")}}}
	huma.Register(h, op, func(_ context.Context, in *importIn) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			done, err := s.importRegistry(r, w, in)
			if err != nil {
				var p statusProblem
				if !errors.As(s.asError(err), &p) {
					p.Problem = problem(http.StatusInternalServerError, "the import failed")
				}
				writeProblem(w, p.Problem)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(done) // a client that is gone reads nothing
		}}, nil
	})
	op = withProblem(h, operation("export-registry", http.MethodGet, exportPath, "registry", "Export the registry", "The CSV that an import reads."))
	op.Responses["200"] = &huma.Response{Description: "The registry", Content: text}
	huma.Register(h, op, func(_ context.Context, in *registryExportIn) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			s.exportRegistry(r, w, in)
		}}, nil
	})
}

// by is who makes a change: the principal where there are several, else who the client says.
func by(ctx context.Context, said string) string {
	if p := principal(ctx); p.Name != "" && (p.Name != whole.Name || said == "") {
		return p.Name
	}
	return said
}

// extend gives a request another while.
func extend(w http.ResponseWriter, by time.Duration) {
	rc := http.NewResponseController(w)
	end := time.Now().Add(by)
	// A server without deadlines, as in tests, has none to set; another one that cannot set them ends the request by itself.
	_, _ = rc.SetReadDeadline(end), rc.SetWriteDeadline(end)
}

// importRegistry hands a file on piece by piece, each when the one before it was taken.
func (s *Server) importRegistry(r *http.Request, w http.ResponseWriter, in *importIn) (api.RegistryImport, error) {
	p := api.RegistryPart{Session: rand.Text(), DryRun: in.DryRun, By: by(r.Context(), in.By)}
	piece := make([]byte, importPiece)
	for ; ; p.Number++ {
		extend(w, s.opt.LongAskTimeout+30*time.Second)
		n, err := readPiece(r.Body, piece)
		// Only this error is the end: a body that was cut ends with io.ErrUnexpectedEOF.
		p.Data, p.Last = piece[:n], err == io.EOF //nolint:errorlint // one that wraps it is no end
		if err != nil && !p.Last {
			s.abortImport(p)
			return api.RegistryImport{}, problem(http.StatusBadRequest, fmt.Sprintf("the file did not come to its end, nothing was changed: %v", err))
		}
		within := s.opt.LongAskTimeout
		if p.Last {
			within = importFinish
			extend(w, importFinish+30*time.Second)
		}
		got, err := askWithin[api.RegistryPart, api.RegistryImport](r.Context(), s, within, api.QueryRegistryImport, p)
		if err != nil || p.Last {
			if err != nil && !p.Last {
				_, _ = io.CopyN(io.Discard, r.Body, 64<<20) // so that the client reads the answer rather than to fail in writing
			}
			return got, err
		}
	}
}

// readPiece fills b as far as the body goes, with the body's own error.
func readPiece(body io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = body.Read(b[n:])
		n += k
	}
	return n, err
}

// abortImport has the MDMS forget what came; if it does not hear that, it forgets by itself after a minute.
func (s *Server) abortImport(p api.RegistryPart) {
	if p.Number > 0 {
		_, _ = askWithin[api.RegistryPart, api.RegistryImport](context.Background(), s, s.opt.AskTimeout, api.QueryRegistryImport,
			api.RegistryPart{Session: p.Session, Number: p.Number, Abort: true})
	}
}

func (s *Server) exportRegistry(r *http.Request, w http.ResponseWriter, in *registryExportIn) {
	q := api.RegistryExport{Known: in.Known, First: true}
	for {
		got, err := askWithin[api.RegistryExport, api.RegistryText](r.Context(), s, s.opt.LongAskTimeout, api.QueryRegistryExport, q)
		if err != nil {
			var p statusProblem
			if q.First && errors.As(s.asError(err), &p) {
				writeProblem(w, p.Problem)
				return
			}
			s.log.Warn("export of the registry was cut", "error", err)
			panic(http.ErrAbortHandler) // so that nobody takes it for the end
		}
		if q.First {
			w.Header().Set("Content-Type", "text/csv; charset=utf-8")
			w.Header().Set("Content-Disposition", `attachment; filename="registry.csv"`)
		}
		extend(w, s.opt.LongAskTimeout+30*time.Second)
		if _, err := w.Write(got.Data); err != nil || got.Next == "" {
			return
		}
		q = api.RegistryExport{Cursor: got.Next, Known: got.Known}
	}
}
