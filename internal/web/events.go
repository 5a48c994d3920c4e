package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wattbus/wattbus/internal/api"
)

type eventsIn struct {
	Type   []string `query:"type" doc:"Types of events: reading, state, concentrator, command, outage, storm, firmware, device, submeter, totals. None: all."`
	Meter  string   `query:"meter" doc:"Only events of this device."`
	Path   string   `query:"path" doc:"Only events of devices below these concentrators, such as C1/C7."`
	Stream string   `query:"stream" enum:"sse,ws" doc:"How to stream where neither the Accept nor the Upgrade header says it."`
}

// eventCalls registers GET /v1/events: a WebSocket where the client asks for an upgrade, else server-sent events.
func (s *Server) eventCalls(h huma.API) {
	op := operation("follow-events", http.MethodGet, "/v1/events", "events", "Follow live events",
		"CloudEvents 1.0 as they happen: all that the filter selects, and without one all there are. With `Upgrade: websocket` each text "+
			"message is one event or one control message (LiveControl), and the client may send LiveRequest messages to subscribe and "+
			"unsubscribe. Such a stream without any query parameter brings everything until the first subscription, which takes the place "+
			"of that; one with the subprotocol `wattbus.v1` starts empty. Otherwise server-sent events, whose event name is the event's "+
			"name. A slow reader gets only the newest state, reading and totals of each device, and a `gap` says how many it did not get.")
	op.Responses = map[string]*huma.Response{
		"101": {Description: "WebSocket"},
		"200": {Description: "Server-sent events", Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}},
		"default": problemResponse(h),
	}
	huma.Register(h, op, func(_ context.Context, in *eventsIn) (*huma.StreamResponse, error) {
		f := api.EventFilter{Types: in.Type, Meter: in.Meter, Path: in.Path}
		asked := len(f.Types) > 0 || f.Meter != "" || f.Path != ""
		if p := checkFilter(&f); p != nil {
			return nil, s.asError(p)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			switch {
			case isUpgrade(r):
				s.webSocket(w, r, f, asked)
			case in.Stream == "ws":
				w.Header().Set("Upgrade", "websocket")
				writeProblem(w, problem(http.StatusUpgradeRequired, "a WebSocket needs the headers Connection: Upgrade and Upgrade: websocket"))
			case in.Stream == "sse" || streamAccepted(r):
				s.serverSent(w, r, f)
			default:
				writeProblem(w, problem(http.StatusNotAcceptable, "live events come by WebSocket or, with Accept: text/event-stream or ?stream=sse, as server-sent events"))
			}
		}}, nil
	})
}

// streamAccepted reports whether the client takes server-sent events: it says so, or takes anything. RFC 9110, 12.5.1
func streamAccepted(r *http.Request) bool {
	all := strings.Join(r.Header.Values("Accept"), ",")
	best, accepted := -1, strings.TrimSpace(all) == ""
	for part := range strings.SplitSeq(all, ",") {
		kind, params, _ := strings.Cut(part, ";")
		exact := slices.Index([]string{"*/*", "text/*", "text/event-stream"}, strings.ToLower(strings.TrimSpace(kind)))
		if exact > best { // the most exact range counts
			best, accepted = exact, weight(params) > 0
		}
	}
	return accepted
}

// openStream makes the stream or answers why there is none.
func (s *Server) openStream(w http.ResponseWriter, r *http.Request) *stream {
	st, err := s.hub.open(callerOf(r, principal(r.Context())))
	if err == nil {
		if s.opt.known() {
			st.known = func() bool { who := s.authorised(r); return who != nil && who.May(api.RightView) }
		}
		return st
	}
	status := http.StatusServiceUnavailable
	if errors.Is(err, errStreamsOfOne) {
		status = http.StatusTooManyRequests
	}
	if !errors.Is(err, errStopping) {
		w.Header().Set("Retry-After", "10")
	}
	writeProblem(w, problem(status, err.Error()))
	return nil
}

// restFor is how long a stream rests once it was sent what there was: what comes meanwhile goes out together, in one write. The first event
// after a rest is not held back, and neither is any while much waits.
const restFor = 25 * time.Millisecond

// pump sends what the stream brings until ctx, the server, the reader or the token's time ends. flush is called when nothing waits.
func (s *Server) pump(ctx context.Context, st *stream, send func(message) error, flush func() error) error {
	var batch [64]message
	heartbeat := time.NewTicker(s.opt.HeartbeatEvery)
	defer heartbeat.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	<-rest.C
	ready := st.out.ready // nil: it rests
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-st.done:
			return errStopping
		case <-heartbeat.C:
			if st.known != nil && !st.known() {
				return errTakenBack
			}
			if err := send(control("heartbeat", api.LiveControl{Heartbeat: &api.Heartbeat{Time: s.opt.Clock.Now()}})); err != nil {
				return err
			}
		case <-rest.C:
			ready = st.out.ready
			continue
		case <-st.out.pressing:
			ready = st.out.ready
			continue
		case <-ready:
			n, coalesced, dropped := st.out.take(batch[:])
			if coalesced+dropped > 0 {
				s.metrics.coalesced.Add(float64(coalesced))
				s.metrics.dropped.Add(float64(dropped))
				if err := send(control("gap", api.LiveControl{Gap: &api.Gap{Coalesced: coalesced, Dropped: dropped}})); err != nil {
					return err
				}
			}
			for i := range n {
				if err := send(batch[i]); err != nil {
					return err
				}
				batch[i] = message{}
			}
			s.metrics.sent.Add(float64(n))
			if n < len(batch) {
				ready = nil
				rest.Reset(restFor)
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
}

// control makes a control message.
func control(name string, c api.LiveControl) message {
	text, err := json.Marshal(c)
	if err != nil { // it holds strings, numbers and times of this century
		text = []byte("{}")
	}
	return message{name: name, data: text}
}
