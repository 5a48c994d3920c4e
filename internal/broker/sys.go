package broker

import (
	"context"
	"math"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// What the broker tells of itself below $SYS/broker, under the names that
// Mosquitto gave these things. A value is published every SysInterval, at QoS 0,
// while somebody subscribes to it; a new subscriber gets it at once, marked as
// retained, so that asking once is enough.

const sysPrefix = "$SYS/broker/"

// sysState is what the values are made of.
type sysState struct {
	Stats
	b      *Broker
	uptime time.Duration
}

type sysValue struct {
	name  string
	value func(*sysState) string
}

// sysValues lists the topics below sysPrefix.
var sysValues = append([]sysValue{
	{"version", func(s *sysState) string { return s.b.opt.Version }},
	{"uptime", func(s *sysState) string { return count(s.uptime/time.Second) + " seconds" }},
	{"clients/connected", func(s *sysState) string { return count(s.b.clients()) }},
	{"clients/disconnected", func(s *sysState) string { return count(s.away()) }},
	{"clients/active", func(s *sysState) string { return count(s.b.clients()) }}, // the old names of connected and disconnected
	{"clients/inactive", func(s *sysState) string { return count(s.away()) }},
	{"clients/total", func(s *sysState) string { return count(s.Sessions) }},
	{"clients/maximum", func(s *sysState) string { return count(s.MostClients) }},
	{"clients/expired", func(s *sysState) string { return count(s.Expired) }},
	{"messages/received", func(s *sysState) string { return count(s.Packets) }},
	{"messages/sent", func(s *sysState) string { return count(s.PacketsSent) }},
	{"publish/messages/received", func(s *sysState) string { return count(s.Published) }},
	{"publish/messages/sent", func(s *sysState) string { return count(s.Delivered) }},
	{"publish/messages/dropped", func(s *sysState) string { return count(s.dropped()) }},
	{"publish/bytes/received", func(s *sysState) string { return count(s.b.count.payloadIn.Load()) }},
	{"publish/bytes/sent", func(s *sysState) string { return count(s.b.count.payloadOut.Load()) }},
	{"messages/stored", func(s *sysState) string { return count(s.stored()) }}, // the old name of store/messages/count
	{"store/messages/count", func(s *sysState) string { return count(s.stored()) }},
	{"bytes/received", func(s *sysState) string { return count(s.BytesReceived) }},
	{"bytes/sent", func(s *sysState) string { return count(s.BytesSent) }},
	{"subscriptions/count", func(s *sysState) string { return count(s.Subscriptions) }},
	{"retained messages/count", func(s *sysState) string { return count(s.Retained) }},
	{"store/messages/bytes", func(s *sysState) string { return count(s.RetainedBytes + s.QueuedBytes) }},
	{"heap/current", func(*sysState) string { return count(heap()) }},
}, loadValues()...)

// loadValues are the rates of everything that is counted, over each span.
func loadValues() (all []sysValue) {
	for what, name := range loadNames {
		for span, minutes := range loadMinutes {
			all = append(all, sysValue{"load/" + name + "/" + count(int(minutes)) + "min", loadOf(what, span)})
		}
	}
	return all
}

func count[T ~int | ~int64 | ~uint64](n T) string {
	if n < 0 {
		return "0"
	}
	return strconv.FormatUint(uint64(n), 10)
}

// away is the number of sessions that are not connected.
func (s *sysState) away() int { return s.Sessions - int(s.b.clients()) }

// stored is the number of messages that wait or are retained, once for each session.
func (s *sysState) stored() int64 { return int64(s.Retained) + s.b.waiting.Load() }

func (s *sysState) dropped() (n uint64) {
	for _, d := range s.Dropped {
		n += d
	}
	return n
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

func (b *Broker) sysState() *sysState { return &sysState{b.Stats(), b, b.now()} }

// publishSys publishes until ctx ends.
func (b *Broker) publishSys(ctx context.Context) {
	tick := time.NewTicker(b.opt.SysInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b.load.update(b, b.opt.SysInterval)
		b.tellSys()
	}
}

// tellSys publishes every value that somebody subscribes to.
func (b *Broker) tellSys() {
	w := b.getWork()
	defer b.putWork(w)
	defer b.settle(w)
	var state *sysState
	for _, v := range sysValues {
		name := sysPrefix + v.name
		if w.subs = b.subs.Match(name, w.subs[:0]); len(w.subs) == 0 {
			continue
		}
		if state == nil {
			state = b.sysState()
		}
		w.in = Inbound{Topic: name, Payload: []byte(v.value(state)), Version: mqtt.V311}
		b.dispatch(w, nil)
		w.published-- // counts what others publish
		w.payload -= uint64(len(w.in.Payload))
	}
	w.clearFull() // nobody waits for QoS 0
}

// sysNow gives the values that match a new subscription.
func (b *Broker) sysNow(filter string) (ms []*message) {
	if b.opt.SysInterval < 0 || !strings.HasPrefix(filter, "$SYS/") {
		return nil
	}
	var state *sysState
	for _, v := range sysValues {
		if name := sysPrefix + v.name; topic.Match(filter, name) {
			if state == nil {
				state = b.sysState()
			}
			ms = append(ms, &message{topic: name, payload: []byte(v.value(state))})
		}
	}
	return ms
}

// The counters whose rates are told.
const (
	loadConnects = iota
	loadPackets
	loadPacketsSent
	loadBytes
	loadBytesSent
	loadPublish
	loadPublishSent
	loadDropped
	loadSockets
	loads
)

var loadNames = [loads]string{
	"connections", "messages/received", "messages/sent", "bytes/received", "bytes/sent",
	"publish/received", "publish/sent", "publish/dropped", "sockets",
}

// loadMinutes are the spans over which the rates are averaged.
var loadMinutes = [3]float64{1, 5, 15}

// load holds moving averages of counters, per minute: each tick moves them towards
// the rate since the one before, the more the longer it was.
type load struct {
	last [loads]uint64
	rate [loads][len(loadMinutes)]atomicFloat
}

func (l *load) update(b *Broker, since time.Duration) {
	c := &b.count
	now := [loads]uint64{
		loadConnects:    c.accepted.Load(),
		loadPackets:     c.packets.Load(),
		loadPacketsSent: c.delivered.Load() + c.acked.Load() + c.answers.Load(),
		loadBytes:       c.bytesIn.Load(),
		loadBytesSent:   c.bytesOut.Load(),
		loadPublish:     c.published.Load(),
		loadPublishSent: c.delivered.Load(),
		loadSockets:     c.sockets.Load(),
	}
	for i := range c.dropped {
		now[loadDropped] += c.dropped[i].Load()
	}
	if since > 0 {
		for i := range now {
			perMinute := float64(now[i]-l.last[i]) / since.Minutes()
			for k, span := range loadMinutes {
				keep := math.Exp(-since.Minutes() / span)
				l.rate[i][k].store(keep*l.rate[i][k].load() + (1-keep)*perMinute)
			}
		}
	}
	l.last = now
}

func loadOf(what, span int) func(*sysState) string {
	return func(s *sysState) string { return strconv.FormatFloat(s.b.load.rate[what][span].load(), 'f', 2, 64) }
}

// atomicFloat is written by one goroutine and read by many.
type atomicFloat struct{ bits atomic.Uint64 }

func (f *atomicFloat) load() float64   { return math.Float64frombits(f.bits.Load()) }
func (f *atomicFloat) store(v float64) { f.bits.Store(math.Float64bits(v)) }
