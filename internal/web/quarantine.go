package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

type releaseIn struct {
	Name string `path:"name" maxLength:"160" doc:"operator:NAME or feeder:NAME."`
	Body *DecisionBody
}

// quarantineCalls registers the calls about operators and feeders whose disconnections are stopped.
func (s *Server) quarantineCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-quarantines", http.MethodGet, "/v1/quarantines", "commands", "List quarantines",
		"Operators and feeders whose disconnections are stopped, because one more was asked for than their budget allows.")),
		func(ctx context.Context, in *struct{ PageIn }) (*out[api.Page[api.Quarantine]], error) {
			return slicePage(ctx, s, api.QueryQuarantines, struct{}{}, in.PageIn, func(_ int, q api.Quarantine) string { return q.Name })
		})
	huma.Register(h, withProblem(h, operation("release-quarantine", http.MethodPost, "/v1/quarantines/{name}/release", "commands", "Release from quarantine",
		"By another person than the one whose command brought it about. What waits goes on, and the budget is whole again.")),
		func(ctx context.Context, in *releaseIn) (*out[api.Quarantine], error) {
			if _, p := person(ctx); p != nil {
				return nil, s.asError(p)
			}
			r := api.QuarantineRelease{Name: in.Name, By: principal(ctx).Name}
			if in.Body != nil {
				r.Comment = in.Body.Comment
			}
			return one[api.QuarantineRelease, api.Quarantine](ctx, s, s.opt.AskTimeout, api.QueryQuarantineRelease, r)
		})
}

// budgetCalls registers GET /v1/budgets.
func (s *Server) budgetCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("get-budgets", http.MethodGet, "/v1/budgets", "operations", "Get the budgets in force",
		"What bounds breaker commands, backfill, registrations and calls of this API, as the flags of the centre set it, and what is left of it.")),
		func(ctx context.Context, _ *struct{}) (*out[api.Budgets], error) {
			got, err := ask[struct{}, api.Budgets](ctx, s, api.QueryBudgets, struct{}{})
			if err != nil {
				return nil, s.asError(err)
			}
			if r, err := ask[struct{}, api.RegistrationBudget](ctx, s, api.QueryRegistrationBudget, struct{}{}); err == nil {
				got.Registrations = &r
			}
			got.Calls = api.CallBudget{Streams: s.opt.MaxStreams}
			if s.opt.RateLimit > 0 {
				got.Calls.PerSecond, got.Calls.AtOnce = s.opt.RateLimit, s.opt.RateBurst
			}
			return &out[api.Budgets]{Body: got}, nil
		})
}
