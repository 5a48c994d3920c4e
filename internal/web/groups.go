package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/topic"
)

// GroupIn is the part of a path that names a group.
type GroupIn struct {
	Group uint32 `path:"n" minimum:"1" maximum:"4294967295" doc:"The group's number."`
}

type groupPutIn struct {
	GroupIn
	IfMatchIn
	IfNoneMatch string `header:"If-None-Match" enum:"*" doc:"\"*\": the group is set only if it has no members."`
	Body        groupBody
}

type groupBody struct {
	Members []string `json:"members" maxItems:"10000" nullable:"false" doc:"Ids of the meters; no id: the group is emptied."`
}

// groupCalls registers the calls about groups.
func (s *Server) groupCalls(h huma.API) {
	huma.Register(h, withProblem(h, operation("list-groups", http.MethodGet, "/v1/groups", "groups", "List groups", "By number.")),
		func(ctx context.Context, in *struct{ PageIn }) (*out[api.Page[api.Group]], error) {
			return page[api.Paging, api.Group](ctx, s, s.opt.AskTimeout, api.QueryGroups, in.paging())
		})
	huma.Register(h, withProblem(h, operation("get-group", http.MethodGet, "/v1/groups/{n}", "groups", "Get a group",
		"Its members, each with the time at which it confirmed.")),
		func(ctx context.Context, in *GroupIn) (*out[api.Group], error) {
			g, err := s.findGroup(ctx, in.Group)
			if err != nil {
				return nil, s.asError(err)
			}
			return &out[api.Group]{Body: g}, nil
		})
	huma.Register(h, withProblem(h, operation("put-group", http.MethodPut, "/v1/groups/{n}", "groups", "Set a group's members",
		"The whole new membership. The meters are told with `groups` messages and confirm; get the group to see who has.")),
		func(ctx context.Context, in *groupPutIn) (*out[api.Group], error) {
			for _, id := range in.Body.Members {
				if err := topic.CheckID(id); err != nil {
					return nil, s.asError(api.BadRequest("members", "%v", err))
				}
			}
			put := api.GroupPut{Group: in.Group, Members: in.Body.Members, By: principal(ctx).Name}
			var err error
			if put.Was, err = s.expected(ctx, in); err != nil {
				return nil, s.asError(err)
			}
			return one[api.GroupPut, api.Group](ctx, s, s.opt.LongAskTimeout, api.QueryGroupPut, put)
		})
}

// expected is the membership that a conditional request wants to replace, nil for one without a condition. The MDMS looks whether it is still
// that when it changes it, so nobody comes between.
func (s *Server) expected(ctx context.Context, in *groupPutIn) (*[]string, error) {
	was := []string{}
	if len(in.IfMatch) == 0 {
		if in.IfNoneMatch == "" {
			return nil, nil
		}
		return &was, nil
	}
	g, err := s.findGroup(ctx, in.Group)
	if err := in.matches(fmt.Sprintf("group %d", in.Group), g, err); err != nil {
		return nil, err
	}
	for _, m := range g.Members {
		was = append(was, m.ID)
	}
	return &was, nil
}

// findGroup looks through the pages of the list, which is sorted by number.
func (s *Server) findGroup(ctx context.Context, n uint32) (api.Group, error) {
	query := api.Paging{Limit: 1000}
	for {
		got, err := ask[api.Paging, api.Page[api.Group]](ctx, s, api.QueryGroups, query)
		if err != nil {
			return api.Group{}, err
		}
		for _, g := range got.Items {
			if g.Group == n {
				return g, nil
			}
		}
		last := len(got.Items) - 1
		if got.Next == "" || last < 0 || got.Items[last].Group > n || got.Next == query.Cursor {
			return api.Group{}, api.NotFound("group %d has no members", n)
		}
		query.Cursor = got.Next
	}
}
