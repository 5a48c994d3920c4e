package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

type replayIn struct {
	Name string `path:"name" maxLength:"32" doc:"The target's name."`
	Body api.TargetReplay
}

// targetCalls registers the calls about targets of events.
func (s *Server) targetCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-targets", http.MethodGet, "/v1/targets", "operations", "List the targets of events",
		"The other systems that get events, as the file of targets declares them, by name: whether they are connected, what they have and have not confirmed.")),
		func(ctx context.Context, _ *struct{}) (*out[api.Page[api.TargetStatus]], error) {
			return page[struct{}, api.TargetStatus](ctx, s, s.opt.AskTimeout, api.QueryTargets, struct{}{})
		})
	huma.Register(h, withProblem(h, operation("replay-target", http.MethodPost, "/v1/targets/{name}/replay", "operations", "Deliver events to a target again",
		"Sets the target to the first events that were made at or after a time, as far back as they are kept; what it has of them already it gets again, with the same ids.")),
		func(ctx context.Context, in *replayIn) (*out[api.TargetStatus], error) {
			in.Body.Name = in.Name
			return one[api.TargetReplay, api.TargetStatus](ctx, s, s.opt.LongAskTimeout, api.QueryTargetReplay, in.Body)
		})
}

// targetHealth adds a line for each target: none of them makes the centre unready.
func (s *Server) targetHealth(ctx context.Context, within time.Duration, roles map[string]string) {
	got, err := askWithin[struct{}, api.Page[api.TargetStatus]](ctx, s, within, api.QueryTargets, struct{}{})
	var p *api.Problem
	if errors.As(err, &p) {
		return // the role runs nowhere, or does not answer in time
	}
	for _, t := range got.Items {
		line := "ok"
		if t.State != api.TargetConnected {
			line = t.State
		}
		if t.Detail != "" {
			line += ": " + t.Detail
		}
		if t.PendingBatches > 0 {
			line += fmt.Sprintf(", %d batches behind, %.0f s", t.PendingBatches, t.LagSeconds)
		}
		roles["target "+t.Name] = line
	}
}
