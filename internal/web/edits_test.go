package web

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// staff are tokens that are the names of those who show them.
type staff map[string][]api.Right

func (p staff) Find(token string) *api.Principal {
	rights, ok := p[token]
	if !ok {
		return nil
	}
	return &api.Principal{Name: token, Rights: rights}
}

const proposal = `{"meter":"M1","from":"2018-12-12T12:00:00Z","to":"2018-12-12T12:30:00Z","action":"set","values":[5],"reason":"site-visit","by":"mallory"}`

func TestEdits(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, Token: "shared", Tokens: staff{"anna": {api.RightEdit, api.RightApprove}, "berta": {api.RightApprove}, "carl": {api.RightView}, "emil": {api.RightEdit}}})
	s.refused(401, "", "Bearer", "GET", "/v1/edits", "")
	s.refused(401, "", "Bearer", "GET", "/v1/edits", "", "Authorization", "Bearer dora")
	for name, why := range map[string]string{"shared": "needs a name", "carl": `needs the right "edit"`, "berta": `needs the right "edit"`} {
		s.refused(403, "", why, "POST", "/v1/edits", proposal, "Authorization", "Bearer "+name)
	}
	s.refused(400, "action", "", "POST", "/v1/edits", `{"meter":"M1","from":"2018-12-12T12:00:00Z","to":"2018-12-12T12:30:00Z","action":"undo","reason":"site-visit"}`, "Authorization", "Bearer anna")
	e := want[api.Edit](s, 201, "POST", "/v1/edits", proposal, "Authorization", "Bearer anna")
	if e.By != "anna" || e.ID != "100" {
		t.Errorf("proposed by %q", e.By)
	}
	if q := c.lastAsked(api.QueryEditPropose).(api.EditRequest); q.By != "anna" || len(q.Values) != 1 || !q.From.Equal(noon) {
		t.Errorf("%+v", q)
	}
	s.refused(403, "", `needs the right "approve"`, "POST", "/v1/edits/100/approve", "", "Authorization", "Bearer carl")
	s.refused(409, "", "another person", "POST", "/v1/edits/100/approve", "", "Authorization", "Bearer anna")
	if e := want[api.Edit](s, 200, "POST", "/v1/edits/100/approve", `{"comment":"seen"}`, "Authorization", "Bearer berta"); e.State != "approved" || e.Decider != "berta" || e.Decision != "seen" {
		t.Errorf("%+v", e)
	}
	if e := want[api.Edit](s, 200, "POST", "/v1/edits/100/reject", "", "Authorization", "Bearer berta"); e.State != "rejected" {
		t.Errorf("%+v", e)
	}
	// Who proposed it takes it back with the right to propose.
	s.refused(403, "", `needs the right "edit"`, "POST", "/v1/edits/100/withdraw", "", "Authorization", "Bearer berta")
	want[api.Edit](s, 200, "POST", "/v1/edits/100/withdraw", "", "Authorization", "Bearer emil")
	if q := c.lastAsked(api.QueryEditDecide).(api.EditDecision); !q.Withdraw || q.Approve || q.By != "emil" {
		t.Errorf("%+v", q)
	}
	if l := want[api.Page[api.Edit]](s, 200, "GET", "/v1/edits?open=true", "", "Authorization", "Bearer carl"); len(l.Items) != 1 {
		t.Errorf("%+v", l)
	}
}

func TestValues(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	s.refused(403, "", "needs a name", "POST", "/v1/edits", proposal)
	want[api.Page[api.Reading]](s, 200, "GET", "/v1/meters/M1/readings?asKnownAt=2018-12-12T12:00:00Z", "")
	if q := c.lastAsked(api.QueryReadings).(api.ReadingQuery); !q.AsKnownAt.Equal(noon) {
		t.Errorf("%+v", q)
	}
	x := want[api.Explanation](s, 200, "GET", "/v1/meters/M1/explain?at=2018-12-12T12:00:00Z&channel=export", "")
	if q := c.lastAsked(api.QueryExplain).(api.ExplainQuery); !q.At.Equal(noon) || q.Channel != "export" || len(x.Versions) != 1 {
		t.Errorf("%+v", q)
	}
	want[api.Page[api.Finding]](s, 200, "GET", "/v1/findings?meter=M1&rule=spike&severity=warning&from=2018-12-12T12:00:00Z&to=2018-12-12T13:00:00Z&all=true&limit=1", "")
	q := c.lastAsked(api.QueryFindings).(api.FindingQuery)
	if q.Meter != "M1" || q.Rule != "spike" || q.Severity != "warning" || !q.To.Equal(noon.Add(time.Hour)) || !q.All || q.Limit != 1 {
		t.Errorf("%+v", q)
	}
	if r := want[api.RuleSet](s, 200, "GET", "/v1/rule-sets/0123456789ab", ""); r.Text == "" {
		t.Errorf("%+v", r)
	}
	s.refused(400, "id", "12 hexadecimal", "GET", "/v1/rule-sets/x", "")
	s.refused(400, "at", "missing", "GET", "/v1/meters/M1/explain", "")
	s.refused(400, "severity", "", "GET", "/v1/findings?severity=bad", "")
	s.refused(400, "meter", "", "GET", "/v1/findings?meter=all", "")
	s.refused(400, "to", "not after", "GET", "/v1/findings?from=2018-12-12T12:00:00Z&to=2018-12-12T11:00:00Z", "")
}
