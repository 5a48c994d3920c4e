package web

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

func TestToken(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, Token: "s3cret"})
	for _, auth := range []string{"", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer", "Bearer "} {
		resp, text := s.do("GET", "/v1/totals", "", "Authorization", auth)
		if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") || strings.Contains(string(text), "s3cret") {
			t.Errorf("%q: %d %v %s", auth, resp.StatusCode, resp.Header, text)
		}
	}
	want[api.Totals](s, 200, "GET", "/v1/totals", "", "Authorization", "Bearer s3cret")
	want[api.Totals](s, 200, "GET", "/v1/totals", "", "Authorization", "bearer s3cret", "Host", "wattbus.example")
	s.refused(401, "", "Authorization", "GET", "/metrics", "")
	for _, open := range []string{"/healthz", "/readyz", "/openapi.json", "/"} {
		if resp, text := s.do("GET", open, ""); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", open, resp.StatusCode, text)
		}
	}
}

// people are tokens in RAM.
type people map[string]*api.Principal

func (p people) Find(token string) *api.Principal { return p[token] }

// Everybody may do what his rights say, and what he asks for carries his name.
func TestTokensAndRights(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, Token: "root", Tokens: people{
		"v": {Name: "victor", Rights: []api.Right{api.RightView}},
		"o": {Name: "olga", Rights: []api.Right{api.RightOperate}},
		"e": {Name: "emil", Rights: []api.Right{api.RightEdit}},
		"a": {Name: "adam", Rights: []api.Right{api.RightAdmin}},
		"p": {Name: "paula", Rights: []api.Right{api.RightApprove}},
	}})
	const disconnect = `{"target":{"meter":"M1"},"type":"disconnect","by":"mallory"}`
	for _, call := range []struct {
		method, path, body string
		allowed            string // tokens
	}{
		{"GET", "/v1/totals", "", "v o e a p root"},
		{"GET", "/metrics", "", "v o e a p root"},
		{"POST", "/v1/commands", disconnect, "o root"},
		{"POST", "/v1/commands/100/cancel", "", "o root"},
		{"POST", "/v1/commands/100/approve", "{}", "p"},
		{"PUT", "/v1/groups/12", `{"members":["M1"]}`, "e root"},
		{"GET", "/v1/backup/bus", "", "a root"},
	} {
		for _, token := range []string{"v", "o", "e", "a", "p", "root"} {
			resp, text := s.do(call.method, call.path, call.body, "Authorization", "Bearer "+token)
			if refused := resp.StatusCode == 403; refused == strings.Contains(" "+call.allowed+" ", " "+token+" ") && call.allowed != "" {
				t.Errorf("%s: %s %s: %d %s", token, call.method, call.path, resp.StatusCode, text)
			}
		}
	}
	got := want[api.Principal](s, 200, "GET", "/v1/me", "", "Authorization", "Bearer o")
	if got.Name != "olga" || len(got.Rights) != 1 {
		t.Errorf("%+v", got)
	}
	want[api.Command](s, 202, "POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"disconnect"}`, "Authorization", "Bearer o")
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.asked[api.QueryCommandCreate].(api.CommandRequest); r.By != "olga" {
		t.Errorf("asked for by %q", r.By)
	}
}

// A page elsewhere must not be able to switch breakers by the operator's browser.
func TestOtherOrigins(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	const body = `{"target":{"meter":"M1"},"type":"disconnect"}`
	s.refused(403, "", "origin", "POST", "/v1/commands", body, "Origin", "https://evil.example")
	s.refused(403, "", "origin", "POST", "/v1/commands", body, "Sec-Fetch-Site", "cross-site")
	s.refused(403, "", "origin", "DELETE", "/v1/commands/100", "", "Origin", "null")
	want[api.Command](s, 202, "POST", "/v1/commands", body, "Origin", s.URL)
	want[api.Command](s, 202, "POST", "/v1/commands", body, "Sec-Fetch-Site", "same-origin")
	s.refused(421, "", "evil.example", "GET", "/v1/totals", "", "Host", "evil.example")
	s.refused(421, "", "evil.example", "POST", "/v1/commands", body, "Host", "evil.example:8080", "Origin", "http://evil.example:8080")
	for _, host := range []string{"localhost:8080", "127.0.0.1", "[::1]:8080", "wattbus.localhost"} {
		want[api.Totals](s, 200, "GET", "/v1/totals", "", "Host", host)
	}
}

func TestListenBeyondLoopback(t *testing.T) {
	c := newCentre(t)
	s, err := New(Options{Bus: c.bus})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context(), listen(t, "0.0.0.0:0"))
	if err == nil || !strings.Contains(err.Error(), "set a token, or listen on 127.0.0.1") {
		t.Errorf("error %v", err)
	}
}

func TestRunStops(t *testing.T) {
	c := newCentre(t)
	s, err := New(Options{Bus: c.bus, Console: console(), Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ln := listen(t, "0.0.0.0:0")
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	base := "http://" + strings.Replace(ln.Addr().String(), "[::]", "127.0.0.1", 1)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func(path string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer t")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	stream := get("/v1/events?stream=sse")
	if resp := get("/v1/totals"); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	} else if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream did not end in order: %v", err)
	}
	if err := stream.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunListenerFails(t *testing.T) {
	c := newCentre(t)
	s, err := New(Options{Bus: c.bus})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t, "127.0.0.1:0")
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "serving HTTP on") {
		t.Errorf("error %v", err)
	}
}

func TestNewRefusals(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no bus: no error")
	}
	c := newCentre(t)
	empty := console()
	delete(empty, "index.html")
	if _, err := New(Options{Bus: c.bus, Console: empty}); err == nil || !strings.Contains(err.Error(), "index.html") {
		t.Errorf("console without a page: %v", err)
	}
}

func TestConsole(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	index := string(console()["index.html"].Data)
	for _, path := range []string{"/", "/index.html", "/?x=1"} {
		resp, text := s.do("GET", path, "", "Accept-Encoding", "identity")
		if resp.StatusCode != 200 || string(text) != index || resp.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
	resp, _ := s.do("GET", "/assets/app-1a2b.js", "", "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") ||
		resp.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || resp.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if again, _ := s.do("GET", "/assets/app-1a2b.js", "", "Accept-Encoding", "gzip", "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("known file: %d", again.StatusCode)
	}
	if plain, _ := s.do("GET", "/assets/app-1a2b.js", "", "Accept-Encoding", "gzip;q=0"); plain.Header.Get("Content-Encoding") != "" ||
		plain.Header.Get("ETag") == resp.Header.Get("ETag") {
		t.Errorf("plain file: %v", plain.Header)
	}
	s.refused(404, "", "nothing at", "GET", "/assets/app-old.js", "")
	s.refused(404, "", "nothing at", "GET", "/nope.js", "")
	s.refused(404, "", "nothing at", "GET", "/meter/M1", "")
	s.refused(404, "", "nothing at", "GET", "/../secret", "")
	if !strings.Contains(resp.Header.Get("Content-Security-Policy"), "script-src 'self' 'sha256-") {
		t.Errorf("policy %q", resp.Header.Get("Content-Security-Policy"))
	}
	none, err := New(Options{Bus: c.bus})
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = none.Handler()
	s.refused(404, "", "no console", "GET", "/", "")
}

func TestGzip(t *testing.T) {
	var many []api.Concentrator
	for range 100 {
		many = append(many, api.Concentrator{ID: "C1", Path: "C1", State: "online", Since: noon})
	}
	big := &centre{t: t, bus: newBus(t), asked: map[string]any{}}
	s := serve(t, Options{Bus: big.bus})
	answer(big, api.QueryConcentrators, func(p api.Paging) (api.Page[api.Concentrator], error) { return paged(many, p) })
	answer(big, api.QueryTotals, func(struct{}) (api.Totals, error) { return api.Totals{}, nil })
	resp, text := s.do("GET", "/v1/concentrators", "", "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v", resp.Header)
	}
	z, err := gzip.NewReader(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	var page api.Page[api.Concentrator]
	if err := json.NewDecoder(z).Decode(&page); err != nil || len(page.Items) != 100 {
		t.Errorf("%d items, %v", len(page.Items), err)
	}
	if resp, _ := s.do("GET", "/v1/totals", "", "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("small answer: %v", resp.Header)
	}
	if resp, _ := s.do("GET", "/v1/concentrators", "", "Accept-Encoding", "br"); resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("not asked for: %v", resp.Header)
	}
}

func TestPanicIsAProblem(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	s.Config.Handler = s.web.middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("out of order") }))
	p := want[api.Problem](s, 500, "GET", "/v1/totals", "")
	if strings.Contains(p.Detail, "out of order") {
		t.Errorf("the client sees %q", p.Detail)
	}
	if err := s.web.asError(errors.New("disk on fire")); strings.Contains(err.Error(), "fire") {
		t.Errorf("the client sees %v", err)
	}
}
