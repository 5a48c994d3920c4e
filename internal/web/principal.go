package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

// Tokens finds whose token it is; nil: nobody's.
type Tokens interface {
	Find(token string) *api.Principal
}

// whole is who calls where one token, or none, is all there is: one person as far as we know, who can do everything but
// approve what he asked for himself.
var whole = &api.Principal{Name: "api", Rights: api.AllRights}

type principalKey struct{}

// principal is who makes the request.
func principal(ctx context.Context) *api.Principal {
	if p, ok := ctx.Value(principalKey{}).(*api.Principal); ok {
		return p
	}
	return &api.Principal{}
}

// known reports whether callers have to say who they are.
func (o *Options) known() bool { return o.Token != "" || o.Tokens != nil }

// identify returns who shows the token, nil for nobody.
func (s *Server) identify(token string) *api.Principal {
	if s.opt.Token != "" {
		// In constant time; the hashes make the lengths equal.
		if got := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(got[:], s.tokenHash[:]) == 1 {
			return whole
		}
	}
	if s.opt.Tokens != nil {
		return s.opt.Tokens.Find(token)
	}
	return nil
}

// rightFor is the right that a call needs. A call that is not named here needs the right to look, or to change.
func rightFor(method, path string) api.Right {
	switch {
	case strings.HasPrefix(path, "/v1/backup"), strings.HasPrefix(path, "/v1/targets/"):
		return api.RightAdmin
	case method == http.MethodGet, method == http.MethodHead:
		return api.RightView
	case strings.HasSuffix(path, "/approve"), strings.HasSuffix(path, "/reject"), strings.HasPrefix(path, "/v1/quarantines/"):
		return api.RightApprove
	case path == "/v1/commands", strings.HasPrefix(path, "/v1/commands/"), path == "/v1/maintenance", strings.HasPrefix(path, "/v1/maintenance/"),
		strings.HasPrefix(path, "/v1/outages/"),
		path == imagePath, strings.HasPrefix(path, imagePath+"/"), path == "/v1/roll-outs", strings.HasPrefix(path, "/v1/roll-outs/"):
		return api.RightOperate
	}
	return api.RightEdit
}

// principalCalls registers GET /v1/me.
func (s *Server) principalCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("get-me", http.MethodGet, "/v1/me", "operations", "Who am I",
		"The name that belongs to the token and what it may do. Where the API wants no token everybody is \"api\".")),
		func(ctx context.Context, _ *struct{}) (*out[api.Principal], error) {
			return &out[api.Principal]{Body: *principal(ctx)}, nil
		})
}
