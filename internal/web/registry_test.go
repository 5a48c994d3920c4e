package web

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

// answerRegistry answers the questions about a registry that holds U1.
func (c *centre) answerRegistry() {
	u := api.UsagePoint{ID: "U1", Tags: []string{}}
	answer(c, api.QueryUsagePoints, func(q api.UsagePointQuery) (api.Page[api.UsagePoint], error) {
		return paged([]api.UsagePoint{u}, q.Paging)
	})
	answer(c, api.QueryUsagePoint, func(api.UsagePointByID) (api.UsagePoint, error) { return u, nil })
	answer(c, api.QueryUsagePointHistory, func(api.ByID) (api.Page[api.UsagePointEntry], error) {
		return api.Page[api.UsagePointEntry]{Items: []api.UsagePointEntry{{UsagePoint: &u}}}, nil
	})
	answer(c, api.QueryMeterExchange, func(api.MeterExchange) (api.UsagePoint, error) { return u, nil })
	answer(c, api.QueryMeterRetire, func(r api.MeterRetirement) (api.Retired, error) { return api.Retired{ID: r.ID}, nil })
	answer(c, api.QueryRegistryExport, func(q api.RegistryExport) (api.RegistryText, error) {
		if q.First {
			return api.RegistryText{Data: []byte("usage_point\nU1\n"), Next: "U1"}, nil
		}
		return api.RegistryText{Data: []byte("U2\n")}, nil
	})
	answer(c, api.QuerySums, func(api.SumQuery) (api.Sums, error) { return api.Sums{Items: []api.Sum{{Key: "F1"}}}, nil })
	answer(c, api.QueryMissing, func(q api.SumQuery) (api.Page[api.MissingMeter], error) {
		return paged([]api.MissingMeter{{ID: "M1"}}, q.Paging)
	})
	answer(c, api.QueryTop, func(q api.SumQuery) (api.Page[api.TopMeter], error) {
		return paged([]api.TopMeter{{ID: "M1"}}, q.Paging)
	})
	answer(c, api.QueryServiceLevel, func(q api.Span) (api.ServiceLevel, error) {
		return api.ServiceLevel{From: q.From, Deadlines: []api.DeadlineCounts{{Deadline: "30m", Expected: 48, InTime: 48, Percent: 100}}}, nil
	})
	answer(c, api.QueryCompleteBy, func(q api.CompleteByQuery) (api.CompleteBy, error) {
		return api.CompleteBy{Items: []api.KeyCounts{{Key: q.By}}}, nil
	})
	answer(c, api.QueryCompleteHours, func(q api.CompleteHoursQuery) (api.CompleteHours, error) {
		return api.CompleteHours{From: q.From, To: q.To, Minutes: q.Minutes, Items: []api.HourCounts{{Key: q.By, Expected: []int64{2}, Missing: []int64{1}}}}, nil
	})
	var file strings.Builder
	answer(c, api.QueryRegistryImport, func(p api.RegistryPart) (api.RegistryImport, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if p.Number == 0 {
			file.Reset()
		}
		file.Write(p.Data)
		if strings.Contains(file.String(), "bad") {
			return api.RegistryImport{}, api.BadRequest("line 2", "bad")
		}
		return api.RegistryImport{Lines: strings.Count(file.String(), "\n"), Applied: p.Last && !p.DryRun, DryRun: p.DryRun}, nil
	})
}

func TestRegistryFiles(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	resp, text := s.do(http.MethodGet, exportPath, "")
	if resp.StatusCode != 200 || string(text) != "usage_point\nU1\nU2\n" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") {
		t.Fatalf("export: %d %q", resp.StatusCode, text)
	}
	// Longer than any other body may be, in many pieces.
	lines := 300_000
	resp, text = s.do(http.MethodPost, importPath+"?by=anna", strings.Repeat("U1,x\n", lines))
	var got api.RegistryImport
	if err := json.Unmarshal(text, &got); err != nil || resp.StatusCode != 200 || got.Lines != lines || !got.Applied {
		t.Fatalf("import: %d %s %v", resp.StatusCode, text, err)
	}
	resp, text = s.do(http.MethodPost, importPath, "x\nbad\n"+strings.Repeat("U1,x\n", lines))
	if resp.StatusCode != 400 || resp.Header.Get("Content-Type") != problemType || !strings.Contains(string(text), "line 2") {
		t.Fatalf("bad import: %d %s", resp.StatusCode, text)
	}
}

// A body that is cut is no whole file, though all that came was right.
func TestImportIsCut(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, "usage_point\nU1\n")
		_ = w.CloseWithError(io.ErrUnexpectedEOF)
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+importPath, r)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode == 200 {
			t.Error("a file that was cut was taken for a whole one")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.asked[api.QueryRegistryImport].(api.RegistryPart); ok && p.Last {
		t.Errorf("the centre was told that it is the end: %+v", p)
	}
}
