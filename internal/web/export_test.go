package web

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/tariff"
)

const exportMeters = 5

// exportPage answers like the MDMS: five meters with half hours of the days that are asked for. Below path X it fails behind the third,
// below path Y there are 1,200 of a tariff that nobody knows.
func exportPage(q api.ExportQuery) (api.ExportPage, error) {
	out := api.ExportPage{Points: []api.ExportPoint{}, Now: noon, Known: noon.Add(-time.Second), Total: exportMeters}
	first := 0
	if q.Cursor != "" {
		if _, err := fmt.Sscanf(q.Cursor, "m/M%d", &first); err != nil {
			return out, api.BadRequest("cursor", "%q is no cursor", q.Cursor)
		}
	}
	for n := first + 1; q.Path == "Y" && n <= 1200; n++ {
		if out.Points = append(out.Points, api.ExportPoint{ID: fmt.Sprintf("M%d", n), Tariff: "none of them"}); len(out.Points) == q.Limit && n < 1200 {
			out.Next = fmt.Sprintf("m/M%d", n)
			break
		}
	}
	for n := first + 1; q.Path != "Y" && n <= exportMeters; n++ {
		if q.Path == "X" && n > 3 && !q.CountIt {
			return out, &api.Problem{Title: "Internal error", Status: 500, Detail: "the disk is gone"}
		}
		if len(q.Meters) > 0 && !slices.Contains(q.Meters, fmt.Sprintf("M%d", n)) {
			continue
		}
		if len(out.Points) == min(q.Limit, 2) {
			out.Next = "m/" + out.Points[len(out.Points)-1].ID
			break
		}
		var iv []billing.Interval
		for at := q.From.Unix() / 1800 * 1800; at < q.To.Unix(); at += 1800 {
			iv = append(iv, billing.Interval{Start: at, End: at + 1800, Wh: int64(100 * n), Quality: cim.Raw})
		}
		m := api.ExportMetered{Meter: fmt.Sprintf("M%d", n), From: 0, To: 1 << 32, Factor: 1000, Data: billing.Pack(nil, iv, nil)}
		if !q.Before.IsZero() {
			m.Before = billing.Pack(nil, iv[1:], nil)
		}
		out.Points = append(out.Points, api.ExportPoint{ID: m.Meter, Channels: []api.ExportChannel{{Channel: "import", Meters: []api.ExportMetered{m}}}})
	}
	return out, nil
}

func withCalendar(t *testing.T) func() export.CalendarSet {
	t.Helper()
	c, err := tariff.Load("../../examples/tariff-day-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return func() export.CalendarSet { return export.CalendarSet{c.Name: c} }
}

func TestExport(t *testing.T) {
	s := serve(t, Options{Bus: newCentre(t).bus, Calendars: withCalendar(t)})
	resp, text := s.do("GET", "/v1/exports?from=2018-12-01&to=2018-12-02&zone=Europe/Zurich", "")
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || resp.StatusCode != 200 || len(rows) != 1+48*exportMeters || rows[1][3] != "2018-11-30T23:00:00Z" {
		t.Fatalf("status %d, %d rows, first %v: %v", resp.StatusCode, len(rows), rows[min(1, len(rows)-1)], err)
	}
	if resp.Header.Get("Wattbus-Total") != "5" || resp.Trailer.Get("Wattbus-Points") != "5" || resp.Trailer.Get("Wattbus-Rows") != "240" || resp.Trailer.Get("Wattbus-Next") != "" {
		t.Errorf("headers %v, trailers %v", resp.Header, resp.Trailer)
	}
	if known := resp.Header.Get("Wattbus-As-Known-At"); known != "2018-12-12T11:59:59Z" {
		t.Errorf("as known at %s", known)
	}

	for _, some := range []string{"meter=M2,M4", "meter=M2&meter=M4", "meter=M2&meter=M4,M2"} {
		resp, text := s.do("GET", "/v1/exports?from=2018-12-01&to=2018-12-02&"+some, "")
		if bytes.Count(text, []byte("\nM2,")) != 48 || bytes.Count(text, []byte("\nM4,")) != 48 || bytes.Count(text, []byte("\n")) != 97 {
			t.Errorf("%s: status %d, %d of M2, %d of M4", some, resp.StatusCode, bytes.Count(text, []byte("\nM2,")), bytes.Count(text, []byte("\nM4,")))
		}
	}

	// A run that nothing could be exported of takes no name.
	for field, body := range map[string]string{"calendar": `{"what":"determinants","from":"2018-12-01","to":"2018-12-02","calendar":"nope"}`,
		"zone": `{"what":"intervals","from":"2018-12-01","to":"2018-12-02","zone":"Europe/Zurch"}`, "to": `{"what":"intervals","from":"2018-12-01","to":"2018-11-02"}`,
		"from": `{"what":"determinants","from":"2018-12-01T00:00:00Z","to":"2018-12-02T00:00:00Z"}`} {
		if resp, text := s.do("PUT", "/v1/billing-runs/r1", body); resp.StatusCode != 400 || !strings.Contains(string(text), `"field":"`+field+`"`) {
			t.Errorf("%s: status %d, %s", field, resp.StatusCode, text)
		}
	}

	// Parts: what the client library sees, with checksums, compressed on the way.
	c, err := apiclient.New(apiclient.Options{Server: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, q := range []string{"what=intervals&format=csv", "what=determinants&format=csv", "what=determinants&format=cim", "what=registers&format=parquet", "what=intervals&format=espi",
		"what=changes&since=2018-12-05T00:00:00Z"} {
		query, err := url.ParseQuery(q + "&from=2018-12-01&to=2018-12-02&limit=3")
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for parts := 0; ; parts++ {
			x, err := c.Export(t.Context(), query)
			if err != nil {
				t.Fatalf("%s: %v", q, err)
			}
			if _, err := io.ReadAll(x); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
			end, err := x.End()
			if err != nil || x.Total != 5-6*min(parts, 1) || len(end.Skipped) > 0 || parts > 1 {
				t.Fatalf("%s: %+v, %v", q, end, err)
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
			total += end.Points
			if end.Next == "" {
				break
			}
			query.Set("after", end.Next)
		}
		if total != exportMeters {
			t.Errorf("%s: %d points", q, total)
		}
	}
}

// TestExportLeavesOut: who is left out is told in a trailer. It once grew beyond what Go's client takes, and no export of bills ended that
// left out more than some forty.
func TestExportLeavesOut(t *testing.T) {
	s := serve(t, Options{Bus: newCentre(t).bus, Calendars: withCalendar(t)})
	const call = "/v1/exports?from=2018-12-01&to=2018-12-02&what=determinants&path=Y"
	resp, _ := s.do("GET", call, "")
	var named []export.Skipped
	if err := json.Unmarshal([]byte(resp.Trailer.Get("Wattbus-Skipped")), &named); err != nil || len(named) < 5 || named[0].Point != "M1" ||
		resp.Trailer.Get("Wattbus-Left") != "1200" || resp.Trailer.Get("Wattbus-Points") != "0" {
		t.Errorf("%d are named, %v; trailers %v", len(named), err, resp.Trailer)
	}
	c, err := apiclient.New(apiclient.Options{Server: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for limit, names := range map[string]int{"1000": 1000, "1200": 1000} {
		x, err := c.Export(t.Context(), url.Values{"from": {"2018-12-01"}, "to": {"2018-12-02"}, "what": {"determinants"}, "path": {"Y"}, "limit": {limit}})
		if err != nil {
			t.Fatal(err)
		}
		end, err := x.End()
		if err != nil || len(end.Skipped) != names || fmt.Sprint(end.Left()) != limit {
			t.Errorf("%s: %d are named, %d left out, %v", limit, len(end.Skipped), end.Left(), err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestExportSplit(t *testing.T) {
	s := serve(t, Options{Bus: newCentre(t).bus})
	const call = "/v1/exports?from=2018-12-01&to=2018-12-02&format=espi&split=true"
	resp, text := s.do("GET", call, "")
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if _, again := s.do("GET", call, ""); !bytes.Equal(text, again) {
		t.Error("the same question has another answer")
	}
	r := multipart.NewReader(bytes.NewReader(text), params["boundary"])
	for n := 1; ; n++ {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			if n != exportMeters+1 {
				t.Errorf("%d documents", n-1)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		doc, err := io.ReadAll(p)
		if want := fmt.Sprintf("M%d.xml", n); err != nil || p.FileName() != want || strings.Count(string(doc), "</feed>") != 1 {
			t.Errorf("document %d is %s: %v", n, p.FileName(), err)
		}
	}
}

// An export that fails half-way is cut: no client takes it for whole.
func TestExportIsCut(t *testing.T) {
	s := serve(t, Options{Bus: newCentre(t).bus})
	c, err := apiclient.New(apiclient.Options{Server: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A few days fail before anything is sent, and are refused as any other question.
	var p *api.Problem
	if _, err := c.Export(t.Context(), url.Values{"from": {"2018-12-01"}, "to": {"2018-12-02"}, "path": {"X"}}); !errors.As(err, &p) || p.Status != 500 {
		t.Errorf("error %v, want a problem", err)
	}
	x, err := c.Export(t.Context(), url.Values{"from": {"2018-01-01"}, "to": {"2018-12-02"}, "path": {"X"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(x)
	if _, end := x.End(); err == nil && end == nil {
		t.Error("an export that failed looks whole")
	} else if !errors.Is(errors.Join(err, end), apiclient.ErrCut) {
		t.Errorf("errors %v, %v", err, end)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

func TestExportRefusals(t *testing.T) {
	s := serve(t, Options{Bus: newCentre(t).bus})
	later := noon.Add(time.Hour).Format(time.RFC3339)
	for _, c := range []struct{ query, field, text string }{
		{"to=2018-12-02", "from", "missing"},
		{"from=2018-12-01&to=01.12.2018", "to", "want a date such as"},
		{"from=2018-12-02&to=2018-12-02", "to", "the period is empty"},
		{"from=2018-12-02&to=2018-12-03T00:00:00Z", "to", "two dates or two times"},
		{"from=2018-12-02&to=2018-12-03&format=xlsx", "format", ""},
		{"from=2018-12-02&to=2018-12-03&format=espi&what=registers", "format", "espi tells intervals only"},
		{"from=2018-12-02&to=2018-12-03&what=determinants", "what", "need a tariff calendar"},
		{"from=2018-12-02T00:00:00Z&to=2018-12-03T00:00:00Z&what=registers", "from", "give dates"},
		{"from=2018-12-02&to=2018-12-03&what=changes", "since", "since when"},
		{"from=2018-12-02&to=2018-12-03&zone=Mars", "zone", "no time zone"},
		{"from=2018-12-02&to=2018-12-03&after=x", "cursor", "no cursor"},
		{"from=2018-12-02&to=2018-12-03&format=parquet&split=true", "split", "are not made"},
		{"from=2018-12-02&to=2018-12-03&asKnownAt=" + later, "asKnownAt", "in the future"},
	} {
		s.refused(400, c.field, c.text, "GET", "/v1/exports?"+c.query, "")
	}
}
