package meter

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
)

// childEnv tells the test binary to be a meter: "<url> <directory> <clock>".
const childEnv = "WATTBUS_TEST_METER"

// child is a meter in a process of its own; it ends when it is killed.
func child(spec string) {
	f := strings.Fields(spec)
	clk, err := clock.Parse(f[2])
	if err != nil {
		panic(err)
	}
	store, err := OpenLog(f[1], nil)
	if err != nil {
		panic(err)
	}
	a, err := New(Options{ID: "M1", URL: f[0], Clock: clk, Source: line(1234), Capabilities: record.CapBreaker, History: 24 * time.Hour, Store: store,
		MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	if err := a.Run(context.Background()); err != nil {
		panic(err)
	}
}

// kill -9 at any moment, under commands: the registration sequence never repeats, a command that was answered is answered the
// same way for ever, no interval and no register that was told changes, registers never fall.
func TestKill9(t *testing.T) {
	c := newCentre(t)
	dir := t.TempDir()
	clk := clock.New(time.Unix(t0, 0), 3600)
	r := rand.New(rand.NewPCG(9, uint64(time.Now().UnixNano())))
	id := uint64(0)
	// Lives are short; on a busy machine it takes more of them until enough has happened.
	enough := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		answered, results, profiles := map[uint64]bool{}, 0, 0
		for _, m := range c.got {
			switch typ, _ := record.Check(m.payload); typ {
			case record.TypeResult:
				if r, err := record.DecodeResult(m.payload); err == nil && r.Outcome != record.Delivered {
					answered[r.Command] = true
					results++
				}
			case record.TypeProfile:
				profiles++
			}
		}
		return len(answered) >= 20 && results > len(answered) && profiles > 0
	}
	for life := 0; life < 12 || life < 100 && !enough(); life++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+c.url+" "+dir+" "+clk.String())
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		from := c.here()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c.await(from, "M1/location", nil)
		end := time.Now().Add(time.Duration(r.IntN(120)) * time.Millisecond)
		for time.Now().Before(end) {
			id++
			op := record.OpDisconnect + record.Opcode(r.IntN(2))
			exp := clk.Unix() + 3600*24
			msgs := [][]byte{record.Command{ID: id, Opcode: op, Expiry: exp}.Append(nil),
				record.Command{ID: max(1, id-r.Uint64N(min(id, 20))), Opcode: op, Expiry: exp}.Append(nil), // a repeat
				record.Command{ID: 1<<40 + id, Opcode: record.OpProfile, A: t0, B: clk.Unix()}.Append(nil)}
			for _, b := range msgs {
				if _, err := c.b.Publish("dn/meter/M1/cmd", b, 1, false); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
		}
		if life%4 == 3 { // also while the connection breaks
			_, _ = c.b.Publish("dn/meter/M1/location-ack", record.LocationAck{Sequence: uint32(1000 * life)}.Append(nil), 0, false)
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the meter ended by itself: %v\n%s", err, stderr.String())
		}
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	answers := map[uint64][]byte{}
	intervals := map[uint32]uint32{}
	registers := map[uint32]uint64{}
	lastSeq, results := uint32(0), 0
	tell := func(at uint32, reg uint64) {
		if was, ok := registers[at]; ok && was != reg {
			t.Errorf("register at %d was %d, then %d", at, was, reg)
		}
		registers[at] = reg
	}
	for _, m := range c.got {
		switch typ, err := record.Check(m.payload); {
		case err != nil:
			t.Fatal(err)
		case typ == record.TypeLocation:
			l, _ := record.DecodeLocation(m.payload)
			if l.Sequence <= lastSeq { // no connection here lasts until its location is repeated
				t.Errorf("registration %d after %d", l.Sequence, lastSeq)
			}
			lastSeq = l.Sequence
		case typ == record.TypeResult:
			r, _ := record.DecodeResult(m.payload)
			if r.Outcome == record.Delivered && r.Opcode == record.OpProfile {
				continue
			}
			if was := answers[r.Command]; was != nil && !bytes.Equal(was, m.payload) {
				t.Errorf("command %d was answered by %x, then by %x", r.Command, was, m.payload)
			}
			answers[r.Command] = m.payload
			results++
		case typ == record.TypeReading:
			r, _ := record.DecodeReading(m.payload)
			tell(r.Time, r.Import)
		case typ == record.TypeProfile:
			p, _ := record.DecodeProfile(m.payload)
			reg := p.Register
			for i, v := range p.Values[:p.Count] {
				at := p.Time + uint32(i)*half
				tell(at, reg)
				if was, ok := intervals[at]; ok && was != v {
					t.Errorf("interval at %d was %d, then %d", at, was, v)
				}
				intervals[at] = v
				reg += uint64(v)
			}
			tell(p.Time+uint32(p.Count)*half, reg)
		}
	}
	last := uint64(0)
	for at := uint32(t0); at < clk.Unix(); at += half {
		if reg, ok := registers[at]; ok {
			if reg < last {
				t.Errorf("register at %d is %d, was %d before", at, reg, last)
			}
			last = reg
		}
	}
	if len(answers) < 20 || results <= len(answers) || len(intervals) == 0 || lastSeq < 12 {
		t.Errorf("%d commands answered, %d answers, %d intervals, sequence %d: too little happened", len(answers), results, len(intervals), lastSeq)
	}
}
