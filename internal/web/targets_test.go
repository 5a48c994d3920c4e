package web

import (
	"net/http"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{http.MethodGet, "/v1/targets", "", 200, `"name":"lake"`},
		{http.MethodGet, "/readyz", "", 200, `"targets":"1 of 1 are away; the oldest events that wait are 7 s old"`},
		{http.MethodPost, "/v1/targets/lake/replay", `{"from":"2018-12-12T12:00:00Z"}`, 200, `"since":"2018-12-12T12:00:00Z"`},
		{http.MethodPost, "/v1/targets/none/replay", `{"from":"2018-12-12T12:00:00Z"}`, 404, "no target none"},
		{http.MethodPost, "/v1/targets/lake/replay", `{}`, 400, "from"},
	} {
		resp, text := s.do(tc.method, tc.path, tc.body)
		if resp.StatusCode != tc.status || !strings.Contains(string(text), tc.want) {
			t.Errorf("%s %s: %d %s, want %d and %s", tc.method, tc.path, resp.StatusCode, text, tc.status, tc.want)
		}
	}
}
