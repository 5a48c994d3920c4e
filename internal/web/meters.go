package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/topic"
)

type metersIn struct {
	PageIn
	Path  string `query:"path" doc:"Only meters below these concentrators, such as C1/C7."`
	State string `query:"state" enum:"never-seen,power-lost,unreachable,comm-lost,sleeping,disconnected,online" doc:"Only meters in this state."`
	Q     string `query:"q" maxLength:"64" doc:"Only meters whose id contains this."`
}

// MeterIn is the part of a path that names a meter.
type MeterIn struct {
	ID string `path:"id" doc:"The meter's id."`
}

type pathsIn struct {
	MeterIn
	PageIn
}

type readingsIn struct {
	MeterIn
	PageIn
	From      time.Time `query:"from" doc:"Start of the span; default the oldest interval."`
	To        time.Time `query:"to" doc:"End of the span, not included; default now."`
	AsKnownAt time.Time `query:"asKnownAt" doc:"What was known at the end of that second, of open days too, as it had been judged by then. The answer to the same question never changes."`
}

type subMetersIn struct {
	MeterIn
	PageIn
}

type subReadingsIn struct {
	MeterIn
	Sub string `path:"sub" maxLength:"64" doc:"The sub-meter's id."`
	PageIn
	From time.Time `query:"from" doc:"Start of the span; default the oldest value."`
	To   time.Time `query:"to" doc:"End of the span, not included; default the newest value."`
}

// meterCalls registers the calls about meters.
func (s *Server) meterCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-meters", http.MethodGet, "/v1/meters", "meters", "List meters", "Registry entries and live state, by id.")),
		func(ctx context.Context, in *metersIn) (*out[api.Page[api.Meter]], error) {
			if err := topic.CheckPath(in.Path); err != nil {
				return nil, s.asError(api.BadRequest("path", "%v", err))
			}
			return page[api.MeterQuery, api.Meter](ctx, s, s.opt.LongAskTimeout, api.QueryMeters,
				api.MeterQuery{Paging: in.paging(), Path: in.Path, State: in.State, Q: in.Q})
		})
	huma.Register(h, withProblem(h, operation("get-meter", http.MethodGet, "/v1/meters/{id}", "meters", "Get a meter", "")),
		func(ctx context.Context, in *MeterIn) (*out[api.Meter], error) {
			if err := topic.CheckID(in.ID); err != nil {
				return nil, s.asError(api.BadRequest("id", "%v", err))
			}
			return one[api.ByID, api.Meter](ctx, s, s.opt.AskTimeout, api.QueryMeter, api.ByID{ID: in.ID})
		})
	huma.Register(h, withProblem(h, operation("list-meter-paths", http.MethodGet, "/v1/meters/{id}/paths", "meters", "List a meter's paths",
		"Over which concentrators it came and from when until when, newest first. The one without an end is where it is. Old ones are kept as long as superseded versions of values (docs/store.md).")),
		func(ctx context.Context, in *pathsIn) (*out[api.Page[api.PathEpoch]], error) {
			if err := topic.CheckID(in.ID); err != nil {
				return nil, s.asError(api.BadRequest("id", "%v", err))
			}
			return page[api.PathQuery, api.PathEpoch](ctx, s, s.opt.AskTimeout, api.QueryPaths, api.PathQuery{Paging: in.paging(), ID: in.ID})
		})
	huma.Register(h, withProblem(h, operation("list-readings", http.MethodGet, "/v1/meters/{id}/readings", "meters", "List a meter's intervals",
		"Intervals that start in the span, oldest first; those that are expected and not there have the quality `missing` and no values. `readingQuality` is the IEC 61968-9 code; `raw` the value as it came, where another is used.")),
		func(ctx context.Context, in *readingsIn) (*out[api.Page[api.Reading]], error) {
			if err := topic.CheckID(in.ID); err != nil {
				return nil, s.asError(api.BadRequest("id", "%v", err))
			}
			q := api.ReadingQuery{Paging: in.paging(), ID: in.ID, From: in.From, To: in.To, AsKnownAt: in.AsKnownAt}
			if err := checkSpan(q.From, q.To); err != nil {
				return nil, s.asError(err)
			}
			return page[api.ReadingQuery, api.Reading](ctx, s, s.opt.LongAskTimeout, api.QueryReadings, q)
		})
	huma.Register(h, withProblem(h, operation("list-sub-meters", http.MethodGet, "/v1/meters/{id}/sub-meters", "meters", "List the meters behind a meter",
		"Meters for gas, water, heat and so on whose values the meter tells, such as those on the M-Bus of a meter with a P1 port; each with its newest value.")),
		func(ctx context.Context, in *subMetersIn) (*out[api.Page[api.SubMeter]], error) {
			if err := topic.CheckID(in.ID); err != nil {
				return nil, s.asError(api.BadRequest("id", "%v", err))
			}
			return page[api.SubMeterQuery, api.SubMeter](ctx, s, s.opt.AskTimeout, api.QuerySubMeters, api.SubMeterQuery{Paging: in.paging(), ID: in.ID})
		})
	huma.Register(h, withProblem(h, operation("list-sub-meter-readings", http.MethodGet, "/v1/meters/{id}/sub-meters/{sub}/readings", "meters", "List a sub-meter's values",
		"Registers with times in the span, oldest first. They are kept as long as intervals (docs/store.md). `value` is an exact decimal number in `unit`.")),
		func(ctx context.Context, in *subReadingsIn) (*out[api.Page[api.SubReading]], error) {
			if err := topic.CheckID(in.ID); err != nil {
				return nil, s.asError(api.BadRequest("id", "%v", err))
			}
			if err := cim.CheckSubID(in.Sub); err != nil {
				return nil, s.asError(api.BadRequest("sub", "%v", err))
			}
			if err := checkSpan(in.From, in.To); err != nil {
				return nil, s.asError(err)
			}
			return page[api.SubReadingQuery, api.SubReading](ctx, s, s.opt.LongAskTimeout, api.QuerySubReadings,
				api.SubReadingQuery{Paging: in.paging(), ID: in.ID, SubMeter: in.Sub, From: in.From, To: in.To})
		})
}

// checkSpan refuses spans that end before they start and times that no message can carry.
func checkSpan(from, to time.Time) error {
	for _, t := range []struct {
		field string
		at    time.Time
	}{{"from", from}, {"to", to}} {
		if !t.at.IsZero() && (t.at.Unix() < 0 || t.at.Unix() > 1<<32-1) {
			return api.BadRequest(t.field, "%s is outside 1970-01-01 to 2106-02-07", t.at.Format(time.RFC3339))
		}
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return api.BadRequest("to", "%s is not after from, %s", to.Format(time.RFC3339), from.Format(time.RFC3339))
	}
	return nil
}
