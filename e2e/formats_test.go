package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/dsmr"
	"github.com/wattbus/wattbus/internal/echonet"
)

// TestOtherFormats has meters that know nothing of wattbus behind two concentrators: one speaks ECHONET Lite, one DSMR P1, one JSON,
// one a layout of its utility. None of them ever registers.
func TestOtherFormats(t *testing.T) {
	c := startCentre(t, "--formats", "../examples/formats")
	_, a1 := startConcentrator(t, "C1", c.mqtt)
	_, a7 := startConcentrator(t, "C7", a1)
	link := dial(t, a7, "gateway")

	// Registers at the ends of the last two half-hours: 700 Wh between them.
	end := time.Now().UTC().Truncate(30 * time.Minute)
	begin := end.Add(-30 * time.Minute)
	for i, at := range []time.Time{begin, end} {
		count := echonet.Count(10_000 + 7*i)
		timed := &echonet.Timed{Time: echonet.DateTimeOf(uint32(at.Unix())), Count: count}
		f := echonet.Frame{SEOJ: echonet.Meter, DEOJ: echonet.Controller, ESV: echonet.INF}
		unit := echonet.Unit(1)
		for _, p := range []struct {
			epc byte
			v   echonet.Value
		}{{0xE1, &unit}, {0xEA, timed}} {
			x, err := echonet.NewProperty(p.epc, p.v)
			if err != nil {
				t.Fatal(err)
			}
			f.Properties = append(f.Properties, x)
		}
		b, err := f.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		link.publish(t, "up/meter/EL1/el", b)

		// This one sends every ten seconds, never at the full half-hour.
		for k, off := range []time.Duration{-4, 6} {
			tel := dsmr.Telegram{Identification: `ISk5\2MT382-1000`, CRC: true, Objects: []dsmr.Object{
				{Code: "0-0:1.0.0", Values: []string{dsmr.FormatTime(uint32(at.Add(off * time.Second).Unix()))}},
				{Code: "1-0:1.8.1", Values: []string{fmt.Sprintf("%010.3f*kWh", 1+0.7*float64(i)+float64([]float64{-0.004, 0.006}[k]))}},
				{Code: "1-0:1.7.0", Values: []string{"00.300*kW"}}}}
			if b, err = tel.Append(nil); err != nil {
				t.Fatal(err)
			}
			link.publish(t, "up/meter/P1/p1", b)
		}

		link.publish(t, "up/meter/J1/json", fmt.Appendf(nil, `{"values":[{"time":%d,"kwh":%.1f}]}`, at.Unix(), 1000+0.7*float64(i)))

		own := []byte{'N', 'G', 1, 0, 0}
		own = binary.LittleEndian.AppendUint32(own, uint32(at.Unix()))
		own = binary.LittleEndian.AppendUint64(own, uint64(1_000_000+700*i))
		own = append(own, bytes.Repeat([]byte{0}, 8+4)...)
		own = append(binary.LittleEndian.AppendUint16(own, 2301), 0)
		link.publish(t, "up/meter/NG1/x-northgrid", binary.LittleEndian.AppendUint16(own, x25(own)))
	}
	for id, register := range map[string]uint64{"EL1": 1_000_700, "P1": 1_706, "NG1": 1_000_700, "J1": 1_000_700} {
		eventually(t, 60*time.Second, func() string {
			m, err := c.api.Meter(t.Context(), id)
			switch {
			case err != nil:
				return err.Error()
			case m.State != api.StateOnline || m.Path != "C1/C7":
				return fmt.Sprintf("%s: %s at %s", id, m.State, m.Path)
			case m.Register == nil || uint64(m.Register.Import) != register:
				return fmt.Sprintf("%s: register %+v", id, m.Register)
			}
			rs, err := c.api.Readings(t.Context(), id, begin, end)
			if err != nil {
				return err.Error()
			}
			if len(rs) != 1 || rs[0].Import == nil || *rs[0].Import != 700 {
				return fmt.Sprintf("%s: readings %+v", id, rs)
			}
			return ""
		})
	}
	// Five: the utility's own layout tells of what is fed in, too.
	all, err := c.api.Completeness(t.Context(), begin, end)
	if err != nil || all.Missing != 0 || all.Received != 5 {
		t.Errorf("%+v, %v", all.Counts, err)
	}
	link.publish(t, "up/meter/EL1/el", []byte{0x10, 0x81, 0, 1, 2, 0x88, 1, 5, 0xFF, 1, 0x72, 1, 0xE1, 1, 9})
	eventually(t, 60*time.Second, func() string {
		ls, err := c.api.DeadLetters(t.Context(), 10)
		if err != nil || len(ls) != 1 || ls[0].Detail != "property E1 (unit) at offset 14: 0x09, want 00 to 04 or 0A to 0D: value outside its range" {
			return fmt.Sprintf("%+v, %v", ls, err)
		}
		return ""
	})
}

func x25(b []byte) uint16 {
	c := uint16(0xFFFF)
	for _, x := range b {
		c ^= uint16(x)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0x8408
			} else {
				c >>= 1
			}
		}
	}
	return ^c
}

// publisher is a client that publishes, as mosquitto_pub does.
type publisher struct{ c *client.Client }

func dial(t *testing.T, addr, id string) publisher {
	t.Helper()
	c, err := client.New(client.Options{URL: "mqtt://" + addr, ClientID: id, Clean: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return publisher{c}
}

func (p publisher) publish(t *testing.T, topic string, payload []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.c.Publish(ctx, client.Message{Topic: topic, Payload: payload, QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if err := p.c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}
