package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

type spanIn struct {
	From time.Time `query:"from" doc:"Start of the span; default the oldest interval."`
	To   time.Time `query:"to" doc:"End of the span, not included; default now."`
}

// networkCalls registers the calls about the whole installation.
func (s *Server) networkCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-concentrators", http.MethodGet, "/v1/concentrators", "network", "List concentrators",
		"The tree with its state, by path: a concentrator comes after the one it hangs on.")),
		func(ctx context.Context, in *struct{ PageIn }) (*out[api.Page[api.Concentrator]], error) {
			return page[api.Paging, api.Concentrator](ctx, s, s.opt.AskTimeout, api.QueryConcentrators, in.paging())
		})
	huma.Register(h, withProblem(h, operation("get-completeness", http.MethodGet, "/v1/completeness", "network", "Get completeness",
		"Expected, received, recovered and missing intervals of the span, by day, and the meters that lack some.")),
		func(ctx context.Context, in *spanIn) (*out[api.Completeness], error) {
			if err := checkSpan(in.From, in.To); err != nil {
				return nil, s.asError(err)
			}
			return one[api.Span, api.Completeness](ctx, s, s.opt.LongAskTimeout, api.QueryCompleteness, api.Span{From: in.From, To: in.To})
		})
	huma.Register(h, withProblem(h, operation("get-totals", http.MethodGet, "/v1/totals", "network", "Get totals", "The numbers at the head of the console.")),
		func(ctx context.Context, _ *struct{}) (*out[api.Totals], error) {
			return one[struct{}, api.Totals](ctx, s, s.opt.AskTimeout, api.QueryTotals, struct{}{})
		})
	huma.Register(h, withProblem(h, operation("list-dead-letters", http.MethodGet, "/v1/dead-letters", "operations", "List dead letters",
		"What arrived and could not be understood, newest first, with the reason. Only a part of a flood is kept; the metric wattbus_dead_letters_total counts all.")),
		func(ctx context.Context, in *struct{ PageIn }) (*out[api.Page[api.DeadLetter]], error) {
			got, err := s.deadLetters(ctx, in.paging())
			if err != nil {
				return nil, s.asError(err)
			}
			return &out[api.Page[api.DeadLetter]]{Body: got}, nil
		})
}
