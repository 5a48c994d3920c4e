package meter

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
)

func TestSNOptions(t *testing.T) {
	base := Options{ID: "M1", Clock: clock.Real(), Source: line(3600)}
	for _, tc := range []struct {
		url   string
		sleep time.Duration
		want  string
	}{
		{"mqtt://host", 0, ""}, {"mqttsn://host", 0, ""}, {"mqttsns://host:1", time.Minute, ""}, {"mqttsn+serial:///dev/ttyS0", time.Minute, ""},
		{"mqttsn://", 0, "no host"}, {"http://host", 0, "scheme"}, {"mqtt://host", time.Minute, "over MQTT-SN only"},
		{"mqttsn://host", time.Second, "want 10s to 12h"}, {"mqttsn://host", 13 * time.Hour, "want 10s to 12h"},
	} {
		o := base
		o.URL, o.SN.Sleep = tc.url, tc.sleep
		a, err := New(o)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s, sleep %s: %v", tc.url, tc.sleep, err)
			} else if got := a.o.Capabilities&record.CapSleeping != 0; got != (tc.sleep > 0) {
				t.Errorf("%s, sleep %s: capability %v", tc.url, tc.sleep, got)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, sleep %s: %v, want %q", tc.url, tc.sleep, err, tc.want)
		}
	}
	if ids := predefined("M1"); ids[2] != "up/meter/M1/reading" || ids[0x82] != "dn/meter/M1/cmd" || ids[0x182] != "dn/all/meter/cmd" || len(ids) != 19 {
		t.Errorf("%v", ids)
	}
}

// A meter that sleeps tells the centre once a connection when it wakes, and keeps to that whatever wakes it in between.
func TestTellsItsSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l *fakeLink
		a, err := New(Options{ID: "M1", Clock: clock.New(time.Unix(t0+100, 0), 2), Source: line(3600), URL: "mqttsn://host", SN: SN{Sleep: 5 * time.Minute},
			Connect: func(o client.Options) (Link, error) { l = newFakeLink(o); return l, nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		synctest.Wait()
		if at := a.nextWake(time.Now()); time.Until(at) != 5*time.Minute {
			t.Errorf("before it registered: wakes in %s", time.Until(at))
		}
		if n := len(l.of("event")); n != 0 {
			t.Errorf("%d events before it registered", n)
		}
		for range 2 { // the acknowledgement comes twice
			l.deliver("location-ack", record.LocationAck{Sequence: 1}.Append(nil))
			synctest.Wait()
		}
		told := time.Now()
		sent := l.of("event")
		if len(sent) != 1 {
			t.Fatalf("told %d times", len(sent))
		}
		e, err := record.DecodeEvent(sent[0].m.Payload)
		began := wakeBefore(told, "M1", 5*time.Minute)
		ago := told.Sub(began)
		if err != nil || e.Code != record.EventSleeps || e.Parameter != 600 || e.Time != t0+100-uint32(2*ago/time.Second) { // its clock runs twice as fast
			t.Errorf("%+v, %v", e, err)
		}
		for _, after := range []time.Duration{0, time.Second, 4 * time.Minute, 5*time.Minute - time.Second, 5 * time.Minute, 17 * time.Minute} {
			want := (after + time.Second).Truncate(5*time.Minute) + 5*time.Minute
			if got := a.nextWake(began.Add(after)).Sub(began); got != want {
				t.Errorf("%s behind a wake-up the next one is at %s, want %s", after, got, want)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestWakesSpread: meters that register at once do not wake at once; each keeps its place.
func TestWakesSpread(t *testing.T) {
	now := time.Unix(t0+12345, 678)
	for _, every := range []time.Duration{10 * time.Second, 5 * time.Minute, 12 * time.Hour} {
		const meters, parts = 5000, 10
		var n [parts]int
		for i := range meters {
			id := fmt.Sprintf("M%07d", 1000000+i)
			at := wakeBefore(now, id, every)
			if ago := now.Sub(at); ago < 0 || ago >= every {
				t.Fatalf("%s every %s: wakes %s ago", id, every, ago)
			}
			if later := wakeBefore(now.Add(7*every+every/3), id, every); later.Sub(at)%every != 0 {
				t.Fatalf("%s every %s: its place changes by %s", id, every, later.Sub(at)%every)
			}
			n[now.Sub(at)*parts/every]++
		}
		for _, k := range n {
			if k < meters/parts*8/10 || k > meters/parts*12/10 {
				t.Errorf("every %s: %v in the tenths of the cycle", every, n)
				break
			}
		}
	}
}
