package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/store"
)

// findingBody is the part of a finding that is kept as JSON.
type findingBody struct {
	Text    string       `json:"text"`
	Said    *api.Said    `json:"said,omitempty"`
	Code    string       `json:"code"`
	Numbers []api.Number `json:"numbers,omitempty"`
}

func findingDoc(f *vee.Finding) findingBody {
	which, figures := f.Sentence()
	out := findingBody{Text: f.Text(), Said: &api.Said{Code: fmt.Sprintf("finding.%s.%d", f.Rule, which), Params: figures}, Code: f.Code()}
	for _, n := range f.Numbers {
		out.Numbers = append(out.Numbers, api.Number(n))
	}
	return out
}

// finding is the API form of a finding.
func (m *MDMS) finding(f *store.Finding) (api.Finding, error) {
	var body findingBody
	if err := json.Unmarshal(f.Doc, &body); err != nil {
		return api.Finding{}, fmt.Errorf("finding %d in the store: %w", f.ID, err)
	}
	out := api.Finding{ID: strconv.FormatUint(f.ID, 10), Channel: f.Channel.String(), Rule: f.Rule, Severity: vee.Severity(f.Severity).String(),
		From: unix(f.From), To: unix(f.To), ReadingQuality: body.Code, Text: body.Text, Said: body.Said, Numbers: body.Numbers, Recorded: unix(f.Recorded), Superseded: maybe(f.Superseded)}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if int(f.Device) < len(m.devices) {
		d := m.devices[f.Device]
		out.Meter, out.Path = d.ID, d.EndDevice.Path
	}
	return out, nil
}

func (m *MDMS) queryFindings(ctx context.Context, q api.FindingQuery) (api.Page[api.Finding], error) {
	out := api.Page[api.Finding]{Items: []api.Finding{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	s := store.FindingQuery{Rule: q.Rule, All: q.All, Limit: limit + 1}
	if q.Meter != "" {
		m.mu.RLock()
		d, err := m.meter(q.Meter)
		m.mu.RUnlock()
		if err != nil {
			return out, err
		}
		ordinal := d.Ordinal
		s.Device = &ordinal
	}
	if _, ok := vee.RuleNamed(q.Rule); q.Rule != "" && !ok {
		return out, api.BadRequest("rule", "%.40q, want one of %s", q.Rule, strings.Join(vee.RuleNames(), ", "))
	}
	if q.Severity != "" {
		sev, ok := vee.SeverityNamed(q.Severity)
		if !ok || sev == vee.Off {
			return out, api.BadRequest("severity", "%.40q, want info, warning, suspect or failed", q.Severity)
		}
		s.Severity = uint8(sev)
	}
	if s.From, s.To, err = span(q.From, q.To, 0, 0); err != nil {
		return out, err
	}
	if q.Cursor != "" {
		if s.Before, err = strconv.ParseUint(q.Cursor, 10, 63); err != nil || s.Before == 0 {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
	}
	if q.To.IsZero() {
		s.To = 0
	}
	found, err := m.o.Store.Findings(ctx, s)
	if err != nil {
		return out, err
	}
	if len(found) > limit {
		found = found[:limit]
		out.Next = strconv.FormatUint(found[limit-1].ID, 10)
	}
	for i := range found {
		f, err := m.finding(&found[i])
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, f)
	}
	return out, nil
}

func (m *MDMS) queryRuleSet(ctx context.Context, q api.ByID) (api.RuleSet, error) {
	r, err := m.o.Store.RuleSet(ctx, q.ID)
	if errors.Is(err, store.ErrNotFound) {
		return api.RuleSet{}, api.NotFound("no rule set %.40s was ever in force", q.ID)
	}
	return api.RuleSet{ID: r.ID, Recorded: unix(r.Recorded), Text: r.Text}, err
}

// channelNamed reads a channel of a question; import when absent.
func channelNamed(s string) (cim.Channel, error) {
	switch s {
	case "", "import":
		return cim.Import, nil
	case "export":
		return cim.Export, nil
	}
	return 0, api.BadRequest("channel", "%.40q, want import or export", s)
}
