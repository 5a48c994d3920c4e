package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

func TestETags(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	// Without a header Go's client asks for gzip and undoes it; the tag is then that of the compressed form.
	resp, body := s.do("GET", "/v1/meters/M1", "", "Accept-Encoding", "identity")
	tag := resp.Header.Get("ETag")
	if resp.StatusCode != 200 || len(tag) < 10 || tag[0] != '"' || tag != tagOf(body) {
		t.Fatalf("%d, ETag %q", resp.StatusCode, tag)
	}
	for _, tc := range []struct {
		none string
		want int
	}{{tag, 304}, {"W/" + tag, 304}, {`"x", ` + tag, 304}, {"*", 304}, {gzipTag(tag), 304}, {`"x"`, 200}, {strings.Trim(tag, `"`), 200}} {
		resp, body := s.do("GET", "/v1/meters/M1", "", "If-None-Match", tc.none)
		if resp.StatusCode != tc.want || tc.want == 304 && (len(body) > 0 || resp.Header.Get("ETag") == "" || resp.Header.Get("Content-Type") != "") {
			t.Errorf("If-None-Match %s: %d, %v, %q", tc.none, resp.StatusCode, resp.Header, body)
		}
	}
	resp, body = s.do("HEAD", "/v1/meters/M1", "")
	if resp.StatusCode != 200 || len(body) > 0 || resp.Header.Get("ETag") != tag {
		t.Errorf("HEAD: %d, %v", resp.StatusCode, resp.Header)
	}
	const big = "/v1/meters?limit=3" // more than minGzip bytes
	resp, _ = s.do("GET", big, "", "Accept-Encoding", "gzip")
	zipped := resp.Header.Get("ETag")
	plain, _ := s.do("GET", big, "", "Accept-Encoding", "identity")
	if resp.Header.Get("Content-Encoding") == "gzip" && zipped != gzipTag(plain.Header.Get("ETag")) {
		t.Errorf("two forms, %q and %q", zipped, plain.Header.Get("ETag"))
	}
	if resp, _ := s.do("GET", big, "", "Accept-Encoding", "gzip", "If-None-Match", zipped); resp.StatusCode != 304 || resp.Header.Get("ETag") != zipped {
		t.Errorf("compressed form: %d, %q", resp.StatusCode, resp.Header.Get("ETag"))
	}
	if resp, _ := s.do("GET", "/v1/meters/M99", ""); resp.StatusCode != 404 || resp.Header.Get("ETag") != "" {
		t.Errorf("a problem has the ETag %q", resp.Header.Get("ETag"))
	}
}

func TestGroupIfMatch(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	put := func(want int, headers ...string) {
		t.Helper()
		if resp, body := s.do("PUT", "/v1/groups/12", `{"members":["M1"]}`, headers...); resp.StatusCode != want {
			t.Errorf("%v: status %d, want %d: %s", headers, resp.StatusCode, want, body)
		}
	}
	was := func() *[]string { return c.lastAsked(api.QueryGroupPut).(api.GroupPut).Was }
	put(412, "If-Match", "*") // there is no such group yet
	put(200, "If-None-Match", "*")
	if w := was(); w == nil || len(*w) != 0 {
		t.Errorf("the MDMS is told to replace %v", w)
	}
	resp, _ := s.do("GET", "/v1/groups/12", "")
	put(200, "If-Match", `"x", `+resp.Header.Get("ETag"))
	if w := was(); w == nil || fmt.Sprint(*w) != "[M1]" {
		t.Errorf("the MDMS is told to replace %v", w)
	}
	put(412, "If-Match", `"x"`)
	put(412, "If-Match", "W/"+resp.Header.Get("ETag")) // a weak one never matches here
	put(400, "If-None-Match", resp.Header.Get("ETag"))
	put(200)
	if was() != nil {
		t.Error("a request without a condition has one")
	}
}

// A change of what somebody else has changed meanwhile is refused; the MDMS is told what it is to be a change of.
func TestIfMatch(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	const cause, exchange = `{"stated":{"category":"vegetation"}}`, `{"meter":"M2"}`
	tag := func(path string) string {
		t.Helper()
		resp, _ := s.do("GET", path, "")
		return resp.Header.Get("ETag")
	}
	for _, tc := range []struct {
		method, path, body, tag string
		want                    int
	}{
		{"PATCH", "/v1/outages/5", cause, "", 200},
		{"PATCH", "/v1/outages/5", cause, tag("/v1/outages/5"), 200},
		{"PATCH", "/v1/outages/6", cause, `"x", ` + tag("/v1/outages/6"), 200},
		{"PATCH", "/v1/outages/6", cause, tag("/v1/outages/5"), 412},
		{"PATCH", "/v1/outages/7", cause, `"x"`, 412},
		{"POST", "/v1/usage-points/U1/exchange", exchange, tag("/v1/usage-points/U1"), 200},
		{"POST", "/v1/usage-points/U1/exchange", exchange, `"x"`, 412},
	} {
		var headers []string
		if tc.tag != "" {
			headers = []string{"If-Match", tc.tag}
		}
		if resp, body := s.do(tc.method, tc.path, tc.body, headers...); resp.StatusCode != tc.want {
			t.Errorf("%s with If-Match %s: status %d, want %d: %s", tc.path, tc.tag, resp.StatusCode, tc.want, body)
		}
		if q, _ := c.lastAsked(api.QueryOutageChange).(api.OutageChange); tc.method == "PATCH" && tc.want == 200 {
			switch want := map[string]time.Time{"5": {}, "6": noon}[q.ID]; {
			case tc.tag == "" && q.Was != nil, tc.tag != "" && (q.Was == nil || !q.Was.Equal(want)):
				t.Errorf("%s with If-Match %s: the MDMS is told to replace %v", tc.path, tc.tag, q.Was)
			}
		}
	}
	if q := c.lastAsked(api.QueryMeterExchange).(api.MeterExchange); q.Was == nil || *q.Was != "" {
		t.Errorf("the MDMS is told to replace meter %v", q.Was)
	}
}

func TestListsPageEverywhere(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	doc, _ := readOpenAPI(t, s)
	for path, methods := range doc.Paths {
		op := methods["get"]
		if !strings.HasPrefix(op.OperationID, "list-") || op.OperationID == "list-completeness" { // one object of a bounded number of keys
			continue
		}
		params := ""
		for _, p := range op.Parameters {
			params += p.Name + " "
		}
		if !strings.Contains(params, "cursor") || !strings.Contains(params, "limit") {
			t.Errorf("%s has no pages", path)
		}
	}
	first := want[api.Page[api.TargetStatus]](s, 200, "GET", "/v1/targets?limit=1", "")
	if len(first.Items) != 1 || first.Next != "" {
		t.Errorf("%+v", first)
	}
	last := want[api.Page[api.TargetStatus]](s, 200, "GET", "/v1/targets?cursor=lake", "")
	if len(last.Items) != 0 || last.Next != "" {
		t.Errorf("%+v", last)
	}
}

func TestRateLimit(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, RateLimit: 0.5, RateBurst: 3, Token: "hush"})
	ask := func(path string, headers ...string) *http.Response {
		t.Helper()
		resp, _ := s.do("GET", path, "", headers...)
		return resp
	}
	auth := []string{"Authorization", "Bearer hush"}
	for i := range 3 {
		resp := ask("/v1/me", auth...)
		if want := fmt.Sprintf(`"caller";r=%d;`, 2-i); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("RateLimit"), want) || resp.Header.Get("RateLimit-Policy") != `"caller";q=3;w=6` {
			t.Errorf("request %d: %d, %v", i, resp.StatusCode, resp.Header)
		}
	}
	p := s.refused(429, "", "too many requests: 0.5 a second", "GET", "/v1/me", "", auth...)
	if resp := ask("/v1/me", auth...); resp.Header.Get("Retry-After") == "" || p.Status != 429 {
		t.Errorf("no Retry-After: %v", resp.Header)
	}
	if resp := ask("/v1/me"); resp.StatusCode != 429 { // the same address, without a token: it cannot be guessed any faster
		t.Errorf("a guess: %d", resp.StatusCode)
	}
	for _, path := range []string{"/healthz", "/openapi.json", "/docs", "/"} {
		if resp := ask(path); resp.StatusCode != 200 || resp.Header.Get("RateLimit") != "" {
			t.Errorf("%s: %d, %v", path, resp.StatusCode, resp.Header)
		}
	}
}

func TestLimiter(t *testing.T) {
	now := noon
	l := newLimiter(2, 4)
	l.now = func() time.Time { return now }
	for i := range 4 {
		if left, wait := l.take("a"); left != 3-i || wait != 0 {
			t.Fatalf("%d left, wait %v", left, wait)
		}
	}
	if _, wait := l.take("a"); wait != 500*time.Millisecond {
		t.Errorf("wait %v", wait)
	}
	if _, wait := l.take("b"); wait != 0 {
		t.Error("callers share an allowance")
	}
	now = now.Add(time.Second)
	if left, wait := l.take("a"); left != 1 || wait != 0 {
		t.Errorf("a second later: %d left, wait %v", left, wait)
	}
	now = now.Add(-time.Hour) // a clock that is put back takes nothing away
	if left, wait := l.take("a"); left != 0 || wait != 0 {
		t.Errorf("%d left, wait %v", left, wait)
	}

	// However many callers come, memory is bounded; those without room share; room is made again.
	now = noon
	for i := range 3 * maxCallers {
		l.take(fmt.Sprint("c", i))
	}
	if n := len(l.callers); n > maxCallers {
		t.Errorf("%d callers are kept", n)
	}
	if _, wait := l.take("new"); wait == 0 {
		t.Error("a caller beyond the bound has an allowance of its own")
	}
	now = now.Add(time.Hour)
	if left, wait := l.take("new"); wait != 0 || left != 3 {
		t.Errorf("%d left, wait %v", left, wait)
	}
}

func TestCallerOf(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1:99": "192.0.2.1", "[2001:db8:1:2:3::4]:99": "2001:db8:1:2::/64", "[::ffff:192.0.2.1]:9": "192.0.2.1", "[fe80::1%eth0]:9": "fe80::/64", "@": "address", "": "address"} {
		if got := callerOf(&http.Request{RemoteAddr: addr}, whole); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := callerOf(&http.Request{RemoteAddr: "192.0.2.1:99"}, &api.Principal{Name: "alice"}); got != "name alice" {
		t.Error(got)
	}
}

// A browser shows what of an answer's time was the server's. Who may not ask is not told what it took to find that out.
func TestServerTiming(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, Token: "hush"})
	const auth = "Authorization"
	for _, path := range []string{"/v1/totals", "/v1/meters?limit=3", "/v1/meters/M99"} {
		resp, _ := s.do("GET", path, "", auth, "Bearer hush")
		var ms float64
		if _, err := fmt.Sscanf(resp.Header.Get("Server-Timing"), "answer;dur=%f", &ms); err != nil || ms < 0 || ms > 60_000 {
			t.Errorf("%s: Server-Timing %q", path, resp.Header.Get("Server-Timing"))
		}
		if resp, _ := s.do("GET", path, "", auth, "Bearer loud"); resp.StatusCode != 401 || resp.Header.Get("Server-Timing") != "" {
			t.Errorf("%s without a right to it: %d, Server-Timing %q", path, resp.StatusCode, resp.Header.Get("Server-Timing"))
		}
	}
}

func TestDocsPage(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, Token: "hush"})
	resp, body := s.do("GET", "/docs", "")
	text := string(body)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("ETag") == "" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	doc, _ := readOpenAPI(t, s)
	for _, methods := range doc.Paths {
		for _, op := range methods {
			if !strings.Contains(text, `<article id="`+op.OperationID+`"`) {
				t.Errorf("the page lacks %s", op.OperationID)
			}
		}
	}
	ids := map[string]bool{}
	for _, part := range strings.Split(text, ` id="`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		if ids[id] {
			t.Errorf("two things have the id %s", id)
		}
		ids[id] = true
	}
	for _, part := range strings.Split(text, `href="#`)[1:] {
		if id, _, _ := strings.Cut(part, `"`); !ids[id] {
			t.Errorf("a link leads to %s, which is not there", id)
		}
	}
	for _, elsewhere := range []string{"<script", "src=", "http://www", "https://", "@import"} {
		if strings.Contains(text, elsewhere) {
			t.Errorf("the page has %q", elsewhere)
		}
	}
	if !strings.Contains(text, "Needs the right <code>operate</code>") {
		t.Error("the page tells no rights")
	}
	resp, _ = s.do("GET", "/openapi.json", "")
	if !strings.Contains(resp.Header.Get("Link"), "service-doc") {
		t.Errorf("Link %q", resp.Header.Get("Link"))
	}
}
