package connector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaSource takes requests from a topic, as a group of consumers that is called as the target.
//
//	record ──> under way ──> done ──> committed, when all before it in its partition are done
//
// What is not committed comes again; its place in the partition is its id.
type kafkaSource struct {
	topic   string
	group   string
	options []kgo.Opt
	timeout time.Duration
}

// maxAhead bounds the requests of a partition that are not committed, done or not: fewer than the keys that outlive a restart.
const maxAhead = 5_000

func openKafkaSource(s *Spec, _ *deps) (source, error) {
	o, err := s.kafkaOptions()
	o = append(o, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(time.Duration(s.Timeout)),
		kgo.AllowIdempotentProduceCancellation(), kgo.ProducerBatchMaxBytes(int32(s.Kafka.BatchBytes)), kgo.MetadataMinAge(time.Second))
	return &kafkaSource{topic: s.Commands.Address, group: "wattbus-" + s.Name, options: o, timeout: time.Duration(s.Timeout)}, err
}

func (k *kafkaSource) receive(ctx context.Context, window int, ready func(), handle func(*request)) error {
	places := &kafkaPlaces{all: map[int32]*kafkaPlace{}, moved: make(chan struct{}, 1)}
	forget := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { places.forget(gone[k.topic]) }
	if err := k.begin(ctx); err != nil {
		return err
	}
	c, err := dialKafka(ctx, k.timeout, []string{k.topic}, append([]kgo.Opt{kgo.ConsumerGroup(k.group), kgo.ConsumeTopics(k.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second),
		kgo.FetchMaxPartitionBytes(maxRequest), kgo.FetchMaxBytes(4 * maxRequest), kgo.MaxConcurrentFetches(1),
		kgo.OnPartitionsRevoked(func(ctx context.Context, c *kgo.Client, gone map[string][]int32) {
			_ = c.CommitMarkedOffsets(ctx) // else they come again, and find what was made
			forget(ctx, c, gone)
		}), kgo.OnPartitionsLost(forget)}, k.options...)...)
	if err != nil {
		return err
	}
	defer c.Close()
	ready()
	for {
		for places.full() {
			select {
			case <-places.moved:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		all := c.PollRecords(ctx, window)
		if err := all.Err0(); err != nil {
			return err
		}
		for _, e := range all.Errors() {
			return fmt.Errorf("topic %s: %w", k.topic, e.Err)
		}
		for r := range all.RecordsAll() {
			handle(k.request(c, places, r))
		}
	}
}

// begin sets a group that has no place yet to the end of the topic: what was asked for before the target came to be is too old to be
// carried out.
func (k *kafkaSource) begin(ctx context.Context) error {
	c, err := dialKafka(ctx, k.timeout, []string{k.topic}, k.options...)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	admin := kadm.NewClient(c)
	have, err := admin.FetchOffsetsForTopics(ctx, k.group, k.topic)
	if err == nil {
		err = have.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("places of group %s: %w", k.group, err)
	}
	known := false
	have.Each(func(o kadm.OffsetResponse) { known = known || o.At >= 0 })
	if known {
		return nil
	}
	ends, err := admin.ListEndOffsets(ctx, k.topic)
	if err == nil {
		err = ends.Error()
	}
	if err == nil {
		err = admin.CommitAllOffsets(ctx, k.group, ends.Offsets())
	}
	if err != nil {
		return fmt.Errorf("first place of group %s: %w", k.group, err)
	}
	return nil
}

// kafkaPlaces are how far requests are done.
type kafkaPlaces struct {
	mu    sync.Mutex
	all   map[int32]*kafkaPlace
	moved chan struct{} // something was done
}

// kafkaPlace is that of one partition, for as long as this consumer has it.
type kafkaPlace struct {
	open []*kafkaRecord // in the order of the partition; the first one is not done
	gone bool
}

// kafkaRecord is the place of a request.
type kafkaRecord struct {
	r    *kgo.Record
	done bool
}

func (p *kafkaPlaces) add(r *kgo.Record) (*kafkaPlace, *kafkaRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.all[r.Partition]
	if x == nil {
		x = &kafkaPlace{}
		p.all[r.Partition] = x
	}
	q := &kafkaRecord{r: &kgo.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch}}
	x.open = append(x.open, q)
	return x, q
}

func (p *kafkaPlaces) forget(partitions []int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range partitions {
		if x := p.all[n]; x != nil {
			x.gone = true
			delete(p.all, n)
		}
	}
}

func (p *kafkaPlaces) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, x := range p.all {
		n += len(x.open)
	}
	return n >= maxAhead
}

// done notes that a request is done and returns the record up to which all are, nil if that is no other than before.
func (p *kafkaPlaces) done(x *kafkaPlace, q *kafkaRecord) (last *kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q.done = true
	if x.gone {
		return nil
	}
	n := 0
	for ; n < len(x.open) && x.open[n].done; n++ {
		last = x.open[n].r
	}
	if x.open = x.open[n:]; n > 0 {
		select {
		case p.moved <- struct{}{}:
		default:
		}
	}
	return last
}

// The headers that say where an answer goes: ours, and those of Spring for Kafka.
const (
	kafkaReplyTopic        = "reply-topic"
	kafkaCorrelation       = "correlation-id"
	kafkaSpringReplyTopic  = "kafka_replyTopic"
	kafkaSpringCorrelation = "kafka_correlationId"
)

func (k *kafkaSource) request(c *kgo.Client, places *kafkaPlaces, r *kgo.Record) *request {
	get := func(name string) []byte {
		for _, h := range r.Headers {
			if h.Key == name {
				return h.Value
			}
		}
		return nil
	}
	// The time tells a place from the same one in a topic that was made anew.
	q := &request{id: fmt.Sprintf("%s/%d/%d/%d", r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli()), token: string(get(tokenProperty)),
		key: string(get(keyProperty)), body: r.Value}
	place, here := places.add(r)
	q.done = func(context.Context) error {
		if last := places.done(place, here); last != nil {
			c.MarkCommitRecords(last)
		}
		return nil
	}
	to, correlation := get(kafkaReplyTopic), kgo.RecordHeader{Key: kafkaCorrelation, Value: get(kafkaCorrelation)}
	if len(to) == 0 {
		to, correlation = get(kafkaSpringReplyTopic), kgo.RecordHeader{Key: kafkaSpringCorrelation, Value: get(kafkaSpringCorrelation)}
	}
	if len(to) == 0 {
		return q
	}
	if len(correlation.Value) == 0 {
		correlation.Value = []byte(q.id)
	}
	q.answer = func(ctx context.Context, status, contentType string, body []byte) error {
		ctx, cancel := context.WithTimeout(ctx, k.timeout)
		defer cancel()
		err := c.ProduceSync(ctx, &kgo.Record{Topic: string(to), Key: r.Key, Value: body, Headers: []kgo.RecordHeader{correlation,
			{Key: "content-type", Value: []byte(contentType)}, {Key: statusProperty, Value: []byte(status)}}}).FirstErr()
		if err != nil {
			return fmt.Errorf("reply to topic %.80s: %w", to, err)
		}
		return nil
	}
	return q
}
