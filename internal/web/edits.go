package web

import (
	"context"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

type editsIn struct {
	PageIn
	Open bool `query:"open" doc:"Only edits that wait for a decision."`
}

// EditIn is the part of a path that names an edit.
type EditIn struct {
	ID string `path:"id" pattern:"^[0-9]{1,20}$" patternDescription:"a decimal number" doc:"The edit's id."`
}

type proposeIn struct{ Body api.EditRequest }

// DecisionBody is what a decision may say.
type DecisionBody struct {
	Comment string `json:"comment,omitempty" maxLength:"1000"`
}

type decideIn struct {
	EditIn
	Body *DecisionBody
}

type editOut struct {
	Location string `header:"Location"`
	Body     api.Edit
}

// editCalls registers the calls about edits. Who proposes and who decides are two persons, each with a token of their own.
func (s *Server) editCalls(h huma.API) {
	create := operation("propose-edit", http.MethodPost, "/v1/edits", "edits", "Propose an edit",
		"Of the intervals that start in the span. It takes effect when another person approves it. The answer shows what counts now beside what is proposed.")
	create.DefaultStatus = http.StatusCreated
	huma.Register(h, withProblem(h, create), func(ctx context.Context, in *proposeIn) (*editOut, error) {
		by, p := person(ctx)
		if p != nil {
			return nil, s.asError(p)
		}
		in.Body.By = by
		e, err := ask[api.EditRequest, api.Edit](ctx, s, api.QueryEditPropose, in.Body)
		if err != nil {
			return nil, s.asError(err)
		}
		return &editOut{Location: "/v1/edits/" + url.PathEscape(e.ID), Body: e}, nil
	})
	huma.Register(h, withProblem(h, operation("list-edits", http.MethodGet, "/v1/edits", "edits", "List edits", "Newest first.")),
		func(ctx context.Context, in *editsIn) (*out[api.Page[api.Edit]], error) {
			return page[api.EditQuery, api.Edit](ctx, s, s.opt.AskTimeout, api.QueryEdits, api.EditQuery{Paging: in.paging(), Open: in.Open})
		})
	huma.Register(h, withProblem(h, operation("get-edit", http.MethodGet, "/v1/edits/{id}", "edits", "Get an edit", "")),
		func(ctx context.Context, in *EditIn) (*out[api.Edit], error) {
			return one[api.ByID, api.Edit](ctx, s, s.opt.AskTimeout, api.QueryEdit, api.ByID{ID: in.ID})
		})
	for _, d := range []struct {
		word, what, more string
		approve, own     bool
	}{
		{"approve", "Approve an edit", "By another person than the one who proposed it. It is in the books when the answer comes. Refused if the values have changed since.", true, false},
		{"reject", "Reject an edit", "", false, false},
		{"withdraw", "Withdraw an edit", "One's own, that nobody has decided on. Needs no right to approve.", false, true},
	} {
		huma.Register(h, withProblem(h, operation(d.word+"-edit", http.MethodPost, "/v1/edits/{id}/"+d.word, "edits", d.what, d.more)),
			func(ctx context.Context, in *decideIn) (*out[api.Edit], error) {
				by, p := person(ctx)
				if p != nil {
					return nil, s.asError(p)
				}
				q := api.EditDecision{ID: in.ID, Approve: d.approve, Withdraw: d.own, By: by}
				if in.Body != nil {
					q.Comment = in.Body.Comment
				}
				return one[api.EditDecision, api.Edit](ctx, s, s.opt.LongAskTimeout, api.QueryEditDecide, q)
			})
	}
}

// person is the name of who asks. Those who share the one token, or need none, have none: nobody could tell two of them apart.
func person(ctx context.Context) (string, *api.Problem) {
	who := principal(ctx)
	if who == whole || who.Name == "" {
		return "", problem(http.StatusForbidden, "this needs a name: show a token of a person (wattbus token, --tokens)")
	}
	return who.Name, nil
}
