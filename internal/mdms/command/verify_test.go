package command

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
)

// TestVerification: behind each switch the meter is read, and what the reading says stands with the switch.
func TestVerification(t *testing.T) {
	open := record.Reading{Header: record.Header{Flags: record.FlagBreakerOpen}, Sequence: 7}
	for name, tc := range map[string]struct {
		req     api.CommandRequest
		reading *record.Reading
		restart bool
		want    string
	}{
		"cut off":                       {on("M1", api.CommandDisconnect), &open, false, api.VerifyDone},
		"cut off, a restart in between": {on("M1", api.CommandDisconnect), &open, true, api.VerifyDone},
		"still closed":                  {on("M1", api.CommandDisconnect), &record.Reading{Sequence: 7, Power: 300}, false, api.VerifyContradicted},
		"open, but current flows":       {on("M1", api.CommandDisconnect), &record.Reading{Header: open.Header, Sequence: 7, Power: 300}, false, api.VerifyContradicted},
		"on again":                      {on("M1", api.CommandReconnect), &record.Reading{Sequence: 7, Power: 300}, false, api.VerifyDone},
		"not on":                        {on("M1", api.CommandReconnect), &open, true, api.VerifyContradicted},
		"silent":                        {on("M1", api.CommandDisconnect), nil, false, api.VerifyUnanswered},
		"many":                          {to(api.CommandDisconnect, "M1", "M2"), &open, false, api.VerifyDone},
		"many, a restart in between":    {to(api.CommandDisconnect, "M1", "M2"), &open, true, api.VerifyDone},
		"many, and none says a word":    {to(api.CommandDisconnect, "M1", "M2"), nil, true, api.VerifyUnanswered},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld("M1", "M2")
			w.o.Verify = true
			w.e = New(w.o)
			op, _ := opcode(tc.req.Type)
			id := w.create(t, tc.req)
			meters := ids(w.commit())
			for _, m := range meters {
				w.result(m, id, op, record.Done, 0)
			}
			w.wantState(t, id, api.CommandDone)
			reads := w.commit()
			if len(reads) != len(meters) {
				t.Fatalf("%d reads behind the switches of %d", len(reads), len(meters))
			}
			if tc.restart {
				w.restart(t)
			}
			for _, d := range reads {
				if c := sentCommand(t, d); c.Opcode != record.OpRead {
					t.Fatalf("behind it %v went out", c.Opcode)
				} else if tc.reading != nil {
					w.e.OnReading(w.devices[d.ID], *tc.reading)
					w.result(d.ID, c.ID, record.OpRead, record.Done, 7)
				}
			}
			w.after(2 * time.Minute)
			w.restart(t)
			c := w.get(t, id)
			switch {
			case c.State != api.CommandDone:
				t.Errorf("the switch is %s", c.State)
			case c.Bulk == nil && (c.Verification == nil || c.Verification.State != tc.want || c.Verification.Read == ""):
				t.Errorf("verification %+v, want %s", c.Verification, tc.want)
			case c.Bulk != nil && (len(c.Bulk.Verification) != 1 || c.Bulk.Verification[tc.want] != 2):
				t.Errorf("verification %+v, want 2 %s", c.Bulk.Verification, tc.want)
			}
		})
	}
}
