package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wattbus/wattbus/internal/api"
)

// ws is a WebSocket client that knows the two kinds of messages.
type ws struct {
	*websocket.Conn
	t *testing.T
}

type liveMessage struct {
	api.LiveControl
	api.Event
}

func (s *site) dial(query string, headers ...string) (*websocket.Conn, *http.Response, error) {
	h := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	d := websocket.Dialer{HandshakeTimeout: 30 * time.Second}
	return d.DialContext(s.t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/v1/events"+query, h)
}

func (s *site) webSocket(query string, headers ...string) *ws {
	s.t.Helper()
	conn, resp, err := s.dial(query, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	s.t.Cleanup(func() { _ = conn.Close() })
	return &ws{conn, s.t}
}

func (c *ws) say(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *ws) next() liveMessage {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	_, text, err := c.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	var m liveMessage
	if err := json.Unmarshal(text, &m); err != nil {
		c.t.Fatalf("%v: %s", err, text)
	}
	return m
}

// event reads the next message, which must be an event, and gives its name and device.
func (c *ws) event() string {
	c.t.Helper()
	m := c.next()
	for m.Heartbeat != nil {
		m = c.next()
	}
	if m.SpecVersion != "1.0" {
		c.t.Fatalf("no event: %+v", m)
	}
	return strings.TrimSuffix(strings.TrimPrefix(m.Type, "wattbus."), ".v1") + " " + m.Subject
}

func (c *ws) subscribe(filter string) {
	c.t.Helper()
	c.say(`{"subscribe":` + filter + `}`)
	if m := c.next(); m.Subscribed == nil {
		c.t.Fatalf("subscribe %s: %+v %+v", filter, m.LiveControl, m.Error)
	}
}

// topics are the bus subscriptions of the hub.
func (s *site) topics() int {
	s.web.hub.mu.Lock()
	defer s.web.hub.mu.Unlock()
	return len(s.web.hub.subjects)
}

func TestWebSocketSubscribe(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	conn := s.webSocket("", "Sec-WebSocket-Protocol", protocol)
	if s.topics() != 0 || c.bus.EventInterest("meter", api.EventReading) {
		t.Error("a stream without subscriptions follows something")
	}
	conn.subscribe(`{"id":"a","types":["state"]}`)
	conn.subscribe(`{"id":"b","types":["reading"],"meter":"M1"}`)
	if s.topics() != 3 || !c.bus.EventInterest("meter", api.EventReading) {
		t.Errorf("%d subjects followed, interest in readings %v", s.topics(), c.bus.EventInterest("meter", api.EventReading))
	}
	c.publish("meter", api.EventReading, "C1", "M2", struct{}{})
	c.publish("meter", api.EventReading, "C1", "M1", struct{}{})
	if got := conn.event(); got != "reading M1" {
		t.Errorf("got %s", got)
	}
	c.publish("meter", api.EventOutage, "C1", "M1", struct{}{})
	c.publish("meter", api.EventState, "C1", "M2", c.meter("M2"))
	if got := conn.event(); got != "state M2" {
		t.Errorf("got %s", got)
	}
	conn.say(`{"unsubscribe":{"id":"b"}}`)
	if m := conn.next(); m.Unsubscribed == nil || m.Unsubscribed.ID != "b" {
		t.Errorf("%+v", m)
	}
	if s.topics() != 1 || c.bus.EventInterest("meter", api.EventReading) {
		t.Errorf("%d subjects followed, interest in readings %v", s.topics(), c.bus.EventInterest("meter", api.EventReading))
	}
	conn.subscribe(`{"id":"a","types":["command"]}`) // replaces
	c.publish("meter", api.EventState, "C1", "M2", c.meter("M2"))
	c.publish("meter", api.EventCommand, "C1", "M2", struct{}{})
	if got := conn.event(); got != "command M2" {
		t.Errorf("got %s", got)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is followed for a client that is gone", func() bool { return s.topics() == 0 })
}

func TestWebSocketFilters(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	conn := s.webSocket("?type=state,concentrator&path=C1/C7")
	c.publish("meter", api.EventState, "C1", "M1", struct{}{})
	c.publish("meter", api.EventState, "C1/C7", "M2", struct{}{})
	c.publish("concentrator", api.EventConcentrator, "C1", "C7", struct{}{})
	c.publish("meter", api.EventState, "C1/C7/C9", "M.3", struct{}{})
	got := []string{conn.event(), conn.event(), conn.event()} // types come in an order of their own
	slices.Sort(got)
	if strings.Join(got, ", ") != "concentrator C7, state M.3, state M2" {
		t.Errorf("got %s", got)
	}
	// Two filters that overlap bring an event once.
	both := s.webSocket("?type=state")
	both.subscribe(`{"types":["state"],"meter":"M1"}`)
	c.publish("meter", api.EventState, "C1", "M1", struct{}{})
	c.publish("meter", api.EventState, "C1", "M2", struct{}{})
	if a, b := both.event(), both.event(); a != "state M1" || b != "state M2" {
		t.Errorf("got %s, %s", a, b)
	}
	all := s.webSocket("?type=totals")
	c.publish("centre", api.EventTotals, "", "centre", api.Totals{})
	if got := all.event(); got != "totals centre" {
		t.Errorf("got %s", got)
	}
}

// A client that knows of no filters gets everything, by either way; its first subscription takes the place of that.
func TestEverything(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	for _, accept := range []string{"", "*/*", "text/html, text/*;q=0.3"} {
		resp := s.sse("", "Accept", accept)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("Accept %q: %d, %s", accept, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		_ = resp.Body.Close()
	}
	eventually(t, "the streams have ended", func() bool { return s.topics() == 0 })
	conn := s.webSocket("")
	for _, name := range []string{api.EventReading, api.EventState, api.EventSubMeter} {
		c.publish("meter", name, "C1", "M1", struct{}{})
		if got := conn.event(); got != name+" M1" {
			t.Errorf("got %s", got)
		}
	}
	conn.subscribe(`{"types":["state"],"meter":"M2"}`)
	c.publish("meter", api.EventState, "C1", "M1", struct{}{})
	c.publish("meter", api.EventState, "C1", "M2", struct{}{})
	if got := conn.event(); got != "state M2" {
		t.Errorf("got %s", got)
	}
}

func TestWebSocketRefusals(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, MaxStreams: 1})
	conn := s.webSocket("")
	for text, field := range map[string]string{
		`{`: "", `{"subscribe":{"types":["weather"]}}`: "type", `{"subscribe":{"meter":"all"}}`: "meter", `{}`: "", `{"publish":1}`: "",
		`{"subscribe":{},"unsubscribe":{}}`: "", `{"unsubscribe":{"id":"x"}}`: "", `{"subscribe":{"path":"C1//C7"}}`: "path",
	} {
		conn.say(text)
		if m := conn.next(); m.Error == nil || m.Error.Field != field {
			t.Errorf("%s: %+v", text, m)
		}
	}
	if err := conn.WriteMessage(websocket.BinaryMessage, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if m := conn.next(); m.Error == nil {
		t.Errorf("binary: %+v", m)
	}
	for i := range maxFilters {
		conn.subscribe(fmt.Sprintf(`{"id":"%d","types":["state"],"meter":"M1"}`, i))
	}
	conn.say(`{"subscribe":{"id":"more","types":["state"],"meter":"M1"}}`)
	if m := conn.next(); m.Error == nil || !strings.Contains(m.Error.Detail, "at most 256") {
		t.Errorf("%+v", m)
	}
	s.refused(503, "", "too many", "GET", "/v1/events", "", "Accept", "text/event-stream")
	s.refused(406, "", "text/event-stream", "GET", "/v1/events", "", "Accept", "application/json, text/event-stream;q=0, */*;q=0.5")
	s.refused(426, "", "WebSocket", "GET", "/v1/events?stream=ws", "")
	s.refused(400, "type", "weather", "GET", "/v1/events?type=weather", "", "Accept", "text/event-stream")
	if _, resp, err := s.dial("", "Origin", "http://evil.example"); err == nil || resp.StatusCode != 403 {
		t.Errorf("another origin: %v", err)
	}
	if _, resp, err := s.dial("?type=weather"); err == nil || resp.StatusCode != 400 {
		t.Errorf("unknown type: %v", err)
	}
	conn.say(`{"subscribe":{"id":"` + strings.Repeat("x", maxRequest) + `"}}`)
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("a message above the bound: %v", err)
	}
}

func TestWebSocketToken(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, Token: "s3cret"})
	for _, p := range []string{"", "wattbus.v1", "wattbus.v1, bearer.wrong"} {
		if _, resp, err := s.dial("", "Sec-WebSocket-Protocol", p); err == nil || resp.StatusCode != 401 {
			t.Errorf("%q: %v", p, err)
		}
	}
	conn := s.webSocket("?type=state", "Sec-WebSocket-Protocol", "wattbus.v1, bearer.s3cret")
	if conn.Subprotocol() != "wattbus.v1" {
		t.Errorf("subprotocol %q", conn.Subprotocol())
	}
	s.webSocket("?type=state", "Authorization", "Bearer s3cret")
}

// A token as "openssl rand -base64" makes it is no name of a subprotocol, so a browser sends it encoded.
func TestWebSocketEncodedToken(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, Token: "q3x/k+Zz0w=="})
	conn := s.webSocket("?type=state", "Sec-WebSocket-Protocol", "wattbus.v1, bearer64.cTN4L2srWnowdz09")
	if conn.Subprotocol() != "wattbus.v1" {
		t.Errorf("subprotocol %q", conn.Subprotocol())
	}
	for _, p := range []string{"bearer64.", "bearer64.cTN4", "bearer64.cTN4L2srWnowdz09=", "bearer64.%"} {
		if _, resp, err := s.dial("", "Sec-WebSocket-Protocol", "wattbus.v1, "+p); err == nil || resp.StatusCode != 401 {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// fading is somebody whose token is taken back.
type fading struct{ gone atomic.Bool }

func (f *fading) Find(token string) *api.Principal {
	if token != "v" || f.gone.Load() {
		return nil
	}
	return &api.Principal{Name: "victor", Rights: []api.Right{api.RightView}}
}

// A token that is taken back ends the streams that were opened with it, at the next heartbeat.
func TestTokenTakenBack(t *testing.T) {
	c := newCentre(t)
	var f fading
	s := serve(t, Options{Bus: c.bus, Token: "root", Tokens: &f, HeartbeatEvery: 20 * time.Millisecond})
	conn := s.webSocket("?type=state", "Sec-WebSocket-Protocol", "wattbus.v1, bearer.v")
	sse := s.sse("?type=state", "Authorization", "Bearer v")
	other := s.webSocket("?type=state", "Authorization", "Bearer root")
	if m := conn.next(); m.Heartbeat == nil {
		t.Errorf("%+v", m)
	}
	f.gone.Store(true)
	var err error
	for err == nil {
		_, _, err = conn.ReadMessage()
	}
	if !websocket.IsCloseError(err, websocket.ClosePolicyViolation) || !strings.Contains(err.Error(), "the token is not known any more") {
		t.Errorf("WebSocket: %v", err)
	}
	if _, err := io.Copy(io.Discard, sse.Body); err != nil {
		t.Errorf("server-sent events: %v", err)
	}
	for range 3 {
		if m := other.next(); m.Heartbeat == nil {
			t.Errorf("another's: %+v", m)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, HeartbeatEvery: 20 * time.Millisecond})
	conn := s.webSocket("?type=state")
	pings := 0
	conn.SetPingHandler(func(string) error { pings++; return nil })
	for range 3 {
		if m := conn.next(); m.Heartbeat == nil || m.Heartbeat.Time.Before(noon) {
			t.Errorf("%+v", m)
		}
	}
	if pings == 0 {
		t.Error("no ping came")
	}
}

// A reader that stops reading gets, when it goes on, the newest state of every device, every command, and how much it missed.
func TestSlowReader(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	conn := s.webSocket("?type=state,command")
	fast := s.webSocket("?type=command")
	pad := strings.Repeat("x", 48<<10)
	const devices = 8
	rounds := 100 // 37 MiB, far more than sockets buffer
	if testing.Short() {
		rounds = 50
	}
	type state struct {
		Round int
		Pad   string
	}
	for round := range rounds {
		for d := range devices {
			c.publish("meter", api.EventState, "C1", fmt.Sprint("M", d), state{round, pad})
		}
		if round%10 == 9 {
			c.publish("meter", api.EventCommand, "C1", fmt.Sprint("K", round/10), struct{}{})
			if got := fast.event(); got != fmt.Sprint("command K", round/10) { // others are not held up
				t.Fatalf("fast reader got %s", got)
			}
		}
	}
	last := map[string]int{}
	commands, events := 0, 0
	var gap api.Gap
	for commands < rounds/10 || len(last) < devices || !complete(last, rounds-1) {
		m := conn.next()
		switch {
		case m.Gap != nil:
			gap.Coalesced += m.Gap.Coalesced
			gap.Dropped += m.Gap.Dropped
		case strings.Contains(m.Type, ".command."):
			commands++
			events++
		case m.SpecVersion != "":
			var st state
			if err := json.Unmarshal(m.Data, &st); err != nil {
				t.Fatal(err)
			}
			if old, ok := last[m.Subject]; ok && st.Round <= old {
				t.Fatalf("%s: round %d after %d", m.Subject, st.Round, old)
			}
			last[m.Subject] = st.Round
			events++
		}
	}
	if gap.Coalesced == 0 || gap.Dropped != 0 || int64(events)+gap.Coalesced+gap.Dropped != int64(devices*rounds+rounds/10) {
		t.Errorf("%d events came, coalesced %d, dropped %d, published %d", events, gap.Coalesced, gap.Dropped, devices*rounds+rounds/10)
	}
	t.Logf("of %d events %d came, %d were coalesced, %d dropped", devices*rounds+rounds/10, events, gap.Coalesced, gap.Dropped)
}

func complete(last map[string]int, round int) bool {
	for _, r := range last {
		if r != round {
			return false
		}
	}
	return true
}

// A reader that takes nothing for WriteTimeout is cut, whatever it holds is freed.
func TestDeadReaderIsCut(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, WriteTimeout: 100 * time.Millisecond})
	s.webSocket("?type=state")
	resp := s.sse("?type=state")
	defer func() { _ = resp.Body.Close() }()
	pad := strings.Repeat("x", 256<<10)
	eventually(t, "the dead readers are cut", func() bool {
		c.publish("meter", api.EventState, "C1", "M1", pad)
		s.web.hub.mu.Lock()
		defer s.web.hub.mu.Unlock()
		return len(s.web.hub.streams) == 0
	})
}

func (s *site) sse(query string, headers ...string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.URL+"/v1/events"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

func TestServerSentEvents(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, HeartbeatEvery: 50 * time.Millisecond})
	resp := s.sse("?type=state&meter=M1")
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	c.publish("meter", api.EventState, "C1", "M2", struct{}{})
	c.publish("meter", api.EventState, "C1", "M1", c.meter("M1"))
	lines := bufio.NewReader(resp.Body)
	var got []string
	for early := false; len(got) < 7; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		line = strings.TrimSpace(line)
		if line == "event: heartbeat" && len(got) == 2 { // before the event was there
			early = true
		}
		if line != "" && !early {
			got = append(got, line)
		}
		early = early && line != ""
	}
	if got[0] != "retry: 2000" || got[2] != "event: state" || !strings.HasPrefix(got[3], "id: ") || !strings.Contains(got[4], `"subject":"M1"`) ||
		got[5] != "event: heartbeat" || !strings.HasPrefix(got[6], `data: {"heartbeat":`) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// The server's time limits for ordinary answers do not end a stream.
func TestStreamOutlivesTimeouts(t *testing.T) {
	t.Parallel() // it waits more than it works
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, HeartbeatEvery: 30 * time.Millisecond})
	short := &site{Server: httptest.NewUnstartedServer(s.web.Handler()), t: t, web: s.web}
	short.Config.ReadTimeout, short.Config.WriteTimeout = 3*time.Second, 3*time.Second // enough for the request on a busy machine
	short.Start()
	t.Cleanup(short.Close)
	resp := short.sse("?type=state")
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for start := time.Now(); time.Since(start) < 4*time.Second; {
		if !lines.Scan() {
			t.Fatalf("the stream ended after %v: %v", time.Since(start), lines.Err())
		}
	}
}

func TestStreamsEndWithServer(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	conn := s.webSocket("?type=state")
	resp := s.sse("?type=state")
	s.web.hub.close()
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("WebSocket: %v", err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("server-sent events: %v", err)
	}
	_ = resp.Body.Close()
	s.web.hub.wait()
	s.refused(503, "", "stopping", "GET", "/v1/events", "", "Accept", "text/event-stream")
}
