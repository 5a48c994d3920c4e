package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wattbus/wattbus/internal/api"
)

// protocol is the WebSocket subprotocol; a client need not name one.
const protocol = "wattbus.v1"

// unasked is the key of the filter of a client that named none: everything, until it subscribes. No filterKey is like it.
const unasked = ""

// maxRequest bounds a client's message, bytes.
const maxRequest = 16 << 10

// upgrader takes over a connection. The origin was checked by admit.
func (s *Server) upgrader() websocket.Upgrader {
	return websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   1024,
		WriteBufferSize:  4096,
		Subprotocols:     []string{protocol},
		CheckOrigin:      sameOrigin,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			writeProblem(w, problem(status, strings.TrimPrefix(reason.Error(), "websocket: ")))
		},
	}
}

// webSocket streams events over a WebSocket (RFC 6455).
func (s *Server) webSocket(w http.ResponseWriter, r *http.Request, f api.EventFilter, asked bool) {
	st := s.openStream(w, r)
	if st == nil {
		return
	}
	defer st.leave()
	// Who does not name the subprotocol may not know how to subscribe.
	if all := !asked && !slices.Contains(websocket.Subprotocols(r), protocol); asked || all {
		key := filterKey(f)
		if all {
			key = unasked
		}
		if err := st.edit(func(fs map[string]api.EventFilter) { fs[key] = f }); err != nil {
			writeProblem(w, problem(http.StatusServiceUnavailable, err.Error()))
			return
		}
	}
	up := s.upgrader()
	taken := &taker{ResponseWriter: w}
	conn, err := up.Upgrade(taken, r, nil)
	if err != nil {
		s.log.Debug("WebSocket refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	// client --SUBSCRIBE/UNSUBSCRIBE, pong--> reader     writer --events, controls, ping--> client
	ctx, cancel := context.WithCancel(r.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		defer cancel()
		s.readRequests(conn, st)
	})
	err = s.pump(ctx, st, func(m message) error {
		if m.name == "heartbeat" {
			// The ping is for the connection, the message for the page, which does not see pings.
			if err := conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(s.opt.WriteTimeout)); err != nil {
				return err
			}
		}
		if err := conn.SetWriteDeadline(time.Now().Add(s.opt.WriteTimeout)); err != nil {
			return err
		}
		taken.conn.hold()
		return conn.WriteMessage(websocket.TextMessage, m.data)
	}, taken.conn.release)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		s.log.Info("live stream cut: it took nothing", "remote", r.RemoteAddr, "for", s.opt.WriteTimeout)
	}
	code := 0
	switch {
	case errors.Is(err, errStopping):
		code = websocket.CloseGoingAway
	case errors.Is(err, errTakenBack):
		code = websocket.ClosePolicyViolation
	}
	if code != 0 {
		bye := websocket.FormatCloseMessage(code, err.Error())
		if err := conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)); err != nil {
			s.log.Debug("closing WebSocket", "remote", r.RemoteAddr, "error", err)
		}
	}
	cancel()
	if err := conn.Close(); err != nil { // ends the reader
		s.log.Debug("closing WebSocket", "remote", r.RemoteAddr, "error", err)
	}
	reader.Wait()
}

// readRequests obeys the client's messages until the connection ends or is silent for three heartbeats.
func (s *Server) readRequests(conn *websocket.Conn, st *stream) {
	alive := func(string) error {
		return conn.SetReadDeadline(time.Now().Add(3*s.opt.HeartbeatEvery + 10*time.Second))
	}
	conn.SetReadLimit(maxRequest)
	conn.SetPongHandler(alive)
	if alive("") != nil {
		return
	}
	for {
		kind, text, err := conn.ReadMessage()
		if err != nil || alive("") != nil {
			return
		}
		if kind != websocket.TextMessage {
			st.out.push(control("error", api.LiveControl{Error: api.BadRequest("", "want text messages")}))
			continue
		}
		name, answer := st.obey(text)
		st.out.push(control(name, answer))
	}
}

// obey carries out one message of the client's and returns the answer.
func (st *stream) obey(text []byte) (string, api.LiveControl) {
	refuse := func(p *api.Problem) (string, api.LiveControl) { return "error", api.LiveControl{Error: p.Tell()} }
	var req api.LiveRequest
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return refuse(api.BadRequest("", "%v", err))
	}
	if (req.Subscribe == nil) == (req.Unsubscribe == nil) {
		return refuse(api.BadRequest("", `want one of the members "subscribe" and "unsubscribe"`))
	}
	f := req.Subscribe
	if f == nil {
		f = req.Unsubscribe
	}
	if p := checkFilter(f); p != nil {
		return refuse(p)
	}
	key, known := filterKey(*f), true
	err := st.edit(func(fs map[string]api.EventFilter) {
		if req.Subscribe != nil {
			delete(fs, unasked)
			fs[key] = *f
			return
		}
		_, known = fs[key]
		delete(fs, key)
	})
	var p *api.Problem
	switch {
	case errors.As(err, &p):
		return refuse(p)
	case err != nil:
		return refuse(problem(http.StatusServiceUnavailable, err.Error()))
	case !known:
		return refuse(api.NotFound("there is no such subscription on this connection"))
	case req.Subscribe != nil:
		return "subscribed", api.LiveControl{Subscribed: f}
	}
	return "unsubscribed", api.LiveControl{Unsubscribed: f}
}
