package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

type auditIn struct {
	PageIn
	Order   string `query:"order" enum:"newest,oldest" default:"newest" doc:"Which entries come first."`
	Actor   string `query:"actor" maxLength:"128" doc:"Only what this one did; \"centre\" is the centre itself."`
	Action  string `query:"action" maxLength:"64" doc:"Only this action, or all before the point: command.approve, command."`
	Subject string `query:"subject" maxLength:"128" doc:"Only what concerns this: the id of a command or an edit, the number of a group."`
	Meter   string `query:"meter" maxLength:"23" doc:"Only what concerns this meter."`
	Origin  string `query:"origin" enum:"asked,centre" doc:"Only what people and programs did, or only what the centre did by itself, such as pings by which it verifies outages; all when absent."`
}

// auditCalls registers the calls about the audit trail.
func (s *Server) auditCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-audit", http.MethodGet, "/v1/audit", "audit", "List the audit trail",
		"Who changed what, and what became of every command. Pages of a search may be short, and even empty, and have a next one all the same. "+
			"Without a search and with the oldest first it is the whole chain, whose hashes anybody can check.")),
		func(ctx context.Context, in *auditIn) (*out[api.Page[api.AuditRecord]], error) {
			return page[api.AuditQuery, api.AuditRecord](ctx, s, s.opt.AskTimeout, api.QueryAudit, api.AuditQuery{Paging: in.paging(),
				Newest: in.Order != "oldest", Actor: in.Actor, Action: in.Action, Subject: in.Subject, Meter: in.Meter, Origin: in.Origin})
		})
	huma.Register(h, withProblem(h, operation("get-audit-head", http.MethodGet, "/v1/audit/head", "audit", "Get the end of the audit trail",
		"The last entry's number and hash. Keep it elsewhere: with it nobody can cut the trail off, or make it anew, unnoticed.")),
		func(ctx context.Context, _ *struct{}) (*out[api.AuditHead], error) {
			return one[struct{}, api.AuditHead](ctx, s, s.opt.AskTimeout, api.QueryAuditHead, struct{}{})
		})
}
