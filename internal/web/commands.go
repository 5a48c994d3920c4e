package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/topic"
)

type commandsIn struct {
	PageIn
	Open   bool   `query:"open" doc:"Only commands that have not ended."`
	Origin string `query:"origin" enum:"asked,centre" doc:"Only commands that people and programs asked for, or only those that the centre gave by itself, such as pings by which it verifies outages; all when absent."`
	Meter  string `query:"meter" maxLength:"23" doc:"Only commands for this meter alone."`
}

// CommandIn is the part of a path that names a command.
type CommandIn struct {
	ID string `path:"id" pattern:"^[0-9]{1,20}$" patternDescription:"a decimal number" doc:"The command's id."`
}

// WaitIn is the preference to wait for a command's end.
type WaitIn struct {
	Prefer string `header:"Prefer" doc:"\"wait=N\": answer when the command has ended, after N seconds (60 at most) at the latest (RFC 7240)."`
}

type createIn struct {
	WaitIn
	Key  string `header:"Idempotency-Key" maxLength:"200" doc:"Names the request: one with the same key, from the same caller, gets the command that the first one made."`
	Body api.CommandRequest
}

type getCommandIn struct {
	WaitIn
	CommandIn
}

type commandOut struct {
	Status   int
	Location string `header:"Location"`
	Applied  string `header:"Preference-Applied"`
	Body     api.Command
}

// numberedChannels lets the channel of a load profile be given by its number, too.
func numberedChannels(h huma.API) {
	channel := h.OpenAPI().Components.Schemas.Map()["Params"].Properties["channel"]
	channel.Type = "" // text or number
	for _, n := range slices.Sorted(maps.Keys(api.ChannelNumbers)) {
		channel.Enum = append(channel.Enum, n)
	}
	channel.PrecomputeMessages()
}

// commandCalls registers the calls about commands.
func (s *Server) commandCalls(h huma.API) {
	create := operation("create-command", http.MethodPost, "/v1/commands", "commands", "Create a command",
		"Answers at once with the command's id; the command goes on. With `Prefer: wait=N` it answers 200 with the whole command if that ends in time.")
	create.DefaultStatus = http.StatusAccepted
	create.Responses = map[string]*huma.Response{"200": {Description: "The command has ended in the time the client preferred to wait", Content: map[string]*huma.MediaType{
		"application/json": {Schema: h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Command](), true, "Command")}}}}
	huma.Register(h, withProblem(h, create), func(ctx context.Context, in *createIn) (*commandOut, error) {
		if err := checkCommand(&in.Body); err != nil {
			return nil, s.asError(err)
		}
		in.Body.By, in.Body.Key = principal(ctx).Name, ""
		if in.Key != "" {
			in.Body.Key = "api/" + in.Body.By + "/" + in.Key
		}
		var st *stream
		if in.wait() > 0 { // from before it is made, so that no event of it is missed
			if st = s.followCommands(in.Body.Target.Meter); st != nil {
				defer st.leave()
			}
		}
		cmd, err := ask[api.CommandRequest, api.Command](ctx, s, api.QueryCommandCreate, in.Body)
		if err != nil {
			return nil, s.asError(err)
		}
		out := &commandOut{Status: http.StatusAccepted, Location: "/v1/commands/" + url.PathEscape(cmd.ID), Body: cmd}
		if wait := in.wait(); wait > 0 {
			// The command exists: its id must reach the client also when its end does not.
			if done, err := s.awaitEnd(ctx, st, cmd, wait); err == nil {
				out.Body = done
			}
			out.Applied = in.applied()
			if api.Finished(out.Body.State) {
				out.Status = http.StatusOK
			}
		}
		return out, nil
	})
	huma.Register(h, withProblem(h, operation("list-commands", http.MethodGet, "/v1/commands", "commands", "List commands", "Newest first.")),
		func(ctx context.Context, in *commandsIn) (*out[api.Page[api.Command]], error) {
			return page[api.CommandQuery, api.Command](ctx, s, s.opt.AskTimeout, api.QueryCommands, api.CommandQuery{Paging: in.paging(), Open: in.Open, Origin: in.Origin, Meter: in.Meter})
		})
	huma.Register(h, withProblem(h, operation("get-command", http.MethodGet, "/v1/commands/{id}", "commands", "Get a command",
		"Its state, its history and its result; for many meters counts and the stragglers.")),
		func(ctx context.Context, in *getCommandIn) (*commandOut, error) {
			cmd, err := s.awaitCommand(ctx, in.ID, in.wait())
			if err != nil {
				return nil, s.asError(err)
			}
			return &commandOut{Status: http.StatusOK, Applied: in.applied(), Body: cmd}, nil
		})
	cancel := func(ctx context.Context, in *CommandIn) (*out[api.Command], error) {
		return one[api.CommandCancel, api.Command](ctx, s, s.opt.AskTimeout, api.QueryCommandCancel, api.CommandCancel{ID: in.ID, By: principal(ctx).Name})
	}
	const what = "It is not sent any more. What a meter has carried out already stays so."
	huma.Register(h, withProblem(h, operation("cancel-command", http.MethodPost, "/v1/commands/{id}/cancel", "commands", "Cancel a command", what)), cancel)
	huma.Register(h, withProblem(h, operation("delete-command", http.MethodDelete, "/v1/commands/{id}", "commands", "Cancel a command", what)), cancel)
}

type decideCommandIn struct {
	CommandIn
	Body *DecisionBody
}

// decisionCalls registers the calls that approve and reject.
func (s *Server) decisionCalls(h huma.API) {
	decide := func(approve bool) func(context.Context, *decideCommandIn) (*out[api.Command], error) {
		return func(ctx context.Context, in *decideCommandIn) (*out[api.Command], error) {
			d := api.CommandDecision{ID: in.ID, Approve: approve, By: principal(ctx).Name}
			if _, p := person(ctx); p != nil && approve {
				return nil, s.asError(p)
			}
			if in.Body != nil {
				d.Comment = in.Body.Comment
			}
			return one[api.CommandDecision, api.Command](ctx, s, s.opt.AskTimeout, api.QueryCommandDecide, d)
		}
	}
	huma.Register(h, withProblem(h, operation("approve-command", http.MethodPost, "/v1/commands/{id}/approve", "commands", "Approve a command",
		"Of a command in the state `pending-approval`; another person than the one who asked for it. Its `expiresIn` begins now.")), decide(true))
	huma.Register(h, withProblem(h, operation("reject-command", http.MethodPost, "/v1/commands/{id}/reject", "commands", "Reject a command",
		"Of a command in the state `pending-approval`. It is cancelled.")), decide(false))
}

// checkCommand checks what needs no knowledge of meters; the MDMS checks the rest.
func checkCommand(c *api.CommandRequest) error {
	named := 0
	if c.Target.Meters != nil {
		named++
	}
	if c.Target.Query != nil {
		named++
	}
	if c.Target.Meter != "" {
		named++
		if err := topic.CheckID(c.Target.Meter); err != nil {
			return api.BadRequest("target.meter", "%v", err)
		}
	}
	if c.Target.Path != "" {
		named++
		if err := topic.CheckPath(c.Target.Path); err != nil {
			return api.BadRequest("target.path", "%v", err)
		}
	}
	if c.Target.Group != nil {
		named++
	}
	if named != 1 {
		return api.BadRequest("target", "it names %d of meter, meters, path, group and query, want one", named)
	}
	for _, t := range []struct {
		field string
		at    *time.Time
	}{{"params.from", c.Params.From}, {"params.to", c.Params.To}} {
		if t.at != nil && (t.at.Unix() < 0 || t.at.Unix() > 1<<32-1) {
			return api.BadRequest(t.field, "%s is outside 1970-01-01 to 2106-02-07", t.at.Format(time.RFC3339))
		}
	}
	return nil
}

// maxWait is the longest that a request waits for a command's end.
const maxWait = time.Minute

// wait is the time a client prefers to wait for the end of a command, 0 for none. RFC 7240, 4.3
func (in WaitIn) wait() time.Duration {
	for part := range strings.SplitSeq(in.Prefer, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if ok && strings.EqualFold(strings.TrimSpace(name), "wait") {
			if n, err := strconv.Atoi(strings.Trim(value, " \t\"")); err == nil && n > 0 {
				return min(time.Duration(min(n, 3600))*time.Second, maxWait)
			}
		}
	}
	return 0 // a preference that is not understood is ignored. RFC 7240, 2
}

func (in WaitIn) applied() string {
	if wait := in.wait(); wait > 0 {
		return "wait=" + strconv.Itoa(int(wait/time.Second))
	}
	return ""
}

// awaitCommand returns the command once it has ended or wait is over. An event tells of the end; should none come, it looks more and
// more seldom.
func (s *Server) awaitCommand(ctx context.Context, id string, wait time.Duration) (api.Command, error) {
	first, err := s.lookAtCommand(ctx, id)
	if wait <= 0 || err != nil || api.Finished(first.State) {
		return first, err
	}
	st := s.followCommands(first.Target.Meter)
	if st == nil {
		return first, nil
	}
	defer st.leave()
	cmd, err := s.lookAtCommand(ctx, id) // it may have ended before its events were followed
	if err != nil {
		cmd = first
	}
	return s.awaitEnd(ctx, st, cmd, wait)
}

func (s *Server) lookAtCommand(ctx context.Context, id string) (api.Command, error) {
	return ask[api.ByID, api.Command](ctx, s, api.QueryCommand, api.ByID{ID: id})
}

// awaitEnd is awaitCommand for one that is known as it was after st began to follow its events. Without st it does not wait: that is
// a preference only.
func (s *Server) awaitEnd(ctx context.Context, st *stream, cmd api.Command, wait time.Duration) (api.Command, error) {
	if st == nil || api.Finished(cmd.State) {
		return cmd, nil
	}
	id := cmd.ID
	end := time.NewTimer(wait)
	defer end.Stop()
	pause := 200 * time.Millisecond
	again := time.NewTimer(pause)
	defer again.Stop()
	quoted := strconv.AppendQuote(nil, id)
	var err error
	for looked := true; ; looked = false {
		if !looked {
			cmd, err = s.lookAtCommand(ctx, id)
		}
		var p *api.Problem
		if err == nil && api.Finished(cmd.State) || errors.As(err, &p) && p.Status < 500 {
			return cmd, err
		}
		again.Reset(pause)
		for heard := false; !heard; {
			select {
			case <-ctx.Done():
				return cmd, ctx.Err()
			case <-st.done:
				return cmd, err
			case <-end.C:
				return cmd, err
			case <-again.C:
				pause = min(2*pause, time.Second)
				heard = true
			case <-st.out.ready:
				var told *api.Command
				if told, heard = st.heard(id, quoted); told != nil {
					return *told, nil
				}
			}
		}
	}
}

// followCommands opens a stream of the events of commands to a meter, "" for all; nil if that is not possible now.
func (s *Server) followCommands(meter string) *stream {
	st, err := s.hub.open("")
	if err != nil {
		return nil
	}
	f := api.EventFilter{Types: []string{api.EventCommand}, Meter: meter}
	if err := st.edit(func(fs map[string]api.EventFilter) { fs[filterKey(f)] = f }); err != nil {
		st.leave()
		s.log.Warn("events of commands not followed", "error", err)
		return nil
	}
	return st
}

// heard empties the outbox and reports whether something in it tells of the end of a command, whose id as JSON is quoted. told is the command
// if the event holds all that there is.
func (st *stream) heard(id string, quoted []byte) (told *api.Command, found bool) {
	var batch [16]message
	for {
		n, _, _ := st.out.take(batch[:])
		for _, m := range batch[:n] {
			if !bytes.Contains(m.data, quoted) {
				continue
			}
			var ev api.Event
			var cmd api.Command
			switch {
			case json.Unmarshal(m.data, &ev) != nil || json.Unmarshal(ev.Data, &cmd) != nil:
				found = true // whatever it is
			case cmd.ID != id || !api.Finished(cmd.State): // it goes on
			case wholeInEvent(&cmd):
				told = &cmd
			default:
				found = true
			}
		}
		if n == 0 {
			return told, found
		}
	}
}

// wholeInEvent reports whether the event of a command's end holds all that is to be told of it: readings and lists of meters are left out.
func wholeInEvent(c *api.Command) bool {
	return c.Target.Meter != "" && c.Type != api.CommandRead && c.Type != api.CommandProfile
}
