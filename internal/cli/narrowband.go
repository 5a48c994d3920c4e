package cli

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/snlink"
	"github.com/wattbus/wattbus/internal/topic"
)

// The demonstration's link and day.
const (
	narrowBitRate = 1200
	narrowMTU     = 64
	narrowDay     = 24 * time.Hour
)

// The octets of headers that IPv4 and TCP without options put before each segment, and with UDP before each datagram.
const (
	tcpIP = 20 + 20
	udpIP = 20 + 8
)

// narrowband is a meter's day on a narrow link.
type narrowband struct {
	speed float64       // business seconds per wall second; the link is as much faster
	sleep time.Duration // business time; 0: the meter stays awake
	log   *slog.Logger
	// observe, if not nil, is told of every frame.
	observe func(snlink.Transmission)

	mu       sync.Mutex
	messages []narrowMessage // that crossed the link, in either direction
	readings int
	parts    int
	results  int
	begun    chan struct{} // the meter has registered
	whole    chan struct{} // all readings of the day have come
	answered chan struct{} // both commands have been answered
}

type narrowMessage struct {
	topic string
	size  int
	qos   byte
}

// narrowResult is what a day took.
type narrowResult struct {
	Readings, Parts, Results int
	Link                     snlink.MediumStats // no IP on it
	OverUDP                  int                // octets with UDP and IPv4 headers
	TCP                      int                // octets that MQTT over TCP and IPv4 needs for the same
	Ratio                    float64            // TCP / Link.Octets
}

func (n *narrowband) wall(d time.Duration) time.Duration { return time.Duration(float64(d) / n.speed) }

// run lives through the day: registration, a reading each half hour, a load profile and a command.
//
//	meter ══1,200 bit/s, 64 octets══> gateway ──> broker, which answers as a centre does
func (n *narrowband) run(ctx context.Context) (r narrowResult, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	n.begun, n.whole, n.answered = make(chan struct{}), make(chan struct{}), make(chan struct{})
	b, err := broker.New(broker.Options{}) // without listeners there is nothing to run
	if err != nil {
		return r, err
	}
	const id = "M1000317"
	clk := clock.New(time.Date(2018, 11, 7, 0, 1, 0, 0, time.UTC), n.speed)
	b.Handle("up/#", func(m *broker.Inbound) { n.receive(b, clk, m.Topic, m.Payload) })
	medium, err := snlink.NewMedium(snlink.MediumOptions{BitRate: int(narrowBitRate * n.speed), MTU: narrowMTU, HalfDuplex: true, Delay: n.wall(50 * time.Millisecond),
		Observe: n.observe})
	if err != nil {
		return r, err
	}
	attach := func(name string) (*snlink.Fragmented, error) {
		node, err := medium.Attach(name)
		if err != nil {
			return nil, err
		}
		return snlink.NewFragmented(node, narrowMTU)
	}
	pole, err := attach("pole")
	if err != nil {
		return r, err
	}
	retry := max(n.wall(15*time.Second), time.Second)
	gw, err := gateway.New(gateway.Options{Links: []gateway.Link{{Conn: pole, MTU: pole.MTU()}}, Server: gateway.InProcess{Broker: b},
		Predefined: contractTable{}, Retry: retry, Logger: n.log})
	if err != nil {
		return r, err
	}
	set, err := dataset.Load()
	if err != nil {
		return r, err
	}
	agent, err := meter.New(meter.Options{ID: id, Source: set.For(id), Clock: clk, URL: "mqttsn://pole", KeepAlive: max(n.wall(2*time.Hour), 5*time.Second).Truncate(time.Second),
		Capabilities: record.CapBreaker, Logger: n.log, SN: meter.SN{Retry: retry, Linger: n.wall(5 * time.Second), Sleep: n.wall(n.sleep),
			Dial: func(context.Context, string) (snlink.Link, error) {
				conn, err := attach(id)
				return snlink.Link{Conn: conn, Gateway: snlink.MediumAddr("pole")}, err
			}}})
	if err != nil {
		return r, err
	}
	wg.Go(func() { cancel(gw.Run(ctx)) })
	wg.Go(func() { cancel(agent.Run(ctx)) })

	if err := n.await(ctx, n.begun); err != nil {
		return r, err
	}
	_ = clk.WaitUntil(ctx, time.Date(2018, 11, 7, 12, 10, 0, 0, time.UTC))
	for i, c := range []record.Command{{Opcode: record.OpProfile}, {Opcode: record.OpReconnect, Expiry: clk.Unix() + 7200}} {
		c.Header.Time, c.ID = clk.Unix(), uint64(i+1)
		if err := n.send(b, "dn/meter/"+id+"/cmd", c.Append(nil), 1); err != nil {
			return r, err
		}
	}
	for _, done := range []chan struct{}{n.answered, n.whole} {
		if err := n.await(ctx, done); err != nil {
			return r, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r = narrowResult{Readings: n.readings, Parts: n.parts, Results: n.results, Link: medium.Stats()}
	if r.TCP, err = n.tcp(id); err != nil {
		return r, err
	}
	r.OverUDP = int(r.Link.Octets) + int(r.Link.Frames)*udpIP
	r.Ratio = float64(r.TCP) / float64(r.Link.Octets)
	return r, nil
}

func (n *narrowband) await(ctx context.Context, done chan struct{}) error {
	t := time.NewTimer(max(n.wall(26*time.Hour), time.Minute))
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		n.mu.Lock()
		defer n.mu.Unlock()
		return fmt.Errorf("the day did not come to its end: %d readings, %d parts, %d results", n.readings, n.parts, n.results)
	}
}

// receive is the centre's part.
func (n *narrowband) receive(b *broker.Broker, clk *clock.Clock, name string, payload []byte) {
	t, err := topic.Parse(name)
	if err != nil {
		return
	}
	qos := byte(1)
	if t.Event == record.TypeLocation.Event() {
		qos = 0
	}
	n.mu.Lock()
	n.messages = append(n.messages, narrowMessage{name, len(payload), qos})
	switch t.Event {
	case record.TypeReading.Event():
		if n.readings++; n.readings == int(narrowDay/(30*time.Minute)) {
			close(n.whole)
		}
	case record.TypeProfile.Event():
		n.parts++
	case record.TypeResult.Event():
		if n.results++; n.results == 2 {
			close(n.answered)
		}
	}
	n.mu.Unlock()
	if t.Event == record.TypeLocation.Event() {
		l, err := record.DecodeLocation(payload)
		if err != nil {
			return
		}
		ack := record.LocationAck{Header: record.Header{Time: clk.Unix()}, Sequence: l.Sequence}
		if err := n.send(b, "dn/meter/"+t.ID+"/location-ack", ack.Append(nil), 0); err != nil {
			n.log.Error("answering a registration", "error", err)
		}
		select {
		case <-n.begun:
		default:
			close(n.begun)
		}
	}
}

func (n *narrowband) send(b *broker.Broker, name string, payload []byte, qos byte) error {
	n.mu.Lock()
	n.messages = append(n.messages, narrowMessage{name, len(payload), qos})
	n.mu.Unlock()
	_, err := b.Publish(name, payload, qos, false)
	return err
}

// tcp is what MQTT 3.1.1 over TCP and IPv4 needs for the same messages, on one connection that lasts the whole day. It is
// reckoned in favour of MQTT: no TCP options, no retransmission, no TLS, no PINGREQ since the keep-alive is longer than the
// pause between readings, and every acknowledgement of TCP that can ride on an answer does. So a message of QoS 1 takes
//
//	──PUBLISH──>  <──PUBACK──  ──ACK──>       three headers
//
// since nothing follows within the half second in which an ACK may wait.
func (n *narrowband) tcp(id string) (octets int, err error) {
	segment := func(payload int) { octets += payload + tcpIP }
	exchange := func(request, answer int) { segment(request); segment(answer); segment(0) }
	for range 3 { // SYN, SYN ACK, ACK
		segment(0)
	}
	connect, err := mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V311, ClientID: id, KeepAlive: 7200,
		Will: &mqtt.Will{Topic: "up/meter/" + id + "/lost", Payload: make([]byte, record.LostSize), QoS: 1}})
	if err != nil {
		return 0, err
	}
	exchange(len(connect), 4)
	subscribe := 2 + 2
	for _, f := range []string{"dn/meter/" + id + "/#", "dn/all/meter/#"} {
		subscribe += 2 + len(f) + 1
	}
	exchange(subscribe, 2+2+2)
	for _, m := range n.messages {
		size := mqtt.PublishSize(mqtt.V311, m.qos, len(m.topic), m.size)
		if m.qos == 0 {
			segment(size)
			segment(0)
			continue
		}
		exchange(size, 4)
	}
	return octets, nil
}

func newBenchNarrowband(a *app) *cobra.Command {
	n := narrowband{log: slog.New(slog.DiscardHandler)}
	var out output
	cmd := &cobra.Command{
		Use:     "narrowband",
		Example: "  wattbus bench narrowband",
		Short:   "A meter's day on a link of 1,200 bit/s with frames of 64 octets",
		Long: `Let a meter live through a day on a simulated link of 1,200 bit/s with frames of 64 octets, half duplex: registration, 48
readings, a load profile and a command, over the real gateway. It prints the octets on the link, and what MQTT over TCP needs
for the same messages on one connection that lasts all day.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(a); err != nil {
				return err
			}
			if n.speed < 1 || n.speed > 10_000 {
				return usagef("flag --speed: value %v, want 1 to 10000", n.speed)
			}
			if n.sleep != 0 && n.wall(n.sleep) < meter.MinSleep {
				return usagef("flag --sleep: value %s at speed %v, want at least %s", n.sleep, n.speed, time.Duration(float64(meter.MinSleep)*n.speed))
			}
			r, err := n.run(cmd.Context())
			if err != nil {
				return err
			}
			return write(a.Out, out, r.rows(), []column[benchRow]{
				{"what", func(r benchRow) string { return r.What }},
				{"value", func(r benchRow) string { return figure(r.Value) }},
				{"unit", func(r benchRow) string { return r.Unit }},
			})
		},
	}
	out.flag(cmd.Flags())
	cmd.Flags().Float64Var(&n.speed, "speed", 2880, "how much faster than the clock on the wall, the link included")
	cmd.Flags().DurationVar(&n.sleep, "sleep", 0, "let the meter sleep, and wake after so long of its own time; 0: it stays awake")
	return cmd
}

func (r narrowResult) rows() []benchRow {
	return []benchRow{
		{What: "readings", Value: float64(r.Readings), Unit: "messages"},
		{What: "parts of a load profile", Value: float64(r.Parts), Unit: "messages"},
		{What: "results of commands", Value: float64(r.Results), Unit: "messages"},
		{What: "MQTT-SN on the link, both ways", Value: float64(r.Link.Octets), Unit: "octets"},
		{What: "frames on the link", Value: float64(r.Link.Frames), Unit: "frames"},
		{What: "time on the air at 1,200 bit/s", Value: float64(r.Link.Octets) * 8 / narrowBitRate, Unit: "s"},
		{What: "MQTT-SN if the link were UDP over IPv4", Value: float64(r.OverUDP), Unit: "octets"},
		{What: "MQTT over TCP over IPv4 for the same", Value: float64(r.TCP), Unit: "octets"},
		{What: "MQTT over TCP / MQTT-SN on the link", Value: r.Ratio, Unit: "times"},
	}
}
