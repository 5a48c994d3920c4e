package web

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

func TestSubMeters(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	l := want[api.Page[api.SubMeter]](s, 200, "GET", "/v1/meters/M1/sub-meters?limit=1", "")
	if len(l.Items) != 1 || l.Next == "" || l.Items[0].Newest.Value != "246.138" {
		t.Errorf("%+v", l)
	}
	r := want[api.Page[api.SubReading]](s, 200, "GET", "/v1/meters/M1/sub-meters/G0039001936990619.x/readings?from=2018-12-12T12:00:00Z&to=2018-12-12T13:00:00Z&limit=1", "")
	if q := c.lastAsked(api.QuerySubReadings).(api.SubReadingQuery); len(r.Items) != 1 || q.ID != "M1" || q.SubMeter != "G0039001936990619.x" || !q.From.Equal(noon) || !q.To.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v", q)
	}
	s.refused(400, "id", "", "GET", "/v1/meters/all/sub-meters", "")
	s.refused(400, "id", "", "GET", "/v1/meters/all/sub-meters/G1/readings", "")
	s.refused(400, "sub", "character '%'", "GET", "/v1/meters/M1/sub-meters/G%25/readings", "")
	s.refused(400, "to", "not after", "GET", "/v1/meters/M1/sub-meters/G1/readings?from=2018-12-12T12:00:00Z&to=2018-12-12T11:00:00Z", "")
	s.refused(400, "limit", "", "GET", "/v1/meters/M1/sub-meters?limit=x", "")
}
