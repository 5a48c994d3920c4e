package web

import (
	"context"
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
		func(ctx context.Context, in *struct{ PageIn }) (*out[api.Page[api.TargetStatus]], error) {
			return slicePage(ctx, s, api.QueryTargets, struct{}{}, in.PageIn, func(_ int, t api.TargetStatus) string { return t.Name })
		})
	huma.Register(h, withProblem(h, operation("replay-target", http.MethodPost, "/v1/targets/{name}/replay", "operations", "Deliver events to a target again",
		"Sets the target to the first events that were made at or after a time, as far back as they are kept; what it has of them already it gets again, with the same ids.")),
		func(ctx context.Context, in *replayIn) (*out[api.TargetStatus], error) {
			in.Body.Name = in.Name
			return one[api.TargetReplay, api.TargetStatus](ctx, s, s.opt.LongAskTimeout, api.QueryTargetReplay, in.Body)
		})
}

// targetHealth adds a line about the targets, if there are any: none of them makes the centre unready. Everybody may read it, so it
// holds no names.
func (s *Server) targetHealth(ctx context.Context, within time.Duration, roles map[string]string) {
	got, err := askWithin[struct{}, api.Page[api.TargetStatus]](ctx, s, within, api.QueryTargets, struct{}{})
	if err != nil || len(got.Items) == 0 {
		return // none, or the role runs nowhere
	}
	here, lag := 0, 0.0
	for _, t := range got.Items {
		if t.Well() {
			here++
		}
		if t.State != api.TargetPaused {
			lag = max(lag, t.LagSeconds)
		}
	}
	switch {
	case here < len(got.Items):
		roles["targets"] = fmt.Sprintf("%d of %d are away; the oldest events that wait are %.0f s old", len(got.Items)-here, len(got.Items), lag)
	case lag >= slowTarget:
		roles["targets"] = fmt.Sprintf("all are there; the oldest events that wait are %.0f s old", lag)
	default:
		roles["targets"] = "ok"
	}
}

// slowTarget is how old events may become, in seconds, before a target that is there counts as behind.
const slowTarget = 60
