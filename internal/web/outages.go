package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/export"
)

type outagesIn struct {
	PageIn
	Open   bool     `query:"open" doc:"Only outages that go on."`
	Kind   []string `query:"kind" enum:"power-lost,comm-lost,unreachable,maintenance" doc:"Only of these kinds. power-lost alone leaves out faults of communication."`
	Feeder string   `query:"feeder" maxLength:"255" doc:"Only on this feeder."`
	All    bool     `query:"all" doc:"Also those that turned out to be a part of another, or none."`
}

// OutageIn is the part of a path that names an outage or a maintenance window.
type OutageIn struct {
	ID string `path:"id" doc:"The id."`
}

type outageChangeIn struct {
	OutageIn
	IfMatchIn
	Body outageChangeBody
}

type outageChangeBody struct {
	Stated api.StatedCause `json:"stated"`
}

type caseIn struct {
	OutageIn
	PageIn
}

// InterruptionsIn selects interruptions by when they begin.
type InterruptionsIn struct {
	PageIn
	From time.Time `query:"from" doc:"Interruptions that begin then or later; default a day before to."`
	To   time.Time `query:"to" doc:"And before then; default now."`
}

type endDeviceEventsIn struct {
	InterruptionsIn
	Case   string `query:"case" maxLength:"20" doc:"Only of this outage; from and to do not count then."`
	Format string `query:"format" enum:"xml,json" default:"xml" doc:"xml or json."`
}

type indicesIn struct {
	From   time.Time `query:"from" doc:"Start of the period; default 365 days before its end."`
	To     time.Time `query:"to" doc:"End of the period, not included; default now."`
	Feeder string    `query:"feeder" maxLength:"255" doc:"Only this feeder."`
	Zone   string    `query:"zone" maxLength:"60" doc:"Time zone whose days count, such as Europe/Zurich; default UTC."`

	WithoutMajor bool      `query:"withoutMajor" doc:"Without what began on major event days."`
	BaselineFrom time.Time `query:"baselineFrom" doc:"Start of the days that tell what a major event day is; default five years before their end."`
	BaselineTo   time.Time `query:"baselineTo" doc:"Their end; default the start of the period."`
}

// outageCalls registers the calls about outages of supply.
func (s *Server) outageCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-outages", http.MethodGet, "/v1/outages", "outages", "List outages",
		"Open and past ones, newest first: of meters, transformers, laterals and feeders, and concentrators that are gone.")),
		func(ctx context.Context, in *outagesIn) (*out[api.Page[api.Outage]], error) {
			return page[api.OutageQuery, api.Outage](ctx, s, s.opt.AskTimeout, api.QueryOutages,
				api.OutageQuery{Paging: in.paging(), Open: in.Open, Kinds: in.Kind, Feeder: in.Feeder, All: in.All})
		})
	huma.Register(h, withProblem(h, operation("get-outage", http.MethodGet, "/v1/outages/{id}", "outages", "Get an outage", "")),
		func(ctx context.Context, in *OutageIn) (*out[api.Outage], error) {
			return one[api.ByID, api.Outage](ctx, s, s.opt.AskTimeout, api.QueryOutage, api.ByID{ID: in.ID})
		})
	huma.Register(h, withProblem(h, operation("change-outage", http.MethodPatch, "/v1/outages/{id}", "outages", "State an outage's cause",
		"Why it happened, by the categories of IEEE 1782. What was stated before is in the audit trail.")),
		func(ctx context.Context, in *outageChangeIn) (*out[api.Outage], error) {
			q := api.OutageChange{ID: in.ID, Stated: in.Body.Stated}
			q.Stated.By, q.Stated.Time = principal(ctx).Name, nil
			if len(in.IfMatch) > 0 {
				o, err := ask[api.ByID, api.Outage](ctx, s, api.QueryOutage, api.ByID{ID: in.ID})
				if err = in.matches("outage "+in.ID, o, err); err != nil {
					return nil, s.asError(err)
				}
				q.Was = &time.Time{}
				if o.Stated != nil && o.Stated.Time != nil {
					q.Was = o.Stated.Time
				}
			}
			return one[api.OutageChange, api.Outage](ctx, s, s.opt.AskTimeout, api.QueryOutageChange, q)
		})
	huma.Register(h, withProblem(h, operation("list-outage-interruptions", http.MethodGet, "/v1/outages/{id}/interruptions", "outages", "List the meters of an outage",
		"Each interruption of each meter that the outage is made of, by id.")),
		func(ctx context.Context, in *caseIn) (*out[api.Page[api.Interruption]], error) {
			return page[api.InterruptionQuery, api.Interruption](ctx, s, s.opt.AskTimeout, api.QueryInterruptions, api.InterruptionQuery{Paging: in.paging(), Case: in.ID})
		})
	huma.Register(h, withProblem(h, operation("list-interruptions", http.MethodGet, "/v1/interruptions", "outages", "List interruptions",
		"Of single meters, that begin in the span.")),
		func(ctx context.Context, in *InterruptionsIn) (*out[api.Page[api.Interruption]], error) {
			return page[api.InterruptionQuery, api.Interruption](ctx, s, s.opt.AskTimeout, api.QueryInterruptions,
				api.InterruptionQuery{Paging: in.paging(), From: in.From, To: in.To})
		})
	huma.Register(h, withProblem(h, operation("get-indices", http.MethodGet, "/v1/indices", "outages", "Get reliability indices",
		"SAIDI, SAIFI, CAIDI, MAIFI and MAIFI_E of IEEE 1366-2012 of a period, by feeder, and its major event days. Planned interruptions are told apart and not in them.")),
		func(ctx context.Context, in *indicesIn) (*out[api.IndicesAnswer], error) {
			return one[api.IndicesQuery, api.IndicesAnswer](ctx, s, s.opt.LongAskTimeout, api.QueryIndices, api.IndicesQuery{From: in.From, To: in.To, Feeder: in.Feeder, Zone: in.Zone,
				WithoutMajor: in.WithoutMajor, BaselineFrom: in.BaselineFrom, BaselineTo: in.BaselineTo})
		})
	huma.Register(h, withProblem(h, operation("get-storm", http.MethodGet, "/v1/storm", "outages", "Get storm mode", "Whether alarms are consolidated, and what was left out.")),
		func(ctx context.Context, _ *struct{}) (*out[api.Storm], error) {
			return one[struct{}, api.Storm](ctx, s, s.opt.AskTimeout, api.QueryStorm, struct{}{})
		})
	s.endDeviceEventCalls(h)
}

// endDeviceEventCalls registers the export of interruptions as events of IEC 61968-9.
func (s *Server) endDeviceEventCalls(h huma.API) {
	op := withProblem(h, operation("export-end-device-events", http.MethodGet, "/v1/end-device-events", "outages", "Export EndDeviceEvents",
		"Interruptions as EndDeviceEvents of IEC 61968-9: power failed (3.26.0.85) and power restored (3.26.0.216). The header Wattbus-Next is the cursor of the following part."))
	op.Responses["200"] = &huma.Response{Description: "EndDeviceEvents", Content: map[string]*huma.MediaType{
		"application/xml": {Schema: &huma.Schema{Type: huma.TypeString}}, "application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}},
		Headers: map[string]*huma.Param{exportNext: {Description: "Cursor of the following part", Schema: &huma.Schema{Type: huma.TypeString}}}}
	huma.Register(h, op, func(ctx context.Context, in *endDeviceEventsIn) (*huma.StreamResponse, error) {
		got, err := ask[api.InterruptionQuery, api.Page[api.Interruption]](ctx, s, api.QueryInterruptions,
			api.InterruptionQuery{Paging: in.paging(), Case: in.Case, From: in.From, To: in.To})
		if err != nil {
			return nil, s.asError(err)
		}
		events := export.EventsOf(got.Items)
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			if got.Next != "" {
				ctx.SetHeader(exportNext, got.Next)
			}
			write, kind := events.WriteXML, "application/xml; charset=utf-8"
			if in.Format == "json" {
				write, kind = events.WriteJSON, "application/json"
			}
			ctx.SetHeader("Content-Type", kind)
			if err := write(ctx.BodyWriter()); err != nil {
				s.log.Debug("events not written", "error", err) // the reader went away
			}
		}}, nil
	})
}

type maintenanceIn struct {
	PageIn
	Past bool `query:"past" doc:"Also windows that are over."`
}

type maintainIn struct{ Body api.MaintenanceRequest }

type maintenanceOut struct {
	Location string `header:"Location"`
	Body     api.Maintenance
}

// maintenanceCalls registers the calls about planned work.
func (s *Server) maintenanceCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-maintenance", http.MethodGet, "/v1/maintenance", "outages", "List maintenance windows",
		"Those that are planned or under way, newest first.")),
		func(ctx context.Context, in *maintenanceIn) (*out[api.Page[api.Maintenance]], error) {
			return page[api.MaintenanceQuery, api.Maintenance](ctx, s, s.opt.AskTimeout, api.QueryMaintenance, api.MaintenanceQuery{Paging: in.paging(), Past: in.Past})
		})
	create := operation("add-maintenance", http.MethodPost, "/v1/maintenance", "outages", "Plan maintenance",
		"What loses its supply below the element while the window lasts is recorded, and is no outage.")
	create.DefaultStatus = http.StatusCreated
	huma.Register(h, withProblem(h, create), func(ctx context.Context, in *maintainIn) (*maintenanceOut, error) {
		in.Body.By = principal(ctx).Name
		w, err := ask[api.MaintenanceRequest, api.Maintenance](ctx, s, api.QueryMaintain, in.Body)
		if err != nil {
			return nil, s.asError(err)
		}
		return &maintenanceOut{Location: "/v1/maintenance/" + url.PathEscape(w.ID), Body: w}, nil
	})
	huma.Register(h, withProblem(h, operation("end-maintenance", http.MethodPost, "/v1/maintenance/{id}/end", "outages", "End maintenance",
		"Now; a window that has not begun is taken back.")),
		func(ctx context.Context, in *OutageIn) (*out[api.Maintenance], error) {
			return one[api.MaintenanceEnd, api.Maintenance](ctx, s, s.opt.AskTimeout, api.QueryMaintainEnd, api.MaintenanceEnd{ID: in.ID, By: principal(ctx).Name})
		})
}
