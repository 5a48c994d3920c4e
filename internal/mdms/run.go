package mdms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/export"
	"github.com/wattbus/wattbus/internal/store"
)

// maxRuns bounds the list of billing runs.
const maxRuns = 10_000

// putRun keeps a billing run: a question, and the second as of whose end it is answered. A name that is taken by the same question is
// answered with the run that there is.
func (m *MDMS) putRun(ctx context.Context, q api.BillingRun) (api.BillingRun, error) {
	p, err := export.ParsePeriod(q.From, q.To)
	if err != nil {
		return q, err
	}
	if err := checkRunName(q.Name); err != nil {
		return q, err
	}
	old, err := m.queryRun(ctx, api.ByID{ID: q.Name})
	var problem *api.Problem
	switch {
	case err == nil:
		return old, sameRun(old, q)
	case !errors.As(err, &problem):
		return q, err
	}
	if now := int64(m.o.Clock.Unix()); p.To > now || p.Days && int64(p.EndDay)*dayLength-14*3600 > now {
		return q, api.BadRequest("to", "%s lies in the future of the centre, whose time is %s: a billing run is of a time that is over", q.To, unix(uint32(now)).Format(time.RFC3339))
	}
	m.mu.RLock()
	err = m.checkNamed(q.Meters)
	m.mu.RUnlock()
	if err != nil {
		return q, err
	}
	q.Known = unix(m.o.Clock.Unix())
	doc, err := json.Marshal(q)
	if err != nil {
		return q, err
	}
	if _, err := change(ctx, m, func() (struct{}, error) {
		m.pending.Runs = append(m.pending.Runs, store.Run{Name: q.Name, Recorded: uint32(q.Known.Unix()), Doc: doc})
		m.note(q.By, "run.put", q.Name, "", nil)
		return struct{}{}, nil
	}); err != nil {
		return q, err
	}
	// What comes within that second is of it. Once it is over and committed the answer stays the same.
	for range 500 {
		m.mu.RLock()
		over := m.closed >= uint32(q.Known.Unix())
		m.mu.RUnlock()
		if over {
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return q, ctx.Err()
		}
	}
	kept, err := m.queryRun(ctx, api.ByID{ID: q.Name}) // somebody may have been faster
	if err != nil {
		return q, err
	}
	return kept, sameRun(kept, q)
}

func checkRunName(s string) error {
	if s == "" || len(s) > 64 || strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
	}) {
		return api.BadRequest("name", "%.80q, want 1 to 64 letters, digits, '-', '_' and '.'", s)
	}
	return nil
}

func sameRun(old, q api.BillingRun) error {
	q.Known, q.By = old.Known, old.By
	if reflect.DeepEqual(old, q) {
		return nil
	}
	return &api.Problem{Title: "Conflict", Status: 409, Field: "name", Detail: fmt.Sprintf("there is a billing run %s of %s, %s to %s, as known at %s: take another name",
		old.Name, old.What, old.From, old.To, old.Known.Format(time.RFC3339))}
}

func (m *MDMS) queryRun(ctx context.Context, q api.ByID) (api.BillingRun, error) {
	r, err := m.o.Store.BillingRun(ctx, q.ID)
	if errors.Is(err, store.ErrNotFound) {
		return api.BillingRun{}, api.NotFound("no billing run %.80s is known", q.ID)
	}
	if err != nil {
		return api.BillingRun{}, err
	}
	return decodeRun(r)
}

func decodeRun(r store.Run) (api.BillingRun, error) {
	var out api.BillingRun
	if err := json.Unmarshal(r.Doc, &out); err != nil {
		return out, fmt.Errorf("billing run %s in the store: %w", r.Name, err)
	}
	return out, nil
}

func (m *MDMS) queryRuns(ctx context.Context, _ struct{}) (api.Page[api.BillingRun], error) {
	out := api.Page[api.BillingRun]{Items: []api.BillingRun{}}
	err := m.o.Store.BillingRuns(ctx, func(r store.Run) error {
		if len(out.Items) == maxRuns {
			return nil
		}
		run, err := decodeRun(r)
		out.Items = append(out.Items, run)
		return err
	})
	return out, err
}
