package device_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/concentrator"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/listen"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/snlink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// t0 is the end of a half hour.
const t0 = 1_543_622_400 // 2018-12-01T00:00:00Z

// TestTransports: one driver does a meter's business over each transport, below a concentrator in this process.
//
//	meter --location--> centre             the first is lost; it is repeated
//	      <--location-ack--
//	      --reading-->                     at the end of an interval
//	      <--cmd read-- --reading, result-->
//	      <--cmd disconnect--              twice; carried out once
//	      --result-->                      twice
//	      <--cmd reconnect--               the breaker is stuck: failed
//	      --power-->                       the last gasp
func TestTransports(t *testing.T) {
	for _, transport := range []string{"mqtt", "mqtt5", "ws", "mqttsn"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			c := newCentre(t, "C1/")
			var o concentrator.Options
			opt := device.Options{ID: "M1", Battery: true, Interval: time.Minute, Retry: 200 * time.Millisecond}
			switch transport {
			case "mqttsn":
				udp, err := snlink.ListenUDP(t.Context(), "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				o.SN = []gateway.Link{{Conn: udp}}
				opt.Concentrator = "mqttsn://" + udp.LocalAddr().String()
			default:
				ln, err := listen.TCP(t.Context(), "127.0.0.1:0", listen.Options{WebSocket: transport == "ws"})
				if err != nil {
					t.Fatal(err)
				}
				o.Listeners = []net.Listener{ln}
				opt.Concentrator = strings.TrimSuffix(transport, "5") + "://" + ln.Addr().String()
				opt.MQTT5 = transport == "mqtt5"
			}
			concentratorAt(t, c, o)
			drv := &driver{reading: device.Reading{Import: 1000, Power: 600, Voltage: 2301}, position: device.Closed}
			opt.Driver = drv
			clk := clock.New(time.Unix(t0+30, 0), 30) // the first interval ends in a second
			d, err := device.New(device.WithClock(opt, clk))
			if err != nil {
				t.Fatal(err)
			}
			stop := background(t, d.Run)

			eventually(t, "registration", func() bool { return d.Status().Registered })
			eventually(t, "a reading", func() bool { return len(c.events("reading")) > 0 })
			r, err := record.DecodeReading(c.events("reading")[0])
			if err != nil || r.Time%60 != 0 || r.Import < 1010 || r.Power != 600 || r.Voltage != 2301 {
				t.Errorf("%+v, %v", r, err)
			}
			if err := d.Send("json", []byte(`{"a":1}`)); err != nil {
				t.Error(err)
			}
			eventually(t, "its own message", func() bool { return len(c.events("json")) == 1 })

			if r := c.command(record.Command{ID: 1, Opcode: record.OpRead}); r.Outcome != record.Done {
				t.Errorf("read: %+v", r)
			}
			soon := clk.Unix() + 3600
			cut := record.Command{ID: 2, Opcode: record.OpDisconnect, Expiry: soon}
			if r := c.command(cut); r.Outcome != record.Done || r.Breaker != record.BreakerOpen {
				t.Errorf("disconnect: %+v", r)
			}
			n := len(c.events("result"))
			c.down("cmd", cut.Append(nil)) // once more: its answer was lost
			eventually(t, "the second answer", func() bool { return len(c.events("result")) > n })
			drv.with(func() {
				if len(drv.switched) != 1 || drv.switched[0] != device.Open {
					t.Errorf("switched %v", drv.switched)
				}
				drv.stuck = true
			})
			if r := c.command(record.Command{ID: 3, Opcode: record.OpReconnect, Expiry: soon}); r.Outcome != record.Failed || r.Breaker != record.BreakerOpen {
				t.Errorf("reconnect with a stuck breaker: %+v", r)
			}
			drv.with(func() { drv.stuck, drv.fail = false, errors.New("no answer on the optical port") })
			if r := c.command(record.Command{ID: 4, Opcode: record.OpRead}); r.Outcome != record.Failed {
				t.Errorf("read from broken hardware: %+v", r)
			}
			d.PowerLost()
			eventually(t, "the last gasp", func() bool { return len(c.events("power")) == 1 })
			d.PowerRestored()
			eventually(t, "the end of it", func() bool { return len(c.events("power")) == 2 && d.Status().Registered })
			stop()
			if s := d.Status(); s.Connected || s.Registered || s.Registration < 2 {
				t.Errorf("%+v", s)
			}
			if s := d.Stats(); s.Commands != 4 || s.Repeats == 0 || s.DriverFailures == 0 || s.Readings == 0 {
				t.Errorf("%+v", s)
			}
			if err := d.Send("json", nil); !errors.Is(err, device.ErrNoRoom) {
				t.Errorf("sent by a device that does not run: %v", err)
			}
		})
	}
}

// TestSleepingBelowAConcentrator: over UDP, in real time; TestSleeping looks closer.
func TestSleepingBelowAConcentrator(t *testing.T) {
	if testing.Short() {
		t.Skip("a sleep takes 10 s at least")
	}
	t.Parallel()
	c := newCentre(t, "C1/")
	udp, err := snlink.ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	concentratorAt(t, c, concentrator.Options{SN: []gateway.Link{{Conn: udp}}})
	drv := &driver{position: device.Closed}
	d, err := device.New(device.Options{ID: "M1", Driver: drv, Concentrator: "mqttsn://" + udp.LocalAddr().String(), Sleep: 10 * time.Second, Retry: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	background(t, d.Run)
	eventually(t, "its plan", func() bool { return len(c.events("event")) == 1 })
	eventually(t, "sleep", func() bool { return d.Status().Sleeping })
	c.down("cmd", record.Command{ID: 7, Opcode: record.OpDisconnect, Expiry: uint32(time.Now().Unix()) + 3600}.Append(nil))
	if r := c.result(7, 1); r.Outcome != record.Done {
		t.Errorf("%+v", r)
	}
}

// inAir runs a meter with a radio at a gateway before a broker, in a bubble of its own time: the sleeps cost nothing.
func inAir(t *testing.T, edit func(*device.Options), test func(t *testing.T, c *centre, d *device.Device, r *radio, clk *clock.Clock)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCentre(t, "")
		c.patience = 10 * time.Minute // of the bubble's
		r := newRadio()
		g, err := gateway.New(gateway.Options{Links: []gateway.Link{{Conn: gatewaySide{r}}}, Server: gateway.InProcess{Broker: c.Broker}, Predefined: table{}})
		if err != nil {
			t.Fatal(err)
		}
		background(t, g.Run)
		clk := clock.New(time.Unix(t0+100, 0), 1)
		opt := device.Options{ID: "M1", Driver: &driver{position: device.Closed},
			Radio: func(context.Context) (device.Radio, error) { return r.end(), nil }}
		if edit != nil {
			edit(&opt)
		}
		d, err := device.New(device.WithClock(opt, clk))
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, d.Run)
		eventually(t, "registration", func() bool { return d.Status().Registered })
		test(t, c, d, r, clk)
		stop()
	})
}

// TestSleeping: a command for a meter that sleeps waits at the gateway, and is carried out at the planned wake-up.
//
//	meter --event: sleeps, wakes every 5 min--> centre
//	      --DISCONNECT(duration)--> gateway
//	                <--cmd disconnect-- centre     it waits
//	      --PINGREQ(M1)-->                         at the planned time
//	      <--PUBLISH cmd-- --PUBACK-->
//	      --result-->
func TestSleeping(t *testing.T) {
	drv := &driver{position: device.Closed}
	inAir(t, func(o *device.Options) { o.Driver, o.Sleep = drv, 5*time.Minute }, func(t *testing.T, c *centre, _ *device.Device, _ *radio, clk *clock.Clock) {
		eventually(t, "its plan", func() bool { return len(c.events("event")) == 1 })
		e, err := record.DecodeEvent(c.events("event")[0])
		if err != nil || e.Code != record.EventSleeps || e.Parameter != 300 {
			t.Fatalf("%+v, %v", e, err)
		}
		time.Sleep(20 * time.Second) // it is asleep
		now := clk.Unix()
		next := e.Time + 300
		for next <= now+5 {
			next += 300
		}
		c.down("cmd", record.Command{ID: 7, Opcode: record.OpDisconnect, Expiry: now + 3600}.Append(nil))
		time.Sleep(time.Duration(next-now-2) * time.Second)
		drv.with(func() {
			if len(drv.switched) != 0 {
				t.Errorf("it woke before its time: %v", drv.switched)
			}
		})
		r := c.result(7, 1)
		if r.Outcome != record.Done || r.Time+2 < next || r.Time > next+10 {
			t.Errorf("%+v at %d, planned %d", r, r.Time, next)
		}
		// The whole day: a reading for each half hour, although it sleeps in between.
		time.Sleep(2 * time.Hour)
		eventually(t, "nothing while the breaker is open", func() bool { return len(c.events("reading")) == 0 })
		c.down("cmd", record.Command{ID: 8, Opcode: record.OpReconnect, Expiry: clk.Unix() + 3600}.Append(nil))
		if r := c.result(8, 1); r.Outcome != record.Done {
			t.Errorf("%+v", r)
		}
		time.Sleep(2*time.Hour + 5*time.Minute)
		if n := len(c.events("reading")); n != 4 {
			t.Errorf("%d readings in two hours", n)
		}
	})
}

// TestProfile: the load profile comes from what was measured at the ends of intervals; what was not has no value.
func TestProfile(t *testing.T) {
	drv := &driver{}
	inAir(t, func(o *device.Options) { o.Driver = struct{ device.Driver }{drv} }, func(t *testing.T, c *centre, d *device.Device, _ *radio, clk *clock.Clock) {
		if s := d.Status(); s.Breaker != device.None {
			t.Errorf("a breaker %s that the driver does not have", s.Breaker)
		}
		time.Sleep(2 * time.Hour) // four ends: 00:30 to 02:00
		drv.with(func() { drv.fail = errors.New("broken") })
		time.Sleep(30 * time.Minute) // 02:30 is missing
		drv.with(func() { drv.fail = nil })
		time.Sleep(time.Hour) // 03:00, 03:30
		c.down("cmd", record.Command{ID: 1, Opcode: record.OpProfile, A: t0, B: t0 + 4*3600}.Append(nil))
		if r := c.result(1, 1); r.Outcome != record.Done || r.Detail != 4 {
			t.Errorf("%+v, want 4 values", r)
		}
		parts := c.events("profile")
		if len(parts) != 1 {
			t.Fatalf("%d parts", len(parts))
		}
		p, err := record.DecodeProfile(parts[0])
		none := uint32(record.NoValue)
		for i, want := range []uint32{none, 10, 10, 10, none, none, 10} {
			if p.Values[i] != want {
				t.Errorf("slot %d: %d, want %d", i, p.Values[i], want)
			}
		}
		if err != nil || p.Count != 7 || p.Register != record.NoRegister {
			t.Errorf("%+v, %v", p, err)
		}
		if n := len(c.events("reading")); n != 6 {
			t.Errorf("%d readings", n)
		}
		if r := c.command(record.Command{ID: 2, Opcode: record.OpDisconnect, Expiry: clk.Unix() + 60}); r.Outcome != record.NotSupported {
			t.Errorf("a breaker that is not there: %+v", r)
		}
	})
}

// TestLoss: one frame in ten is lost in each direction; no reading is, and no command is carried out twice.
func TestLoss(t *testing.T) {
	drv := &driver{position: device.Closed}
	inAir(t, func(o *device.Options) { o.Driver, o.Interval = drv, time.Minute }, func(t *testing.T, c *centre, _ *device.Device, r *radio, clk *clock.Clock) {
		r.loss.Store(10)
		for i := range 20 {
			op, to := record.OpDisconnect, device.Open
			if i%2 == 1 {
				op, to = record.OpReconnect, device.Closed
			}
			if res := c.command(record.Command{ID: uint64(i + 1), Opcode: op, Expiry: clk.Unix() + 600}); res.Outcome != record.Done {
				t.Errorf("%+v", res)
			}
			drv.with(func() {
				if len(drv.switched) != i+1 || drv.switched[i] != to {
					t.Errorf("%d: switched %v", i, drv.switched)
				}
			})
		}
		from := clk.Unix()/60*60 + 60
		time.Sleep(time.Hour)
		for at := from; at < from+3600; at += 60 {
			within(t, c.patience, "a reading", func() bool {
				for _, b := range c.events("reading") {
					if r, err := record.DecodeReading(b); err == nil && r.Time == at {
						return true
					}
				}
				return false
			})
		}
	})
}

// TestRefused: what cannot be is said by New, with the id, the field and what would do; what Run finds by Run.
func TestRefused(t *testing.T) {
	ok := device.Options{ID: "M1", Driver: &driver{}, Concentrator: "mqtt://127.0.0.1:1"}
	for want, edit := range map[string]func(o *device.Options){
		`device: id "" has 0 characters`:           func(o *device.Options) { o.ID = "" },
		"device M1: no driver":                     func(o *device.Options) { o.Driver = nil },
		"device M1: no concentrator":               func(o *device.Options) { o.Concentrator = "" },
		"a concentrator's URL and a radio":         func(o *device.Options) { o.Radio = func(context.Context) (device.Radio, error) { return nil, nil } },
		"interval of 1m30s, want whole minutes":    func(o *device.Options) { o.Interval = 90 * time.Second },
		"interval of 7 minutes, want a divisor":    func(o *device.Options) { o.Interval = 7 * time.Minute },
		"a pre-shared key, which is for mqttsns":   func(o *device.Options) { o.PSK = []byte{1} },
		"a negative duration: hold-up -1ns":        func(o *device.Options) { o.HoldUp = -1 },
		"sleeps of 1s, want 10s to 12h":            func(o *device.Options) { o.Concentrator, o.Sleep = "mqttsn://h", time.Second },
		`kind "concentrator", want one of`:         func(o *device.Options) { o.Kind = "concentrator" },
		"mqtt://u:xxxxx@h:99999: port 99999, want": func(o *device.Options) { o.Concentrator = "mqtt://u:secret@h:99999" },
	} {
		o := ok
		edit(&o)
		if _, err := device.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ok.Data = t.TempDir() + "/file"
	if err := os.WriteFile(ok.Data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := device.New(ok)
	if err != nil {
		t.Fatal(err)
	}
	if s := d.Status(); s.Breaker != device.None || s.ID != "M1" {
		t.Errorf("%+v", s)
	}
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), ok.Data) {
		t.Errorf("%v", err)
	}
}
