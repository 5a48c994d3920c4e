package outage

import (
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// The ladders below are told from the centre's side: what comes in, one line each.
func TestLadders(t *testing.T) {
	const p = "C1/C7"
	for _, tc := range []struct {
		name  string
		do    func(w *world)
		state string
		cases []string
	}{
		{"only registered", func(w *world) { w.location("M1", p, 5) }, api.StateOnline, nil},
		{"will alone is lost communication", func(w *world) {
			w.location("M1", p, 5)
			w.will("M1", p, 5)
		}, api.StateCommLost, []string{"comm-lost M1 open"}},
		{"last gasp and will is lost power", func(w *world) {
			w.location("M1", p, 5)
			w.after(time.Minute)
			w.power("M1", p, record.PowerLost, 1, w.at)
			w.after(time.Minute)
			w.will("M1", p, 5)
		}, api.StatePowerLost, []string{"power-lost M1 open"}},
		{"asleep, and its readings go on", func(w *world) {
			w.location("M1", p, 5)
			w.sleeps("M1", p, 300)
			w.after(30 * time.Minute)
			w.reading("M1", p)
		}, api.StateSleeping, nil},
		{"asleep, and silent", func(w *world) {
			w.location("M1", p, 5)
			w.sleeps("M1", p, 300)
			w.after(2 * time.Hour)
		}, api.StateCommLost, []string{"comm-lost M1 open"}},
		{"asleep, and its will", func(w *world) {
			w.location("M1", p, 5)
			w.sleeps("M1", p, 300)
			w.will("M1", p, 5)
		}, api.StateCommLost, []string{"comm-lost M1 open"}},
		{"awake again", func(w *world) {
			w.location("M1", p, 5)
			w.sleeps("M1", p, 300)
			w.sleeps("M1", p, 0)
		}, api.StateOnline, nil},
		{"connected anew after a sleep", func(w *world) {
			w.location("M1", p, 5)
			w.sleeps("M1", p, 300)
			w.location("M1", "C2", 6)
		}, api.StateOnline, nil},
		{"asleep over a restart of the centre", func(w *world) {
			w.location("M1", p, 5)
			w.sleeps("M1", p, 300)
			w.keep()
			w.restart()
			if at := w.m("M1").Wakes(w.at + 10); at != w.at+300 {
				w.t.Errorf("wakes %d s from now", at-w.at)
			}
		}, api.StateSleeping, nil},
		{"last gasp behind the will", func(w *world) {
			w.location("M1", p, 5)
			w.after(time.Minute)
			gasp := w.at
			w.after(time.Minute)
			w.will("M1", p, 5)
			w.power("M1", p, record.PowerLost, 1, gasp)
		}, api.StatePowerLost, []string{"power-lost M1 open"}},
		{"late will of an old registration", func(w *world) {
			w.location("M1", p, 5)
			w.location("M1", "C2", 6)
			w.will("M1", p, 5)
		}, api.StateOnline, nil},
		{"late registration", func(w *world) {
			w.location("M1", p, 6)
			w.will("M1", p, 6)
			w.location("M1", "C2", 5)
		}, api.StateCommLost, []string{"comm-lost M1 open"}},
		{"repeated registration behind its will", func(w *world) {
			w.location("M1", p, 6)
			w.will("M1", p, 6)
			w.location("M1", p, 6)
		}, api.StateCommLost, []string{"comm-lost M1 open"}},
		{"will said twice", func(w *world) {
			w.location("M1", p, 6)
			w.will("M1", p, 6)
			w.after(time.Second)
			w.reading("M1", p) // its new connection, whose registration got lost
			w.will("M1", p, 6)
		}, api.StateOnline, []string{"comm-lost M1"}},
		{"will that overtook its registration", func(w *world) {
			w.location("M1", p, 6)
			w.will("M1", p, 7)
			w.want("M1", api.StateOnline)
			w.location("M1", p, 7)
		}, api.StateCommLost, []string{"comm-lost M1 open"}},
		{"reconnected", func(w *world) {
			w.location("M1", p, 6)
			w.will("M1", p, 6)
			w.after(time.Second)
			w.location("M1", p, 7)
		}, api.StateOnline, []string{"comm-lost M1"}},
		{"power back", func(w *world) {
			w.location("M1", p, 6)
			w.after(time.Minute)
			w.power("M1", p, record.PowerLost, 1, w.at)
			w.will("M1", p, 6)
			w.after(10 * time.Minute)
			w.power("M1", p, record.PowerRestored, 2, w.at-30)
		}, api.StateOnline, []string{"power-lost M1"}},
		{"power back, known by the registration in the same second", func(w *world) {
			w.location("M1", p, 6)
			w.power("M1", p, record.PowerLost, 1, w.at)
			w.location("M1", p, 7)
		}, api.StateOnline, []string{"power-lost M1"}},
		{"last gasp comes twice, once behind the return", func(w *world) {
			w.location("M1", p, 6)
			w.after(time.Minute)
			gasp := w.at
			w.power("M1", p, record.PowerLost, 1, gasp)
			w.power("M1", p, record.PowerLost, 1, gasp)
			w.after(time.Minute)
			w.power("M1", p, record.PowerRestored, 2, w.at)
			w.power("M1", p, record.PowerLost, 1, gasp)
		}, api.StateOnline, []string{"power-lost M1"}},
		{"all of it within one second, twice", func(w *world) {
			w.location("M1", p, 6)
			for range 2 {
				w.power("M1", p, record.PowerLost, 1, w.at)
				w.power("M1", p, record.PowerRestored, 2, w.at)
			}
		}, api.StateOnline, []string{"power-lost M1"}},
		{"reading made before the last gasp comes behind it", func(w *world) {
			w.location("M1", p, 6)
			w.after(time.Hour)
			w.power("M1", p, record.PowerLost, 1, w.at)
			w.e.OnMessage(w.m("M1"), p, record.TypeReading, record.Header{Time: w.at - 60}, w.at)
			w.e.OnMessage(w.m("M1"), p, record.TypeProfile, record.Header{Time: w.at - 86400}, w.at)
		}, api.StatePowerLost, []string{"power-lost M1 open"}},
		{"last gasp that a reading overtook", func(w *world) {
			w.location("M1", p, 6)
			w.after(time.Hour)
			w.reading("M1", p)
			w.power("M1", p, record.PowerLost, 1, w.at-60)
		}, api.StateOnline, nil},
		{"speaks on battery", func(w *world) {
			w.location("M1", p, 6)
			w.power("M1", p, record.PowerLost, 1, w.at)
			w.after(time.Minute)
			w.e.OnMessage(w.m("M1"), p, record.TypeReading, w.head(record.FlagBattery), w.at)
		}, api.StatePowerLost, []string{"power-lost M1 open"}},
		{"clock lost with the power", func(w *world) {
			w.location("M1", p, 6)
			w.power("M1", p, record.PowerLost, 1, w.at)
			w.after(time.Minute)
			w.e.OnMessage(w.m("M1"), p, record.TypeEvent, record.Header{Flags: record.FlagClockUnsynchronised, Time: 5}, w.at)
		}, api.StateOnline, []string{"power-lost M1"}},
		{"clock ahead", func(w *world) {
			w.location("M1", p, 6)
			w.power("M1", p, record.PowerLost, 1, w.at+7200)
			w.after(time.Minute)
			w.reading("M1", p)
		}, api.StateOnline, []string{"power-lost M1"}},
		{"concentrator lost", func(w *world) {
			w.location("M1", p, 6)
			w.status("C1", "C7", "lost")
		}, api.StateUnreachable, []string{"unreachable C7 open"}},
		{"upper concentrator offline", func(w *world) {
			w.location("M1", p, 6)
			w.status("", "C1", "offline")
			w.after(62 * time.Second)
		}, api.StateUnreachable, []string{"unreachable C1 open"}},
		{"concentrator restarted in order", func(w *world) {
			w.location("M1", p, 6)
			w.status("C1", "C7", "offline")
			w.want("M1", api.StateUnreachable)
			w.after(50 * time.Second)
			w.status("C1", "C7", "online")
			w.reading("M1", p)
			w.after(2 * time.Minute)
		}, api.StateOnline, nil},
		{"concentrator offline, then lost", func(w *world) {
			w.location("M1", p, 6)
			w.status("C1", "C7", "offline")
			w.status("C1", "C7", "lost")
		}, api.StateUnreachable, []string{"unreachable C7 open"}},
		{"last gasp, then the concentrator", func(w *world) {
			w.location("M1", p, 6)
			w.power("M1", p, record.PowerLost, 1, w.at)
			w.status("C1", "C7", "lost")
		}, api.StatePowerLost, []string{"power-lost M1 open", "unreachable C7 open"}},
		{"concentrator back and the meter heard", func(w *world) {
			w.location("M1", p, 6)
			w.status("C1", "C7", "lost")
			w.after(time.Minute)
			w.status("C1", "C7", "online")
			w.reading("M1", p)
		}, api.StateOnline, []string{"unreachable C7"}},
		{"concentrator back, the meter not yet heard", func(w *world) {
			w.location("M1", p, 6)
			w.status("C1", "C7", "lost")
			w.after(time.Minute)
			w.status("C1", "C7", "online")
			w.after(30 * time.Second)
		}, api.StateUnreachable, []string{"unreachable C7"}},
		{"concentrator back for a while, nothing against the meter", func(w *world) {
			w.location("M1", p, 6)
			w.status("C1", "C7", "lost")
			w.after(time.Minute)
			w.status("C1", "C7", "online")
			w.after(62 * time.Second)
		}, api.StateOnline, []string{"unreachable C7"}},
		{"concentrator back, the meter never again", func(w *world) {
			w.location("M1", p, 6)
			w.status("C1", "C7", "lost")
			w.after(10 * time.Hour)
			w.status("C1", "C7", "online")
			w.after(time.Hour)
			w.want("M1", api.StateOnline) // it may still be between two readings
			w.after(10 * time.Minute)
		}, api.StateCommLost, []string{"unreachable C7", "comm-lost M1 open"}},
		{"lost before its concentrator was", func(w *world) {
			w.location("M1", p, 6)
			w.will("M1", p, 6)
			w.status("C1", "C7", "lost")
			w.want("M1", api.StateUnreachable)
			w.after(time.Minute)
			w.status("C1", "C7", "online")
		}, api.StateCommLost, []string{"comm-lost M1 open", "unreachable C7"}},
		{"a message proves its concentrators", func(w *world) {
			w.location("M1", p, 6)
			w.location("M2", p, 6)
			w.status("C1", "C7", "lost")
			w.after(time.Minute)
			w.reading("M2", p) // its `online` got lost
			w.after(2 * time.Minute)
		}, api.StateOnline, []string{"unreachable C7"}},
		{"moved while its concentrator was away", func(w *world) {
			w.location("M1", p, 6)
			w.status("C1", "C7", "lost")
			w.location("M1", "C2", 7)
			w.will("M1", p, 6)
		}, api.StateOnline, []string{"unreachable C7"}},
		{"back elsewhere, before its registration there", func(w *world) {
			w.location("M1", p, 6)
			w.power("M1", p, record.PowerLost, 1, w.at+10)
			w.at += 60
			w.reading("M1", "C2")
		}, api.StateOnline, []string{"power-lost M1"}},
		{"said before its last gasp, delivered behind it by another way", func(w *world) {
			w.location("M1", p, 6)
			made := w.at + 10
			w.at += 60
			w.power("M1", p, record.PowerLost, 1, made)
			w.e.OnMessage(w.m("M1"), "C2", record.TypeReading, record.Header{Time: made}, w.at)
			w.e.OnMessage(w.m("M1"), "C2", record.TypeReading, record.Header{Time: w.at, Flags: record.FlagBattery}, w.at)
			w.e.OnMessage(w.m("M1"), "C2", record.TypeReading, record.Header{Time: w.at, Flags: record.FlagClockUnsynchronised}, w.at)
		}, api.StatePowerLost, []string{"power-lost M1 open"}},
		{"old messages of a meter that moved and was lost", func(w *world) {
			w.location("M1", p, 6)
			w.location("M1", "C2", 7)
			w.will("M1", "C2", 7)
			w.reading("M1", p)
		}, api.StateCommLost, []string{"comm-lost M1 open"}},
		{"never registered, but heard", func(w *world) { w.reading("M1", p) }, api.StateOnline, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.do(w)
			w.want("M1", tc.state)
			w.wantCases(tc.cases...)
			w.check()
			if w.told["M1"] != tc.state {
				t.Errorf("told %q", w.told["M1"])
			}
			// A restart changes nothing, but that it forgets whom a concentrator's return gave time to come back.
			w.restart()
			if tc.name == "concentrator back, the meter not yet heard" {
				tc.state = api.StateOnline
			}
			w.want("M1", tc.state)
			w.wantCases(tc.cases...)
			w.check()
		})
	}
}

func TestSilence(t *testing.T) {
	w := newWorld(t)
	w.location("M1", "C1", 1)
	w.location("M2", "C1", 1)
	w.breaker("M2", "C1", record.BreakerOpen, true, w.at)
	for range 6 {
		w.after(30 * time.Minute)
		w.want("M1", api.StateOnline)
		w.reading("M1", "C1")
	}
	w.after(65 * time.Minute)
	w.want("M1", api.StateOnline)
	w.after(31 * time.Second)
	w.want("M1", api.StateCommLost)
	w.want("M2", api.StateDisconnected) // sends nothing by itself while it is open
	o := w.wantCases("comm-lost M1 open")[0]
	if len(o.Evidence) != 1 || o.Evidence[0].What != "silence" || o.Start.Unix() != int64(w.at) {
		t.Errorf("case %+v", o)
	}
	// Closed again, it is expected to report.
	w.breaker("M2", "C1", record.BreakerClosed, true, w.at)
	w.after(64 * time.Minute)
	w.want("M2", api.StateOnline)
	w.after(2 * time.Minute)
	w.want("M2", api.StateCommLost)
	w.reading("M1", "C1")
	w.want("M1", api.StateOnline)
	w.check()
}

func TestSilenceGoesByTheOwnInterval(t *testing.T) {
	w := newWorld(t)
	w.e.OnLocation(w.m("M1"), "", record.Location{Header: w.head(0), Sequence: 1, Interval: 1440}, w.at)
	w.tick()
	w.after(47 * time.Hour)
	w.want("M1", api.StateOnline)
	// It reports every minute from now on: the timer that was set for days is brought forward.
	w.e.OnLocation(w.m("M1"), "", record.Location{Header: w.head(0), Sequence: 2, Interval: 1}, w.at)
	w.after(7*time.Minute + 31*time.Second)
	w.want("M1", api.StateCommLost)
}

func TestSilenceOnAFastClock(t *testing.T) {
	w := newWorld(t)
	w.speed = 60
	w.location("M1", "C1", 1)
	w.after(94 * time.Minute) // 65 min, and 30 s of the way are 30 min
	w.want("M1", api.StateOnline)
	w.after(2 * time.Minute)
	w.want("M1", api.StateCommLost)
}

func TestADeafCentreJudgesNobody(t *testing.T) {
	w := newWorld(t)
	w.location("M1", "C1", 1)
	w.tick()
	w.at += 86400
	w.restart()
	w.after(time.Hour)
	w.want("M1", api.StateOnline)
	w.after(10 * time.Minute)
	w.want("M1", api.StateCommLost)
}

func TestBreakerFacts(t *testing.T) {
	w := newWorld(t)
	b := func(want cim.Breaker) {
		t.Helper()
		if got := w.m("M1").Breaker.State; got != want {
			t.Errorf("breaker %v, want %v", got, want)
		}
	}
	w.reading("M1", "C1")
	b(cim.BreakerUnknown) // it has not said whether it has one
	w.location("M1", "C1", 1)
	b(cim.BreakerClosed)
	w.after(time.Minute)
	w.breaker("M1", "C1", record.BreakerOpen, true, w.at)
	b(cim.BreakerOpen)
	opened := w.at
	w.e.OnMessage(w.m("M1"), "C1", record.TypeReading, record.Header{Time: opened - 30}, w.at) // made before, came after
	b(cim.BreakerOpen)
	w.after(time.Minute)
	w.breaker("M1", "C1", record.BreakerReady, true, w.at)
	b(cim.BreakerReady)
	w.want("M1", api.StateDisconnected)
	w.after(time.Minute)
	w.e.OnMessage(w.m("M1"), "C1", record.TypeReading, w.head(record.FlagBreakerOpen), w.at) // armed is open too
	b(cim.BreakerReady)
	w.after(time.Minute)
	w.reading("M1", "C1") // a person closed it
	b(cim.BreakerClosed)
	w.breaker("M1", "C1", record.BreakerOpen, false, opened) // the old result again
	b(cim.BreakerClosed)
	if s := w.m("M1").Breaker.Since; s != w.at {
		t.Errorf("closed since %d, want %d", s, w.at)
	}
	// Within one second: of two headers the later counts, and a result before both.
	w.after(time.Minute)
	w.reading("M1", "C1")
	w.e.OnMessage(w.m("M1"), "C1", record.TypeReading, w.head(record.FlagBreakerOpen), w.at)
	b(cim.BreakerOpen)
	w.want("M1", api.StateDisconnected)
	w.breaker("M1", "C1", record.BreakerClosed, true, w.at)
	w.e.OnMessage(w.m("M1"), "C1", record.TypeReading, w.head(record.FlagBreakerOpen), w.at) // made before it, came after it
	b(cim.BreakerClosed)
	w.e.OnLocation(w.m("M2"), "C1", record.Location{Header: w.head(0), Sequence: 1}, w.at)
	if got := w.m("M2").Breaker.State; got != cim.BreakerNone {
		t.Errorf("without the capability: %v", got)
	}
}

func TestCaseTimesAreTheMeters(t *testing.T) {
	w := newWorld(t)
	w.location("M1", "C1", 1)
	w.after(time.Hour)
	w.reading("M1", "C1")
	lost := w.at + 1
	w.after(20 * time.Minute) // the way took that long
	w.power("M1", "C1", record.PowerLost, 1, lost)
	w.after(10 * time.Minute)
	back := w.at - 120
	w.power("M1", "C1", record.PowerRestored, 2, back)
	o := w.wantCases("power-lost M1")[0]
	if o.Start.Unix() != int64(lost) || o.End.Unix() != int64(back) || o.Affected != 1 || o.Path != "C1" {
		t.Errorf("case %+v", o)
	}
	if len(o.Evidence) != 2 || o.Evidence[0].What != "last-gasp" || o.Evidence[1].What != "restored" || o.Evidence[1].Time.Unix() != int64(back) {
		t.Errorf("evidence %+v", o.Evidence)
	}
	for _, ev := range w.events {
		if ev.Type == "wattbus.outage.v1" && (ev.Source != "/C1/meter/M1" || ev.Subject != "M1") {
			t.Errorf("event %+v", ev)
		}
	}
}
