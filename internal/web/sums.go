package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

// SliceIn selects one slot, or one UTC day, of many meters.
type SliceIn struct {
	PageIn
	At          time.Time `query:"at" doc:"A time in the slot; default the last one that has ended."`
	Minutes     int       `query:"minutes" minimum:"1" maximum:"1440" default:"30" doc:"The slot's length; it divides a day."`
	Day         string    `query:"day" maxLength:"10" doc:"A whole UTC day in place of a slot, such as 2026-11-28."`
	Channel     string    `query:"channel" enum:"import,export" default:"import" doc:"The register."`
	Path        string    `query:"path" doc:"Only meters below these concentrators."`
	Substation  string    `query:"substation" maxLength:"64" doc:"Only meters of this substation."`
	Feeder      string    `query:"feeder" maxLength:"64" doc:"Only meters on this feeder."`
	Transformer string    `query:"transformer" maxLength:"64" doc:"Only meters behind this transformer."`
	Raw         bool      `query:"raw" doc:"Sums of what meters told, without estimates and edits. Who is missing is always told of that."`
}

func (in *SliceIn) query() api.SumQuery {
	return api.SumQuery{Paging: in.paging(), At: in.At, Minutes: in.Minutes, Day: in.Day, Channel: in.Channel, Path: in.Path,
		Substation: in.Substation, Feeder: in.Feeder, Transformer: in.Transformer, Raw: in.Raw}
}

type sumsIn struct {
	SliceIn
	By string `query:"by" enum:"path,substation,feeder,transformer" doc:"What to add up by; none: only the total."`
}

type completeByIn struct {
	PageIn
	By   string    `query:"by" required:"true" enum:"concentrator,substation,feeder,transformer,age" doc:"What to count by."`
	From time.Time `query:"from" doc:"Start of the span; default the oldest interval."`
	To   time.Time `query:"to" doc:"End of the span, not included; default now."`
}

type completeHoursIn struct {
	PageIn
	By      string    `query:"by" enum:"concentrator,substation,feeder,transformer" default:"concentrator" doc:"What to count by."`
	From    time.Time `query:"from" doc:"Start of the span, rounded down to a step; default 24 steps before its end."`
	To      time.Time `query:"to" doc:"End of the span, not included; default now."`
	Minutes int       `query:"minutes" minimum:"1" maximum:"1440" default:"60" doc:"The length of a step; it divides a day. At most 192 steps."`
	Order   string    `query:"order" enum:"name,worst" default:"name" doc:"By name, or those that lack the most first."`
	Keys    []string  `query:"keys,explode" maxItems:"200" nullable:"false" doc:"Only these, in this order and on one page; the parameter comes once for each. A concentrator is named by its path and then counts with all below it; an empty one is the centre."`
}

// order is the order of pages; keys have their own.
func order(in *completeHoursIn) string {
	if len(in.Keys) > 0 {
		return ""
	}
	return in.Order
}

// sumCalls registers the calls about many meters at once.
func (s *Server) sumCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-sums", http.MethodGet, "/v1/sums", "meters", "Add meters up",
		"What all chosen meters used in one slot or day, in the values that count (edited before estimated before measured), in all and by concentrator path or place in the grid. Keys page by name; the total is that of all.")),
		func(ctx context.Context, in *sumsIn) (*out[api.Sums], error) {
			q := in.query()
			q.By = in.By
			return one[api.SumQuery, api.Sums](ctx, s, s.opt.LongAskTimeout, api.QuerySums, q)
		})
	huma.Register(h, withProblem(h, operation("list-missing", http.MethodGet, "/v1/missing", "meters", "List who is missing",
		"Meters that lack intervals of one slot or day, by id.")),
		func(ctx context.Context, in *SliceIn) (*out[api.Page[api.MissingMeter]], error) {
			return page[api.SumQuery, api.MissingMeter](ctx, s, s.opt.LongAskTimeout, api.QueryMissing, in.query())
		})
	huma.Register(h, withProblem(h, operation("list-top", http.MethodGet, "/v1/top", "meters", "List the top consumers",
		"Meters by what they used in one slot or day, in the values that count, the most first.")),
		func(ctx context.Context, in *SliceIn) (*out[api.Page[api.TopMeter]], error) {
			return page[api.SumQuery, api.TopMeter](ctx, s, s.opt.LongAskTimeout, api.QueryTop, in.query())
		})
	huma.Register(h, withProblem(h, operation("list-completeness", http.MethodGet, "/v1/completeness/by", "network", "Completeness by concentrator, place or age",
		"Expected intervals and those that are there, by key; by `age`, only what is missing, by how long ago it ended. Keys page by name, ages as they follow each other.")),
		func(ctx context.Context, in *completeByIn) (*out[api.CompleteBy], error) {
			if err := checkSpan(in.From, in.To); err != nil {
				return nil, s.asError(err)
			}
			return one[api.CompleteByQuery, api.CompleteBy](ctx, s, s.opt.LongAskTimeout, api.QueryCompleteBy,
				api.CompleteByQuery{Paging: in.paging(), Span: api.Span{From: in.From, To: in.To}, By: in.By})
		})
	huma.Register(h, withProblem(h, operation("list-completeness-hours", http.MethodGet, "/v1/completeness/hours", "network", "Completeness by concentrator or place, and by hour",
		"For each key the expected intervals and the missing ones, step by step. Keys page by name, or the worst first. Where counting takes long, "+
			"as with a million meters, what was found is given out again for twenty times what that took, but no longer than 10 s.")),
		func(ctx context.Context, in *completeHoursIn) (*out[api.CompleteHours], error) {
			if err := checkSpan(in.From, in.To); err != nil {
				return nil, s.asError(err)
			}
			return one[api.CompleteHoursQuery, api.CompleteHours](ctx, s, s.opt.LongAskTimeout, api.QueryCompleteHours,
				api.CompleteHoursQuery{Paging: in.paging(), Span: api.Span{From: in.From, To: in.To}, By: in.By, Minutes: in.Minutes, Order: order(in), Keys: in.Keys})
		})
	huma.Register(h, withProblem(h, operation("get-service-level", http.MethodGet, "/v1/service-level", "network", "Get the service level",
		"Which share of the expected intervals had arrived by each deadline, counted when they first came, by whole UTC days.")),
		func(ctx context.Context, in *spanIn) (*out[api.ServiceLevel], error) {
			if err := checkSpan(in.From, in.To); err != nil {
				return nil, s.asError(err)
			}
			return one[api.Span, api.ServiceLevel](ctx, s, s.opt.LongAskTimeout, api.QueryServiceLevel, api.Span{From: in.From, To: in.To})
		})
}
