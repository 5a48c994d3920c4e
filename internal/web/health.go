package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

// healthCalls registers liveness and readiness.
func (s *Server) healthCalls(h huma.API) {
	live := withProblem(h, operation("healthz", http.MethodGet, "/healthz", "operations", "Is the process alive?", ""))
	live.Security = []map[string][]string{}
	huma.Register(h, live, func(context.Context, *struct{}) (*out[api.Health], error) {
		return &out[api.Health]{Body: api.Health{Status: "ok", Version: s.opt.Version}}, nil
	})
	ready := withProblem(h, operation("readyz", http.MethodGet, "/readyz", "operations", "Do the roles answer?",
		"200 when the MDMS and an EEB answer over the bus, else 503 and who does not. Targets of events that are away are told of, but do not make the centre unready."))
	ready.Security = []map[string][]string{}
	huma.Register(h, ready, func(ctx context.Context, _ *struct{}) (*out[api.Health], error) {
		roles, err := s.askRoles(ctx)
		if err != nil {
			return nil, s.asError(err)
		}
		return &out[api.Health]{Body: api.Health{Status: "ok", Version: s.opt.Version, Roles: roles}}, nil
	})
}

// askRoles asks every role something small, at the same time. Any answer will do, also that there is no such device.
func (s *Server) askRoles(ctx context.Context) (map[string]string, error) {
	within := min(s.opt.AskTimeout, 2*time.Second)
	var mdms, eeb error
	var wait sync.WaitGroup
	wait.Go(func() { _, mdms = askWithin[struct{}, api.Totals](ctx, s, within, api.QueryTotals, struct{}{}) })
	wait.Go(func() {
		_, eeb = askWithin[api.LocationQuery, api.Location](ctx, s, within, api.QueryLocation, api.LocationQuery{Kind: "meter", ID: "readyz"})
	})
	roles := map[string]string{"mdms": "ok", "eeb": "ok"}
	wait.Go(func() { s.targetHealth(ctx, within, roles) })
	wait.Wait()
	var wrong []string
	for _, role := range []struct {
		name string
		err  error
	}{{"eeb", eeb}, {"mdms", mdms}} {
		var p *api.Problem
		switch {
		case role.err == nil, errors.As(role.err, &p) && p.Status < 500:
		case p != nil:
			wrong = append(wrong, p.Detail)
		default:
			wrong = append(wrong, fmt.Sprintf("%s: %v", role.name, role.err))
		}
	}
	if len(wrong) > 0 {
		return nil, problem(http.StatusServiceUnavailable, strings.Join(wrong, "; "))
	}
	return roles, nil
}
