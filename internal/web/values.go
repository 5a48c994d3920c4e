package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/topic"
)

type explainIn struct {
	MeterIn
	At      time.Time `query:"at" required:"true" doc:"A time within the interval."`
	Channel string    `query:"channel" enum:"import,export" doc:"import when absent"`
}

type findingsIn struct {
	PageIn
	Meter    string    `query:"meter" doc:"Only of this meter."`
	Rule     string    `query:"rule" maxLength:"32" doc:"Only of this rule, such as spike (docs/vee.md)."`
	Severity string    `query:"severity" enum:"info,warning,suspect,failed" doc:"At least this severe."`
	From     time.Time `query:"from" doc:"Only about values behind this time."`
	To       time.Time `query:"to" doc:"Only about values before this time."`
	All      bool      `query:"all" doc:"Also those that a newer judgement of their day superseded."`
}

// RuleSetIn is the part of a path that names a rule set.
type RuleSetIn struct {
	ID string `path:"id" pattern:"^[0-9a-f]{12}$" patternDescription:"12 hexadecimal digits" doc:"The rule set's id."`
}

// valueCalls registers the calls about how values came to be.
func (s *Server) valueCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("explain-value", http.MethodGet, "/v1/meters/{id}/explain", "meters", "Explain one value",
		"Every value that the interval ever had, oldest first: as it came, validated, estimated, edited; with rule, method, numbers, who and when.")),
		func(ctx context.Context, in *explainIn) (*out[api.Explanation], error) {
			if err := topic.CheckID(in.ID); err != nil {
				return nil, s.asError(api.BadRequest("id", "%v", err))
			}
			if err := checkSpan(in.At, time.Time{}); err != nil {
				return nil, s.asError(api.BadRequest("at", "%s is outside 1970-01-01 to 2106-02-07", in.At.Format(time.RFC3339)))
			}
			return one[api.ExplainQuery, api.Explanation](ctx, s, s.opt.AskTimeout, api.QueryExplain, api.ExplainQuery{ID: in.ID, At: in.At, Channel: in.Channel})
		})
	huma.Register(h, withProblem(h, operation("list-findings", http.MethodGet, "/v1/findings", "meters", "List findings", "What the rules of validation and estimation found, newest first.")),
		func(ctx context.Context, in *findingsIn) (*out[api.Page[api.Finding]], error) {
			if err := topic.CheckID(in.Meter); in.Meter != "" && err != nil {
				return nil, s.asError(api.BadRequest("meter", "%v", err))
			}
			if err := checkSpan(in.From, in.To); err != nil {
				return nil, s.asError(err)
			}
			return page[api.FindingQuery, api.Finding](ctx, s, s.opt.LongAskTimeout, api.QueryFindings, api.FindingQuery{Paging: in.paging(), Meter: in.Meter,
				Rule: in.Rule, Severity: in.Severity, From: in.From, To: in.To, All: in.All})
		})
	huma.Register(h, withProblem(h, operation("get-rule-set", http.MethodGet, "/v1/rule-sets/{id}", "meters", "Get a rule set", "In full, as it was in force.")),
		func(ctx context.Context, in *RuleSetIn) (*out[api.RuleSet], error) {
			return one[api.ByID, api.RuleSet](ctx, s, s.opt.AskTimeout, api.QueryRuleSet, api.ByID{ID: in.ID})
		})
}
