package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/child"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/fleet"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/record"
)

// The faults of "up --faults" come in rounds of business time. What is not named here stays well: all below C11 and C13 but the
// meters that are mute or odd.
const (
	faultRound = 6 * time.Hour
	// nowhere is an address at which nobody answers: a meter that is sent there is mute.
	nowhere = "mqtt://127.0.0.1:9"
	// mortalID is the concentrator that dies.
	mortalID = "C23"
)

// upFaults lets things go wrong, by a plan that is always the same.
type upFaults struct {
	app    *app
	bus    *bus.Bus
	clock  *clock.Clock
	fleet  *fleet.Fleet
	log    *slog.Logger
	leaves []string // URLs of the concentrators that meters are at, in their order
	mortal *mortal
}

// upFault is one thing that goes wrong, or right again.
type upFault struct {
	at   time.Duration // since the round began
	what string
	do   func(ctx context.Context, round int) error
}

func (u *upFaults) plan() []upFault {
	storm := func(f int) func(i, round int) bool {
		return func(i, _ int) bool { return sampleFeeder(i) == f }
	}
	out := func(i, round int) bool {
		return sampleFeeder(i) == 2 && sampleTransformer(i) == round%u.transformers()+1
	}
	planned := func(i, round int) bool { return sampleFeeder(i) == 1 && sampleTransformer(i) == u.planned(round) }
	muted := func(i, _ int) bool { return sampleFeeder(i) == 3 && i/sampleFeeders%40 == 7 }
	return []upFault{
		{2 * time.Minute, "somebody sends messages that are none", u.garbage},
		{3 * time.Minute, "meters of feeder F3 fall silent", u.each(muted, func(a *meter.Agent, _ int) { a.Move(nowhere) })},
		{5 * time.Minute, "concentrator " + mortalID + " dies, with all it holds", u.dies(true)},
		{10 * time.Minute, "a transformer of feeder F2 loses its supply", u.each(out, func(a *meter.Agent, _ int) { a.PowerLost() })},
		{20 * time.Minute, "work is planned at a transformer of feeder F1, for now and for tomorrow", u.maintain},
		{22 * time.Minute, "the planned work begins", u.each(planned, func(a *meter.Agent, _ int) { a.PowerLost() })},
		{50 * time.Minute, "the supply at feeder F2 is back", u.each(out, func(a *meter.Agent, _ int) { a.PowerRestored() })},
		{70 * time.Minute, "the planned work is done", u.each(planned, func(a *meter.Agent, _ int) { a.PowerRestored() })},
		{100 * time.Minute, "concentrator " + mortalID + " is back", u.dies(false)},
		{120 * time.Minute, "a storm: feeder F4 is out", u.each(storm(4), func(a *meter.Agent, _ int) { a.PowerLost() })},
		{120*time.Minute + 10*time.Second, "the storm: feeder F5 is out", u.each(storm(5), func(a *meter.Agent, _ int) { a.PowerLost() })},
		{120*time.Minute + 20*time.Second, "the storm: feeder F6 is out", u.each(storm(6), func(a *meter.Agent, _ int) { a.PowerLost() })},
		{140 * time.Minute, "feeder F6 is back", u.each(storm(6), func(a *meter.Agent, _ int) { a.PowerRestored() })},
		{150 * time.Minute, "feeder F4 is back", u.each(storm(4), func(a *meter.Agent, _ int) { a.PowerRestored() })},
		{165 * time.Minute, "feeder F5 is back", u.each(storm(5), func(a *meter.Agent, _ int) { a.PowerRestored() })},
		{190 * time.Minute, "concentrator " + mortalID + " dies again", u.dies(true)},
		{300 * time.Minute, "the silent meters of feeder F3 are back", u.each(muted, func(a *meter.Agent, i int) { a.Move(u.leaves[i%len(u.leaves)]) })},
		{340 * time.Minute, "concentrator " + mortalID + " is back again", u.dies(false)},
	}
}

func (u *upFaults) dies(dead bool) func(context.Context, int) error {
	return func(context.Context, int) error {
		u.mortal.set(dead)
		return nil
	}
}

// transformers is how many there are on feeder F1 and F2 with all their meters, at least one.
func (u *upFaults) transformers() int {
	return max(1, u.fleet.Len()/sampleFeeders/samplePerTransformer)
}

func (u *upFaults) planned(round int) int { return (round+1)%u.transformers() + 1 }

// each does something to the meters that fit.
func (u *upFaults) each(fits func(i, round int) bool, do func(a *meter.Agent, i int)) func(context.Context, int) error {
	return func(_ context.Context, round int) error {
		for i := range u.fleet.Len() {
			if a, ok := u.fleet.Agent(u.fleet.ID(i)); ok && fits(i, round) {
				do(a, i)
			}
		}
		return nil
	}
}

// maintain plans work for now, and for tomorrow.
func (u *upFaults) maintain(ctx context.Context, round int) error {
	now := u.clock.Now()
	for _, from := range []time.Time{now, now.Add(24 * time.Hour)} {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := bus.Request[api.MaintenanceRequest, api.Maintenance](limited, u.bus, api.QueryMaintain, api.MaintenanceRequest{Scope: "transformer",
			Name: fmt.Sprintf("F1-T%02d", u.planned(round)), Feeder: "F1", From: from, To: from.Add(time.Hour), Reason: "oil change", By: "wattbus up"})
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// garbage are messages that the centre keeps as dead letters, each for a reason of its own.
func (u *upFaults) garbage(ctx context.Context, _ int) error {
	reading := record.Reading{Header: record.Header{Time: u.clock.Unix()}, Import: 1 << 60, Voltage: 2300, Sequence: 1}.Append(nil)
	odd := slices.Clone(reading)
	odd[0] = 9
	id := u.fleet.ID(0)
	c, err := client.New(client.Options{URL: u.leaves[0], ClientID: "X-odd", Clean: true, Logger: u.log})
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	run, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(run)
	}()
	defer func() { cancel(); stop(); <-ended }()
	for _, m := range []client.Message{
		{Topic: "up/meter/" + id + "/reading", Payload: reading[:31]},
		{Topic: "up/meter/" + id + "/reading", Payload: odd},
		{Topic: "up/meter/" + id + "/reading", Payload: reading},
		{Topic: "up/meter/" + id + "/p1", Payload: []byte("/ISK5\\2M550T-1012\r\n\r\n1-0:1.8.0(0123")},
		{Topic: "up/meter/" + id + "/json", Payload: []byte(`{"kwh": "many"}`)},
		{Topic: "up/meter/group/reading", Payload: []byte("hello")},
	} {
		m.QoS = 1
		if err := c.Publish(limited, m); err != nil {
			return err
		}
	}
	return c.Flush(limited)
}

// run lets the faults come, round after round, until ctx ends. Its first round begins when time runs.
func (u *upFaults) run(ctx context.Context) error {
	begin := u.clock.Now()
	for round := 0; ; round++ {
		for _, f := range u.plan() {
			if u.clock.WaitUntil(ctx, begin.Add(time.Duration(round)*faultRound+f.at)) != nil {
				return nil
			}
			err := f.do(ctx, round)
			if ctx.Err() != nil {
				return nil
			}
			text := f.what
			if err != nil {
				text += ": " + err.Error()
			}
			if _, tty := terminal(u.app.Out); tty {
				fmt.Fprint(u.app.Out, "\r\x1b[K") // over the line of the story
			}
			fmt.Fprintf(u.app.Out, "%s  %s\n", u.clock.Now().Format("2006-01-02 15:04"), text)
		}
	}
}

// mortal is a concentrator in a process of its own, which can be killed.
type mortal struct {
	args []string
	dead chan bool // what is wanted; the newest counts
}

func newMortal(id, upstream, addr string) *mortal {
	return &mortal{args: []string{"concentrator", "--id", id, "--upstream", upstream, "--mqtt", addr, "--log-level", "error"}, dead: make(chan bool, 1)}
}

// set kills it or lets it live again.
func (m *mortal) set(dead bool) {
	select {
	case <-m.dead: // not seen yet
	default:
	}
	m.dead <- dead
}

// run keeps it as it was set last, alive at first, until ctx ends.
func (m *mortal) run(ctx context.Context) error {
	for {
		p, err := child.Self(context.WithoutCancel(ctx), m.args[2], m.args...) // it ends in order, below
		if err != nil {
			return err
		}
		for dead := false; !dead; {
			select {
			case <-ctx.Done():
				return p.Stop()
			case dead = <-m.dead:
			}
		}
		if err := p.Kill(); err != nil {
			return err
		}
		for dead := true; dead; {
			select {
			case <-ctx.Done():
				return nil
			case dead = <-m.dead:
			}
		}
	}
}

// oddCurve makes the load curves of some meters such that validation has something to find: one with a spike every other day, one
// that shows the same value all the time.
func oddCurve(start int64) func(i int, s meter.Source) meter.Source {
	return func(i int, s meter.Source) meter.Source {
		if sampleFeeder(i) != 3 {
			return s
		}
		switch i / sampleFeeders {
		case 2:
			return spiked{s, start}
		case 3:
			return stuck{start}
		}
		return s
	}
}

// spiked takes 20 kWh more in one half hour of every other day.
type spiked struct {
	meter.Source
	start int64
}

// Register implements meter.Source.
func (s spiked) Register(t int64) uint64 {
	const every, at, lasts, wh = 2 * 86400, 86400 + 10*3600, 1800, 20_000
	since := t - s.start - at
	if since < 0 {
		return s.Source.Register(t)
	}
	whole, part := since/every, min(since%every, lasts)
	return s.Source.Register(t) + uint64(whole)*wh + uint64(part)*wh/lasts
}

// stuck takes 300 Wh in every half hour.
type stuck struct{ start int64 }

// Register implements meter.Source.
func (s stuck) Register(t int64) uint64 { return uint64(max(t-s.start, 0)) * 300 / 1800 }
