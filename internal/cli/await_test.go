package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// What is told while a command is waited for: a rate as long as meters answer, and when it expires once they are silent.
func TestWaitingTells(t *testing.T) {
	w := waiting{began: noon, latest: noon.Add(time.Minute), now: api.Command{State: api.CommandSent, Bulk: &api.Bulk{Total: 494, States: map[string]int{api.CommandSent: 494}}}}
	for _, tc := range []struct {
		after      time.Duration
		done, sent int
		want       string
	}{
		{0, 0, 494, "meters  494 sent, at most 1m0s left"},
		{2 * time.Second, 200, 294, "meters  100/s  294 sent, about 3s left"},
		{4 * time.Second, 480, 14, "meters  120/s  14 sent, at most 56s left"},
		{20 * time.Second, 480, 14, "meters  120/s  14 sent, at most 40s left"},
		{2 * time.Minute, 480, 14, "meters  120/s  14 sent, at most 0s left"},
	} {
		w.now.Bulk.States = map[string]int{api.CommandDone: tc.done, api.CommandSent: tc.sent}
		ended, total, note := w.tell(noon.Add(tc.after))
		if ended != int64(tc.done) || total != 494 || note != tc.want {
			t.Errorf("after %v: %d of %d, %q, want %q", tc.after, ended, total, note, tc.want)
		}
	}
	one := waiting{began: noon, latest: noon.Add(time.Minute), now: api.Command{State: api.CommandDelivered}}
	if _, _, note := one.tell(noon.Add(10 * time.Second)); note != "delivered, at most 50s left" {
		t.Errorf("one meter: %q", note)
	}
	var b bytes.Buffer
	p := newProgress(&b, "read M1")
	p.lastLine = time.Now().Add(-time.Minute)
	p.update(0, 0, "sent, at most 57s left")
	if want := "read M1: sent, at most 57s left\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
