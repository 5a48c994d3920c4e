package mdms

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/store"
)

// The audit trail: whatever somebody changed, and what became of every command, is an entry in the very commit that keeps it.
// The loop alone makes entries, so that they have one order.

// note adds an entry to the next commit. m.mu is held, in the loop.
func (m *MDMS) note(actor, action, subject, meter string, detail any) {
	if actor == "" {
		actor = audit.Centre
	}
	e := audit.Entry{Time: time.Now().UTC(), Actor: actor, Action: action, Subject: subject, Meter: meter}
	if detail != nil {
		e.Detail = audit.Detail(detail)
	}
	m.trail = append(m.trail, e)
}

// chain puts what was done into the commit, behind what is in the store.
func (m *MDMS) chain(c *store.Commit) {
	for _, e := range m.trail {
		r, err := m.head.Append(e)
		if err != nil { // cannot be: times are within years 0 to 9999, and details are JSON that was made here
			m.log.Error("audit entry not made", "action", e.Action, "subject", e.Subject, "error", err)
			continue
		}
		c.Audit = append(c.Audit, r)
	}
	m.met.audit.Add(float64(len(c.Audit)))
	m.trail = nil
}

// restoreTrail goes on behind what the store has, and tells under which rules: who turns a bound down is seen. m.mu is held.
func (m *MDMS) restoreTrail(ctx context.Context) error {
	h, err := m.o.Store.AuditHead(ctx)
	if err != nil {
		return err
	}
	m.head, m.settled = h, h
	m.log.Info("audit trail goes on", "head", h.String())
	texts := func(bs []command.Budget) []string {
		out := make([]string, 0, len(bs))
		for _, b := range bs {
			out = append(out, b.String())
		}
		return out
	}
	o := m.o.Safety
	m.note(audit.Centre, "centre.start", "", "", map[string]any{"approveFrom": o.ApproveFrom, "budgets": texts(o.Budgets), "operators": texts(o.Operators),
		"feeders": texts(o.Feeders), "reconnects": texts(o.Reconnects)})
	return nil
}

// editDetail is what the trail tells of an edit.
func editDetail(e *api.Edit) any {
	return map[string]any{"action": e.Action, "channel": e.Channel, "from": e.From, "to": e.To, "reason": e.Reason, "comment": e.Comment, "values": e.Values,
		"by": e.By, "decision": e.Decision}
}

// maxAuditScan bounds the entries that one question looks through.
const maxAuditScan = 20_000

// queryAudit lists the audit trail. What is asked for by actor, action, subject or meter is looked for in parts: a page may be
// short and have a next one all the same.
func (m *MDMS) queryAudit(ctx context.Context, q api.AuditQuery) (api.Page[api.AuditRecord], error) {
	out := api.Page[api.AuditRecord]{Items: []api.AuditRecord{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	at, has := uint64(0), q.Cursor != ""
	if has {
		if at, err = strconv.ParseUint(q.Cursor, 10, 63); err != nil || at == 0 {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
	}
	if !q.Newest {
		return m.auditForth(ctx, q, at, limit)
	}
	head, err := m.queryAuditHead(ctx, struct{}{})
	if err != nil {
		return out, err
	}
	if !has {
		at = head.Sequence + 1
	}
	for scanned := 0; at > 1 && scanned < maxAuditScan; {
		after := at - min(at, uint64(limit)+1)
		rs, err := m.o.Store.Audit(ctx, after, int(at-1-after))
		if err != nil {
			return out, err
		}
		if len(rs) == 0 { // an end that was cut off is verify's to tell
			at = after + 1
			scanned += limit
			continue
		}
		scanned += len(rs)
		for i := len(rs) - 1; i >= 0; i-- {
			at = rs[i].Sequence
			if item, ok := auditItem(&rs[i], q); ok {
				out.Items = append(out.Items, item)
				if len(out.Items) == limit {
					break
				}
			}
		}
		if len(out.Items) == limit {
			break
		}
	}
	if at > 1 {
		out.Next = strconv.FormatUint(at, 10)
	}
	return out, nil
}

func (m *MDMS) auditForth(ctx context.Context, q api.AuditQuery, at uint64, limit int) (api.Page[api.AuditRecord], error) {
	out := api.Page[api.AuditRecord]{Items: []api.AuditRecord{}}
	for scanned := 0; scanned < maxAuditScan; {
		rs, err := m.o.Store.Audit(ctx, at, limit)
		if err != nil {
			return out, err
		}
		scanned += limit
		for i := range rs {
			at = rs[i].Sequence
			if item, ok := auditItem(&rs[i], q); ok {
				out.Items = append(out.Items, item)
				if len(out.Items) == limit {
					break
				}
			}
		}
		if len(rs) < limit {
			return out, nil
		}
		if len(out.Items) == limit {
			break
		}
	}
	out.Next = strconv.FormatUint(at, 10)
	return out, nil
}

// auditItem is the API form of a record, if it is asked for.
func auditItem(r *audit.Record, q api.AuditQuery) (api.AuditRecord, bool) {
	item := api.AuditRecord{Sequence: r.Sequence, Hash: r.Hash.String(), Entry: r.Doc}
	if q.Actor == "" && q.Action == "" && q.Subject == "" && q.Meter == "" && q.Origin == "" {
		return item, true
	}
	e, err := r.Entry()
	if err != nil {
		return item, true // it was tampered with: whoever looks shall see it
	}
	return item, (q.Actor == "" || e.Actor == q.Actor) && (q.Action == "" || e.Action == q.Action || strings.HasPrefix(e.Action, q.Action+".")) &&
		(q.Subject == "" || e.Subject == q.Subject) && (q.Meter == "" || e.Meter == q.Meter) &&
		(q.Origin == "" || (q.Origin == api.OriginCentre) == api.ByItself(e.Actor))
}

// queryAuditHead tells the last entry that is committed, as the centre knows it from having made it.
func (m *MDMS) queryAuditHead(context.Context, struct{}) (api.AuditHead, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return api.AuditHead{Sequence: m.settled.Sequence, Hash: m.settled.Hash.String(), Text: fmt.Sprint(m.settled)}, nil
}
