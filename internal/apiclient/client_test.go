package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/internal/api"
)

// That client and server understand each other is tested in package web; here, what the client makes of servers that misbehave.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func against(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(Options{Server: s.URL + "/", Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answerJSON(t *testing.T, w http.ResponseWriter, v any) {
	t.Helper()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8080", "localhost", "ftp://host", "http://", "http://host?x=1", "http://user:secret@host", "http://host#x", ":"} {
		_, err := New(Options{Server: bad})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"http://127.0.0.1:8080", "https://centre.example/wattbus/", "http://[::1]:8080"} {
		if _, err := New(Options{Server: good}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestRequests(t *testing.T) {
	var got, body string
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.String() + " " + r.Header.Get("Authorization")
		text, _ := io.ReadAll(r.Body)
		body = string(text)
		answerJSON(t, w, struct{}{})
	})
	at := time.Date(2018, 12, 12, 1, 0, 0, 0, time.FixedZone("", 3600))
	if _, err := c.Readings(t.Context(), "M1", at, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if want := "GET /v1/meters/M1/readings?from=2018-12-12T00%3A00%3A00Z&limit=1000 Bearer t"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	if _, err := c.Meter(t.Context(), "../x"); err != nil {
		t.Fatal(err)
	}
	if got != "GET /v1/meters/..%2Fx Bearer t" {
		t.Errorf("sent %s", got)
	}
	// A property that the call does not know would be refused: the id stands in the path alone.
	if _, err := c.StateCause(t.Context(), "7", api.StatedCause{Category: "weather"}); err != nil {
		t.Fatal(err)
	}
	if want := `{"stated":{"category":"weather"}}`; got != "PATCH /v1/outages/7 Bearer t" || body != want {
		t.Errorf("sent %s with %s, want %s", got, body, want)
	}
}

// A request that is one too many is sent again, whole, when the centre says so; not for ever.
func TestBusy(t *testing.T) {
	tries, most := 0, 2
	var body string
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body = string(text)
		if tries++; tries <= most {
			w.Header().Set("Retry-After", "0")
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(429)
			fmt.Fprint(w, `{"title":"Too Many Requests","status":429}`)
			return
		}
		answerJSON(t, w, api.Group{})
	})
	if _, err := c.PutGroup(t.Context(), 12, []string{"M1"}); err != nil || tries != 3 || body != `{"members":["M1"]}` {
		t.Errorf("%d tries, %v, %q", tries, err, body)
	}
	tries, most = 0, 100
	var p *api.Problem
	if _, err := c.PutGroup(t.Context(), 12, nil); !errors.As(err, &p) || p.Status != 429 || tries != busyTries {
		t.Errorf("%d tries, %v", tries, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		kind, body string
		status     int
		want       api.Problem
	}{
		{"application/problem+json", `{"title":"Bad request","status":400,"field":"limit","detail":"too much"}`, 400,
			api.Problem{Title: "Bad request", Status: 400, Field: "limit", Detail: "too much"}},
		{"application/problem+json; charset=utf-8", `{"title":"Gone"}`, 410, api.Problem{Title: "Gone", Status: 410}},
		{"text/html", "<h1>Bad gateway</h1>" + strings.Repeat("x", 500), 502,
			api.Problem{Title: "502 Bad Gateway", Status: 502, Detail: "<h1>Bad gateway</h1>" + strings.Repeat("x", 180)}},
		{"application/json", `{`, 500, api.Problem{Title: "500 Internal Server Error", Status: 500, Detail: "{"}},
	} {
		cl := against(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		})
		_, err := cl.Totals(t.Context())
		var p *api.Problem
		if !errors.As(err, &p) || fmt.Sprint(*p) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v", c.body, err)
		}
	}
	c := against(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	if _, err := c.Totals(t.Context()); err == nil || !strings.Contains(err.Error(), "GET /v1/totals: reading the answer") {
		t.Errorf("no JSON: %v", err)
	}
	gone, err := New(Options{Server: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Totals(t.Context()); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "no answer from the centre at http://127.0.0.1:1") {
		t.Errorf("no server: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Totals(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A refused import tells up to 10,000 wrong lines, and all of them come.
func TestLongRefusal(t *testing.T) {
	want := &api.Problem{Title: "Bad request", Status: 400, Detail: "10000 of 20000 lines are wrong"}
	for i := range 10_000 {
		want.Errors = append(want.Errors, api.FieldError{Field: fmt.Sprintf("line %d, reason", i+2), Detail: strings.Repeat("x", 250)})
	}
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(400)
		if err := json.NewEncoder(w).Encode(want); err != nil {
			t.Error(err)
		}
	})
	_, err := c.ImportRegistry(t.Context(), strings.NewReader("x"), 1, true, "")
	var p *api.Problem
	if !errors.As(err, &p) || p.Detail != want.Detail || len(p.Errors) != len(want.Errors) {
		t.Errorf("%.200v", err)
	}
}

func TestPages(t *testing.T) {
	var asked []string
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		next := ""
		if n := len(asked); n < 3 {
			next = fmt.Sprint("c", n)
		}
		answerJSON(t, w, api.Page[api.Group]{Items: []api.Group{{Group: 1}, {Group: 2}}, Next: next})
	})
	items, err := c.Groups(t.Context())
	if err != nil || len(items) != 6 || strings.Join(asked, " ") != "limit=1000 cursor=c1&limit=1000 cursor=c2&limit=1000" {
		t.Errorf("%d items, %v, asked %v", len(items), err, asked)
	}
	asked = nil
	if ms, err := c.Meters(t.Context(), api.MeterQuery{}, 3); err != nil || strings.Join(asked, " ") != "limit=3 cursor=c1&limit=1" {
		t.Errorf("%d items, %v, asked %v", len(ms), err, asked)
	}
	loop := against(t, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(t, w, api.Page[api.Group]{Items: []api.Group{{}}, Next: "same"})
	})
	if _, err := loop.Groups(t.Context()); err == nil || !strings.Contains(err.Error(), "is itself") {
		t.Errorf("a list that never ends: %v", err)
	}
}

// A server that knows no Prefer, fails once and then has the result.
func TestWaitCommandPolls(t *testing.T) {
	var n atomic.Int32
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Prefer") != "wait=25" {
			t.Errorf("Prefer: %s", r.Header.Get("Prefer"))
		}
		switch n.Add(1) {
		case 1, 2:
			answerJSON(t, w, api.Command{ID: "1", State: api.CommandSent})
		case 3:
			w.WriteHeader(503)
		default:
			answerJSON(t, w, api.Command{ID: "1", State: api.CommandExpired})
		}
	})
	start := time.Now()
	cmd, err := c.WaitCommand(t.Context(), "1")
	if err != nil || cmd.State != api.CommandExpired || n.Load() != 4 || time.Since(start) < 2*waitPause+waitRetry {
		t.Errorf("%+v %v after %d requests and %v", cmd, err, n.Load(), time.Since(start))
	}
}

// TestRunCommand: one request makes a command and tells its end.
func TestRunCommand(t *testing.T) {
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v1/commands" || r.Header.Get("Prefer") != "wait=25" {
			t.Errorf("%s %s, Prefer: %s", r.Method, r.URL, r.Header.Get("Prefer"))
		}
		answerJSON(t, w, api.Command{ID: "1", State: api.CommandDone})
	})
	if cmd, err := c.RunCommand(t.Context(), api.CommandRequest{Type: api.CommandPing, Target: api.Target{Meter: "M1"}}); err != nil || cmd.State != api.CommandDone {
		t.Errorf("%+v %v", cmd, err)
	}
}

func TestFollowGap(t *testing.T) {
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "text/event-stream" || r.URL.RawQuery != "path=C1&type=state%2Coutage" {
			t.Errorf("%s, Accept %s", r.URL, r.Header.Get("Accept"))
		}
		fmt.Fprint(w, "retry: 1\n: hello\n\nevent: heartbeat\ndata: {\"heartbeat\":{\"time\":\"2018-12-12T00:00:00Z\"}}\n\n"+
			"event: gap\ndata: {\"gap\":{\"coalesced\":3,\"dropped\":4}}\n\n"+
			"event: state\r\nid: 7\r\ndata: {\"specversion\":\"1.0\",\r\ndata:\"id\":\"7\"}\r\n\r\nevent: state\ndata: {\"spec")
	})
	var ids []string
	var gap api.Gap
	err := c.Follow(t.Context(), EventFilter{Types: []string{"state", "outage"}, Path: "C1"},
		func(ev api.Event) error { ids = append(ids, ev.ID); return nil }, Hooks{Gap: func(g api.Gap) { gap = g }})
	if !errors.Is(err, ErrStreamEnded) || strings.Join(ids, " ") != "7" || gap != (api.Gap{Coalesced: 3, Dropped: 4}) {
		t.Errorf("%v, events %v, gap %+v", err, ids, gap)
	}
	bad := against(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "data: {\n\n") })
	if err := bad.Events(t.Context(), EventFilter{}, func(api.Event) error { return nil }); err == nil || !strings.Contains(err.Error(), "unreadable event") {
		t.Errorf("broken event: %v", err)
	}
}

func TestReadEventsBound(t *testing.T) {
	err := readEvents(strings.NewReader("data: "+strings.Repeat("x", maxEvent+1)), func() {}, func(string, []byte) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v", err)
	}
}

// Whatever comes, nothing panics, and what is handed on is what the same text with other line ends gives.
func FuzzReadEvents(f *testing.F) {
	f.Add("event: state\nid: 7\ndata: {\"a\":1}\n\n")
	f.Add(": comment\nretry: 2000\n\ndata\ndata:x\ndata: y\n\n")
	f.Add("data: a\r\n\r\nevent\n\n\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		read := func(s string) (out []string) {
			_ = readEvents(strings.NewReader(s), func() {}, func(name string, data []byte) error {
				out = append(out, name+" "+string(data))
				return nil
			})
			return out
		}
		if strings.ContainsRune(text, '\r') {
			read(text)
			return
		}
		a, b := read(text), read(strings.ReplaceAll(text, "\n", "\r\n"))
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%q and %q", a, b)
		}
	})
}
