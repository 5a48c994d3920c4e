package web

import (
	"bytes"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

func TestMeters(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	first := want[api.Page[api.Meter]](s, 200, "GET", "/v1/meters?path=C1/C7&state=online&q=M&limit=2", "")
	if len(first.Items) != 2 || first.Next == "" || first.Items[0].Register.Import != 1234 {
		t.Fatalf("first page %+v", first)
	}
	if got := c.lastAsked(api.QueryMeters); got != (api.MeterQuery{Paging: api.Paging{Limit: 2}, Path: "C1/C7", State: "online", Q: "M"}) {
		t.Errorf("asked %+v", got)
	}
	second := want[api.Page[api.Meter]](s, 200, "GET", "/v1/meters?limit=2&cursor="+url.QueryEscape(first.Next), "")
	if len(second.Items) != 1 || second.Next != "" || second.Items[0].ID != "M3" {
		t.Errorf("second page %+v", second)
	}
	if m := want[api.Meter](s, 200, "GET", "/v1/meters/M2", ""); m.ID != "M2" || m.Path != "C1/C7" {
		t.Errorf("meter %+v", m)
	}
	rs := want[api.Page[api.Reading]](s, 200, "GET", "/v1/meters/M1/readings?from=2018-12-12T12:00:00Z&to=2018-12-12T14:00:00%2B01:00", "")
	if len(rs.Items) != 2 || *rs.Items[0].Import != 120 || rs.Items[1].Import != nil {
		t.Errorf("readings %+v", rs)
	}
	q, _ := c.lastAsked(api.QueryReadings).(api.ReadingQuery)
	if !q.From.Equal(noon) || !q.To.Equal(noon.Add(time.Hour)) || q.ID != "M1" || q.Limit != 100 {
		t.Errorf("asked %+v", q)
	}
	want[api.Page[api.Reading]](s, 200, "GET", "/v1/meters/M1/readings", "")
	q, _ = c.lastAsked(api.QueryReadings).(api.ReadingQuery)
	if !q.From.IsZero() || !q.To.IsZero() {
		t.Errorf("without a span asked %+v", q)
	}
}

func TestMeterRefusals(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	s.refused(404, "", "no meter M9", "GET", "/v1/meters/M9", "")
	s.refused(400, "id", "characters", "GET", "/v1/meters/"+strings.Repeat("x", 24), "")
	s.refused(400, "id", "reserved", "GET", "/v1/meters/all", "")
	s.refused(400, "path", "grammar", "GET", "/v1/meters?path=C1//C7", "")
	s.refused(400, "state", `"dead", expected`, "GET", "/v1/meters?state=dead", "")
	s.refused(400, "limit", "expected", "GET", "/v1/meters?limit=0", "")
	s.refused(400, "limit", "1001, expected", "GET", "/v1/meters?limit=1001", "")
	s.refused(400, "limit", "integer", "GET", "/v1/meters?limit=many", "")
	s.refused(400, "cursor", "page before", "GET", "/v1/meters?cursor=zzz", "")
	s.refused(400, "colour", "unknown", "GET", "/v1/meters?colour=red", "")
	s.refused(400, "from", "RFC 3339", "GET", "/v1/meters/M1/readings?from=yesterday", "")
	s.refused(400, "from", "1970", "GET", "/v1/meters/M1/readings?from=1969-01-01T00:00:00Z", "")
	s.refused(400, "to", "2106", "GET", "/v1/meters/M1/readings?to=2200-01-01T00:00:00Z", "")
	s.refused(400, "to", "not after", "GET", "/v1/meters/M1/readings?from=2018-12-12T12:00:00Z&to=2018-12-12T12:00:00Z", "")
	if p := s.refused(400, "limit", "", "GET", "/v1/meters?state=dead&limit=0", ""); len(p.Errors) != 2 || p.Errors[1].Field != "state" {
		t.Errorf("errors %+v", p.Errors)
	}
}

func TestCommands(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	resp, text := s.do("POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"disconnect","expiresIn":30,"by":"somebody else"}`)
	if resp.StatusCode != 202 || resp.Header.Get("Location") != "/v1/commands/100" || !strings.Contains(string(text), `"id":"100"`) {
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, text)
	}
	asked, _ := c.lastAsked(api.QueryCommandCreate).(api.CommandRequest)
	if asked.By != "api" || asked.ExpiresIn != 30 || asked.Type != "disconnect" {
		t.Errorf("asked %+v", asked)
	}
	want[api.Command](s, 202, "POST", "/v1/commands", `{"target":{"group":0},"type":"profile","params":{"from":"2018-12-12T00:00:00Z","to":"2018-12-12T06:00:00Z","channel":"all"}}`)
	if asked, _ = c.lastAsked(api.QueryCommandCreate).(api.CommandRequest); asked.Target.Group == nil || *asked.Target.Group != 0 || asked.Params.Channel != "all" {
		t.Errorf("asked %+v", asked)
	}
	if cmd := want[api.Command](s, 200, "GET", "/v1/commands/100", ""); cmd.State != api.CommandQueued {
		t.Errorf("command %+v", cmd)
	}
	if cmd := want[api.Command](s, 200, "POST", "/v1/commands/100/cancel", ""); cmd.State != api.CommandCancelled {
		t.Errorf("command %+v", cmd)
	}
	if cmd := want[api.Command](s, 200, "DELETE", "/v1/commands/101", ""); cmd.State != api.CommandCancelled {
		t.Errorf("command %+v", cmd)
	}
	if all := want[api.Page[api.Command]](s, 200, "GET", "/v1/commands", ""); len(all.Items) != 2 {
		t.Errorf("commands %+v", all)
	}
	if open := want[api.Page[api.Command]](s, 200, "GET", "/v1/commands?open=true", ""); open.Items == nil || len(open.Items) != 0 {
		t.Errorf("open commands %+v", open)
	}
}

// Programs that speak to meters, too, know channels by their numbers; types of bodies may be written in capitals.
func TestNumberedChannel(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	for given, want := range map[string]api.Channel{`0`: api.ChannelImport, `1`: api.ChannelExport, `255.0`: api.ChannelAll, `"export"`: api.ChannelExport} {
		resp, body := s.do("POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"profile","params":{"channel":`+given+`}}`, "Content-Type", "Application/JSON; charset=UTF-8")
		if got := c.lastAsked(api.QueryCommandCreate).(api.CommandRequest).Params.Channel; resp.StatusCode != 202 || got != want {
			t.Errorf("channel %s: status %d, %q, want %q: %s", given, resp.StatusCode, got, want, body)
		}
	}
}

// Times of a query may have small letters, and a plus sign that the client forgot to escape.
func TestTimesOfQueries(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	for _, from := range []string{"2018-12-12T06:00:00Z", "2018-12-12t06:00:00z", "2018-12-12T07:00:00+01:00", "2018-12-12t07:00:00.000%2B01:00", "2018-12-12T05:00:00-01:00"} {
		if resp, body := s.do("GET", "/v1/meters/M1/readings?from="+from, ""); resp.StatusCode != 200 {
			t.Errorf("%s: status %d: %s", from, resp.StatusCode, body)
		}
		if q := c.lastAsked(api.QueryReadings).(api.ReadingQuery); !q.From.Equal(time.Date(2018, 12, 12, 6, 0, 0, 0, time.UTC)) {
			t.Errorf("%s is taken for %v", from, q.From)
		}
	}
	for _, from := range []string{"yesterday", "2018-12-12%2006:00:00Z", "2018-12-12T06:00:00%2B1"} {
		s.refused(400, "from", "RFC 3339", "GET", "/v1/meters/M1/readings?from="+from, "")
	}
}

func TestCommandRefusals(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	post := func(field, text, body string) {
		t.Helper()
		s.refused(400, field, text, "POST", "/v1/commands", body)
	}
	post("body", "required", ``)
	post("body", "JSON", `{"target"`)
	post("body", "object", `[]`)
	post("target", "required", `{"type":"read"}`)
	post("target", "0 of meter, meters, path, group and query", `{"target":{},"type":"read"}`)
	post("target", "2 of meter, meters, path, group and query", `{"target":{"meter":"M1","group":3},"type":"read"}`)
	post("target.meter", "reserved", `{"target":{"meter":"group"},"type":"read"}`)
	post("target.meter", "no meter M99", `{"target":{"meter":"M99"},"type":"read"}`)
	post("target.path", "grammar", `{"target":{"path":"C1/"},"type":"read"}`)
	post("target.group", "", `{"target":{"group":-1},"type":"read"}`)
	post("target.group", "<= 4294967295", `{"target":{"group":4294967296},"type":"read"}`)
	post("params.groups[1]", "4294967296, expected number <= 4294967295", `{"target":{"meter":"M1"},"type":"groups","params":{"groups":[1,4294967296]}}`)
	post("params.channel", "import, export, all, 0, 1, 255", `{"target":{"meter":"M1"},"type":"profile","params":{"channel":2}}`)
	post("params.from", "1796000000", `{"target":{"meter":"M1"},"type":"profile","params":{"from":1796000000}}`)
	post("type", "one of", `{"target":{"meter":"M1"},"type":"explode"}`)
	post("expiresIn", "", `{"target":{"meter":"M1"},"type":"read","expiresIn":-1}`)
	post("colour", "unexpected", `{"target":{"meter":"M1"},"type":"read","colour":1}`)
	post("params.from", "", `{"target":{"meter":"M1"},"type":"profile","params":{"from":"noon"}}`)
	post("params.from", "1970", `{"target":{"meter":"M1"},"type":"profile","params":{"from":"1960-01-01T00:00:00Z"}}`)
	s.refused(413, "body", "too large", "POST", "/v1/commands", `{"target":{"meter":"`+strings.Repeat("x", maxBody)+`"}}`)
	s.refused(415, "Content-Type", `"text/xml", want application/json`, "POST", "/v1/commands", `<xml/>`, "Content-Type", "text/xml")
	s.refused(400, "id", "decimal", "GET", "/v1/commands/abc", "")
	s.refused(404, "", "no command 7", "GET", "/v1/commands/7", "")
	s.refused(404, "", "no command 7", "GET", "/v1/commands/7", "", "Prefer", "wait=5")
	s.refused(404, "", "no command 7", "DELETE", "/v1/commands/7", "")
	s.refused(404, "", "no command 7", "POST", "/v1/commands/7/cancel", "")
}

func TestPreferWait(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	go func() {
		for c.lastAsked(api.QueryCommand) == nil {
			time.Sleep(time.Millisecond)
		}
		cmd := c.end("100", api.CommandDone)
		c.publish("meter", api.EventCommand, "C1", "M1", cmd)
	}()
	resp, text := s.do("POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"read"}`, "Prefer", `wait="30", respond-async`)
	if resp.StatusCode != 200 || resp.Header.Get("Preference-Applied") != "wait=30" || !strings.Contains(string(text), `"state":"done"`) {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, text)
	}
	// Without an event the end is found by looking.
	want[api.Command](s, 202, "POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"read"}`)
	time.AfterFunc(50*time.Millisecond, func() { c.end("101", api.CommandFailed) })
	if cmd := want[api.Command](s, 200, "GET", "/v1/commands/101", "", "Prefer", "wait=30"); cmd.State != api.CommandFailed {
		t.Errorf("command %+v", cmd)
	}
	// Nothing happens: the answer is what there is.
	want[api.Command](s, 202, "POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"read"}`)
	start := time.Now()
	if cmd := want[api.Command](s, 200, "GET", "/v1/commands/102", "", "Prefer", "wait=1"); cmd.State != api.CommandQueued || time.Since(start) < time.Second {
		t.Errorf("command %+v after %v", cmd, time.Since(start))
	}
}

func TestGroups(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	if g := want[api.Group](s, 200, "PUT", "/v1/groups/12", `{"members":["M1","M2"]}`); g.Group != 12 || len(g.Members) != 2 || g.Members[0].Confirmed != nil {
		t.Errorf("group %+v", g)
	}
	want[api.Group](s, 200, "PUT", "/v1/groups/4294967295", `{"members":[]}`)
	if all := want[api.Page[api.Group]](s, 200, "GET", "/v1/groups", ""); len(all.Items) != 2 {
		t.Errorf("groups %+v", all)
	}
	if g := want[api.Group](s, 200, "GET", "/v1/groups/12", ""); len(g.Members) != 2 {
		t.Errorf("group %+v", g)
	}
	s.refused(404, "", "group 13", "GET", "/v1/groups/13", "")
	s.refused(400, "n", "", "GET", "/v1/groups/4294967296", "")
	s.refused(400, "n", "integer", "GET", "/v1/groups/night", "")
	s.refused(400, "members", "required", "PUT", "/v1/groups/12", `{}`)
	s.refused(400, "members", "", "PUT", "/v1/groups/12", `{"members":null}`)
	s.refused(400, "members", "reserved", "PUT", "/v1/groups/12", `{"members":["M1","all"]}`)
}

func TestOutages(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	s.do("GET", "/v1/outages?kind=power-lost,maintenance&feeder=F1&all=true", "")
	if q := c.lastAsked(api.QueryOutages); !reflect.DeepEqual(q, api.OutageQuery{Paging: api.Paging{Limit: 100}, Kinds: []string{"power-lost", "maintenance"}, Feeder: "F1", All: true}) {
		t.Errorf("asked %+v", q)
	}
	if o := want[api.Outage](s, 200, "GET", "/v1/outages/5", ""); o.ID != "5" {
		t.Errorf("%+v", o)
	}
	list := want[api.Page[api.Interruption]](s, 200, "GET", "/v1/outages/5/interruptions?limit=1", "")
	if q := c.lastAsked(api.QueryInterruptions).(api.InterruptionQuery); len(list.Items) != 1 || list.Next == "" || q.Case != "5" {
		t.Errorf("%+v, asked %+v", list, q)
	}
	resp, text := s.do("GET", "/v1/end-device-events?limit=2", "")
	xml := `<?xml version="1.0" encoding="UTF-8"?>
<EndDeviceEvents xmlns="http://iec.ch/TC57/2011/EndDeviceEvents#">
<EndDeviceEvent><mRID>7.85</mRID><createdDateTime>2018-12-12T12:00:00Z</createdDateTime><issuerID>wattbus</issuerID><issuerTrackingID>5</issuerTrackingID><reason>inferred from what the meter and its neighbours show</reason><severity>high</severity><Assets><mRID>M1</mRID></Assets><EndDeviceEventDetails><name>inferred</name><value>true</value></EndDeviceEventDetails><EndDeviceEventDetails><name>cause</name><value>transformer</value></EndDeviceEventDetails><EndDeviceEventDetails><name>causeCategory</name><value>vegetation</value></EndDeviceEventDetails><EndDeviceEventType ref="3.26.0.85"/></EndDeviceEvent>
<EndDeviceEvent><mRID>7.216</mRID><createdDateTime>2018-12-12T12:10:00Z</createdDateTime><issuerID>wattbus</issuerID><issuerTrackingID>5</issuerTrackingID><reason>the meter is back</reason><severity>low</severity><Assets><mRID>M1</mRID></Assets><EndDeviceEventDetails><name>class</name><value>sustained</value></EndDeviceEventDetails><EndDeviceEventDetails><name>duration</name><value>PT600S</value></EndDeviceEventDetails><EndDeviceEventType ref="3.26.0.216"/></EndDeviceEvent>
<EndDeviceEvent><mRID>8.85</mRID><createdDateTime>2018-12-12T12:00:00Z</createdDateTime><issuerID>wattbus</issuerID><reason>last gasp of the meter</reason><severity>high</severity><Assets><mRID>M&lt;2&gt;</mRID></Assets><EndDeviceEventType ref="3.26.0.85"/></EndDeviceEvent>
</EndDeviceEvents>
`
	if resp.Header.Get("Content-Type") != "application/xml; charset=utf-8" || string(text) != xml {
		t.Errorf("%v\n%s", resp.Header, text)
	}
	if _, text := s.do("GET", "/v1/end-device-events?format=json&limit=1", ""); !strings.HasPrefix(string(text), `{"EndDeviceEvents":{"EndDeviceEvent":[{"mRID":"7.85"`) {
		t.Errorf("%s", text)
	}
	if w := want[api.Maintenance](s, 201, "POST", "/v1/maintenance", `{"scope":"feeder","name":"F1","to":"2018-12-12T14:00:00Z"}`); w.Name != "F1" || w.By != "api" {
		t.Errorf("%+v", w)
	}
	s.refused(400, "scope", "", "POST", "/v1/maintenance", `{"scope":"house","to":"2018-12-12T14:00:00Z"}`)
	if o := want[api.Outage](s, 200, "PATCH", "/v1/outages/7", `{"stated":{"category":"other","comment":"a balloon","by":"somebody","time":"2018-12-12T14:00:00Z"}}`); o.ID != "7" || o.Stated == nil ||
		*o.Stated != (api.StatedCause{Category: "other", Comment: "a balloon", By: "api"}) {
		t.Errorf("%+v", o) // who it was is not for the caller to say
	}
	s.refused(400, "stated.category", "", "PATCH", "/v1/outages/7", `{"stated":{"category":"flood"}}`)
	s.refused(400, "stated", "", "PATCH", "/v1/outages/7", `{}`)
	s.refused(400, "end", "", "PATCH", "/v1/outages/7", `{"stated":{"category":"other"},"end":null}`)
	if w := want[api.Maintenance](s, 200, "POST", "/v1/maintenance/9/end", ""); w.ID != "9" {
		t.Errorf("%+v", w)
	}
	if got := want[api.IndicesAnswer](s, 200, "GET", "/v1/indices?from=2018-12-01T00:00:00Z", ""); got.All.Customers != 3 {
		t.Errorf("%+v", got)
	}
	want[api.Storm](s, 200, "GET", "/v1/storm", "")
}

func TestNetwork(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	if all := want[api.Page[api.Concentrator]](s, 200, "GET", "/v1/concentrators", ""); len(all.Items) != 2 || all.Items[1].Path != "C1/C7" {
		t.Errorf("concentrators %+v", all)
	}
	_, text := s.do("GET", "/v1/outages?open=true", "")
	if strings.TrimSpace(string(text)) != `{"items":[]}` {
		t.Errorf("outages %s", text)
	}
	if q := c.lastAsked(api.QueryOutages); !reflect.DeepEqual(q, api.OutageQuery{Paging: api.Paging{Limit: 100}, Open: true}) {
		t.Errorf("asked %+v", q)
	}
	if got := want[api.Completeness](s, 200, "GET", "/v1/completeness?from=2018-12-01T00:00:00Z", ""); got.Percent != 100 || !got.To.IsZero() {
		t.Errorf("completeness %+v", got)
	}
	s.refused(400, "to", "not after", "GET", "/v1/completeness?from=2018-12-12T12:00:00Z&to=2018-12-11T12:00:00Z", "")
	s.refused(400, "to", "not after", "GET", "/v1/service-level?from=2018-12-12T12:00:00Z&to=2018-12-11T12:00:00Z", "")
	if got := want[api.Totals](s, 200, "GET", "/v1/totals", ""); got.Meters != 3 || !got.Time.Equal(noon) {
		t.Errorf("totals %+v", got)
	}
}

func TestDeadLetters(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	if got := want[api.Page[api.DeadLetter]](s, 200, "GET", "/v1/dead-letters", ""); got.Items == nil || len(got.Items) != 0 {
		t.Errorf("none: %+v", got)
	}
	for _, topic := range []string{"up/meter/A/reading", "up/meter/B/reading", "up/meter/D/reading"} {
		if err := c.bus.PublishDead(t.Context(), bus.DeadLetter{Topic: topic, Reason: "length", Received: noon, Payload: []byte{1, 2, 3}}); err != nil {
			t.Fatal(err)
		}
	}
	first := want[api.Page[api.DeadLetter]](s, 200, "GET", "/v1/dead-letters?limit=2", "")
	if len(first.Items) != 2 || first.Items[0].Topic != "up/meter/D/reading" || first.Items[0].Size != 3 || first.Next == "" {
		t.Fatalf("first %+v", first)
	}
	second := want[api.Page[api.DeadLetter]](s, 200, "GET", "/v1/dead-letters?limit=2&cursor="+first.Next, "")
	if len(second.Items) != 1 || second.Items[0].Topic != "up/meter/A/reading" || second.Next != "" {
		t.Errorf("second %+v", second)
	}
	s.refused(400, "cursor", "page before", "GET", "/v1/dead-letters?cursor=x", "")
}

func TestHealth(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus, Version: "1.2.3"})
	if got := want[api.Health](s, 200, "GET", "/healthz", ""); got.Status != "ok" || got.Version != "1.2.3" {
		t.Errorf("healthz %+v", got)
	}
	if got := want[api.Health](s, 200, "GET", "/readyz", ""); got.Roles["mdms"] != "ok" || got.Roles["eeb"] != "ok" {
		t.Errorf("readyz %+v", got)
	}
	_, text := s.do("GET", "/metrics", "")
	if !strings.Contains(string(text), `wattbus_web_requests_total{method="GET",route="/readyz",status="200"} 1`) {
		t.Errorf("metrics %s", text)
	}
}

func TestNobodyAnswers(t *testing.T) {
	b := newBus(t)
	s := serve(t, Options{Bus: b, AskTimeout: 200 * time.Millisecond, LongAskTimeout: 200 * time.Millisecond})
	s.refused(503, "", "role mdms does not answer", "GET", "/v1/totals", "")
	s.refused(503, "", "role mdms does not answer", "GET", "/v1/meters", "")
	s.refused(503, "", "role mdms does not answer", "POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"read"}`)
	p := s.refused(503, "", "role eeb does not answer", "GET", "/readyz", "")
	if !strings.Contains(p.Detail, "role mdms") {
		t.Errorf("detail %q", p.Detail)
	}
	want[api.Health](s, 200, "GET", "/healthz", "")
	// One that takes too long.
	c := &centre{t: t, bus: b, asked: map[string]any{}}
	answer(c, api.QueryTotals, func(struct{}) (api.Totals, error) { time.Sleep(400 * time.Millisecond); return api.Totals{}, nil })
	s.refused(503, "", "role mdms does not answer", "GET", "/v1/totals", "")
	answer(c, api.QueryMeter, func(api.ByID) (api.Meter, error) { panic("out of order") })
	s = serve(t, Options{Bus: b})
	s.refused(500, "", "log", "GET", "/v1/meters/M1", "")
}

func TestRoutes(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	s.refused(404, "", "/v1/nothing", "GET", "/v1/nothing", "")
	s.refused(404, "", "/v1", "GET", "/v1/", "")
	s.refused(404, "", "/v1", "GET", "/v1", "")
	s.refused(405, "", "GET, HEAD", "DELETE", "/v1/meters", "")
	s.refused(405, "", "POST", "GET", "/v1/commands/1/cancel", "")
	s.refused(405, "", "GET, HEAD", "POST", "/console", "")
	resp, _ := s.do("PATCH", "/v1/groups/1", "")
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD, PUT" {
		t.Errorf("%d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
	resp, text := s.do("HEAD", "/v1/totals", "")
	if resp.StatusCode != 200 || len(text) != 0 {
		t.Errorf("HEAD: %d %q", resp.StatusCode, text)
	}
	for _, h := range []string{"X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy"} {
		if resp.Header.Get(h) == "" {
			t.Errorf("no header %s", h)
		}
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", resp.Header.Get("Cache-Control"))
	}
}

func TestBackupOfTheBus(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	if err := c.bus.PublishDead(t.Context(), bus.DeadLetter{Topic: "x", Reason: "length", Received: noon, Payload: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	var w bytes.Buffer
	if err := s.client("").BackupBus(t.Context(), &w); err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, err := bus.ReadBackup(&w, func(k bus.Kept) error { n++; return nil }); err != nil || n != 1 {
		t.Fatalf("%d messages, %v", n, err)
	}
}
