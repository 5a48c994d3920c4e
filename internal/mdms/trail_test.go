package mdms

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/audit"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store"
)

// chainOf reads the whole trail through the API and checks it.
func chainOf(c *centre, anchors ...audit.Head) (actions []string, head audit.Head, err error) {
	c.t.Helper()
	v := audit.NewVerifier(audit.Head{}, anchors...)
	q := api.AuditQuery{Paging: api.Paging{Limit: 7}}
	for {
		p := ask[api.AuditQuery, api.Page[api.AuditRecord]](c, api.QueryAudit, q)
		for _, it := range p.Items {
			r := audit.Record{Sequence: it.Sequence, Doc: it.Entry}
			if err := r.Hash.UnmarshalText([]byte(it.Hash)); err != nil {
				c.t.Fatal(err)
			}
			if err := v.Add(r); err != nil {
				return actions, v.Head(), err
			}
			e, err := r.Entry()
			if err != nil {
				c.t.Fatal(err)
			}
			actions = append(actions, e.Actor+" "+e.Action)
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return actions, v.Head(), v.Finish()
		}
	}
}

func TestTrail(t *testing.T) {
	for _, backend := range []string{"sqlite", "postgres"} {
		t.Run(backend, func(t *testing.T) {
			var open func(context.Context) (store.Store, error)
			url := ""
			if backend == "postgres" {
				url, open = onPostgres(t)
			}
			c := newCentreOn(t, clock.Real(), open)
			ready := func() {
				c.until("the centre answers", 120*time.Second, func() bool { // by the last of its answers that the test needs
					_, ok := try[struct{}, api.AuditHead](c, api.QueryAuditHead, struct{}{})
					return ok
				})
			}
			ready()
			w := newWorld(c, 3, c.opts.Clock.Unix()/1800*1800-1800*4, 4, false)
			defer w.stop()
			for _, id := range w.ids {
				w.register(w.meters[id])
			}
			c.flush()
			c.until("meters are known", 120*time.Second, func() bool {
				return len(ask[api.MeterQuery, api.Page[api.Meter]](c, api.QueryMeters, api.MeterQuery{}).Items) == 3
			})
			cmd := ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, api.CommandRequest{Target: api.Target{Meter: "M0000"}, Type: api.CommandDisconnect, By: "alice"})
			c.until("the command is done", 120*time.Second, func() bool {
				return ask[api.ByID, api.Command](c, api.QueryCommand, api.ByID{ID: cmd.ID}).State == api.CommandDone
			})
			ask[api.GroupPut, api.Group](c, api.QueryGroupPut, api.GroupPut{Group: 5, Members: []string{"M0001"}, By: "bob"})
			actions, head, err := chainOf(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"centre centre.start", "alice command.create", "centre command.sent", "centre command.done", "bob group.put"} {
				if !slices.Contains(actions, want) {
					t.Errorf("no entry %q among %q", want, actions)
				}
			}
			newest := ask[api.AuditQuery, api.Page[api.AuditRecord]](c, api.QueryAudit, api.AuditQuery{Newest: true, Action: "command", Subject: cmd.ID})
			// What the reading behind the switch said may be among them by now.
			if n := len(newest.Items); n < 3 || n > 4 || !strings.Contains(string(newest.Items[n-3].Entry), "command.done") || !strings.Contains(string(newest.Items[n-1].Entry), `"alice"`) {
				t.Errorf("the command's own entries, newest first: %+v", newest)
			}
			for origin, want := range map[string]bool{api.OriginAsked: false, api.OriginCentre: true} {
				of := ask[api.AuditQuery, api.Page[api.AuditRecord]](c, api.QueryAudit, api.AuditQuery{Newest: true, Origin: origin})
				for _, r := range of.Items {
					if own := strings.Contains(string(r.Entry), `"actor":"centre"`); own != want {
						t.Errorf("among those of origin %s: %s", origin, r.Entry)
					}
				}
				if len(of.Items) == 0 {
					t.Errorf("no entry of origin %s", origin)
				}
			}
			// It goes on after a restart, behind what was there.
			c.halt()
			c.run()
			ready()
			var after audit.Head
			c.until("the start is told", 120*time.Second, func() bool {
				if actions, after, err = chainOf(c, head); err != nil {
					t.Fatal(err)
				}
				return slices.Contains(actions[head.Sequence:], "centre centre.start")
			})
			// Whoever writes to the database himself is stopped by it, or found out.
			c.halt()
			defer c.run() // for the end of the test
			driver, name := "sqlite", filepath.Join(c.dir, "wattbus.db")
			off := []string{`DROP TRIGGER audit_no_update`, `DROP TRIGGER audit_no_delete`}
			if backend == "postgres" {
				driver, name, off = "pgx", url, []string{`DROP TRIGGER audit_only_added ON audit`}
			}
			db, err := sql.Open(driver, name)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(`DELETE FROM audit WHERE sequence = 2`); err == nil || !strings.Contains(err.Error(), "only added to") {
				t.Errorf("an entry was deleted: %v", err)
			}
			if _, err := db.Exec(`UPDATE audit SET doc = hash WHERE sequence = 2`); err == nil {
				t.Error("an entry was changed")
			}
			for _, q := range append(off, `DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)`, `UPDATE audit SET doc = (SELECT doc FROM audit WHERE sequence = 3) WHERE sequence = 2`) {
				if _, err := db.Exec(q); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			c.run()
			ready()
			_, _, err = chainOf(c, after)
			var b *audit.Break
			if !errors.As(err, &b) || b.Sequence != 2 {
				t.Errorf("an edited trail: %v", err)
			}
			c.halt()
		})
	}
}
