package connector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/wattbus/wattbus/internal/bus"
)

var kafkaKind = kind{
	schemes: []string{"kafka", "kafkas"}, many: true, address: true, addressHelp: "a topic such as wattbus.{name}",
	check: func(s *Spec) error {
		if s.Kafka == nil {
			s.Kafka = &Kafka{}
		}
		k := s.Kafka
		if k.SASL == "" {
			k.SASL = "scram-sha-512"
		}
		if saslMechanism(k.SASL, "", "") == nil {
			return fmt.Errorf("kafka.sasl: %.40q, want scram-sha-512, scram-sha-256 or plain", k.SASL)
		}
		if k.BatchBytes == 0 {
			k.BatchBytes = 1_000_000
		}
		if k.BatchBytes < 1<<10 || k.BatchBytes > 64<<20 {
			return fmt.Errorf("kafka.batch-bytes: %d, want %d to %d", k.BatchBytes, 1<<10, 64<<20)
		}
		if a, err := parseAddress(s.Address); err == nil && a.has("id") {
			return errors.New("address: {id} would take a topic for each device; want {kind} and {name} at most, the device's id is the key")
		}
		if err := checkTopic("address", s.Address, "{}"); err != nil || s.Commands == nil {
			return err
		}
		return checkTopic("commands.address", s.Commands.Address, "")
	},
	open:   openKafka,
	source: openKafkaSource,
}

// checkTopic returns nil if a topic may be called so, those runes besides that stand for parts; "" is none.
func checkTopic(field, s, besides string) error {
	if len(s) <= 249 && s != "." && s != ".." && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-"+besides, r))
	}) < 0 {
		return nil
	}
	return fmt.Errorf("%s: %.60q, want a topic: at most 249 of A-Z a-z 0-9 . _ and -", field, s)
}

func saslMechanism(name, user, password string) sasl.Mechanism {
	switch name {
	case "plain":
		return plain.Auth{User: user, Pass: password}.AsMechanism()
	case "scram-sha-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
	case "scram-sha-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	}
	return nil
}

// kafkaTarget produces to topics of Kafka.
type kafkaTarget struct {
	address *address
	binary  bool
	options []kgo.Opt
	timeout time.Duration
}

func openKafka(s *Spec, _ *deps) (target, error) {
	o, err := s.kafkaOptions()
	if err != nil {
		return nil, err
	}
	o = append(o, kgo.RequiredAcks(kgo.AllISRAcks()), // and idempotent, which is the default
		// All of a call is flushed at once, so nothing lingers. A session that takes too long is given up and its events come again, so
		// that a record may be given up that was sent.
		kgo.ManualFlushing(), kgo.MaxBufferedRecords(bus.OutEvents), kgo.AllowIdempotentProduceCancellation(),
		kgo.ProducerBatchMaxBytes(int32(s.Kafka.BatchBytes)), kgo.MetadataMinAge(time.Second))
	a, err := parseAddress(s.Address)
	return &kafkaTarget{address: a, binary: s.Encoding == Binary, options: o, timeout: time.Duration(s.Timeout)}, err
}

// kafkaOptions are what producers and consumers have in common.
func (s *Spec) kafkaOptions() ([]kgo.Opt, error) {
	password, err := secret("password", s.PasswordFile, s.PasswordEnv)
	if err != nil {
		return nil, err
	}
	o := []kgo.Opt{kgo.SeedBrokers(s.servers("9092")...), kgo.ClientID("wattbus-" + s.Name), kgo.DialTimeout(time.Duration(s.Timeout)),
		kgo.RetryTimeout(time.Duration(s.Timeout)), kgo.DisableClientMetrics()}
	if s.Username != "" {
		o = append(o, kgo.SASL(saslMechanism(s.Kafka.SASL, s.Username, password)))
	}
	var tc *tls.Config
	if tc, err = s.tlsConfig(strings.HasPrefix(s.URL, "kafkas:")); tc != nil {
		o = append(o, kgo.DialTLSConfig(tc))
	}
	return o, err
}

// dialKafka connects, and looks whether the topics are there: a client waits for one that is not.
func dialKafka(ctx context.Context, timeout time.Duration, topics []string, o ...kgo.Opt) (*kgo.Client, error) {
	c, err := kgo.NewClient(o...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	fail := func(err error) (*kgo.Client, error) {
		c.Close()
		return nil, err
	}
	if err := c.Ping(ctx); err != nil {
		// Some brokers only hang up.
		return fail(fmt.Errorf("no broker answers; is the address right, want it TLS or not, are user name, password and kafka.sasl right? %w", err))
	}
	if len(topics) > 0 {
		all, err := kadm.NewClient(c).Metadata(ctx, topics...)
		if err != nil {
			return fail(err)
		}
		for _, t := range topics {
			if d := all.Topics[t]; d.Err != nil {
				return fail(fmt.Errorf("topic %s: %w", t, d.Err))
			}
		}
	}
	return c, nil
}

func (t *kafkaTarget) connect(ctx context.Context) (session, error) {
	var topics []string
	if t.address.fixed() { // what is wrong with it is known at once
		topics = t.address.text[:1]
	}
	c, err := dialKafka(ctx, t.timeout, topics, t.options...)
	if err != nil {
		return nil, err
	}
	return &kafkaSession{t: t, c: c}, nil
}

type kafkaSession struct {
	t     *kafkaTarget
	c     *kgo.Client
	ended sync.Once
}

func (x *kafkaSession) gone() <-chan struct{} { return nil } // the client looks for the brokers itself
func (x *kafkaSession) close() error          { x.ended.Do(x.c.Close); return nil }

// deliver produces all, then waits until all in-sync replicas have each.
func (x *kafkaSession) deliver(ctx context.Context, events []bus.OutEvent) (settled int, refused []refusal, err error) {
	ctx, cancel := context.WithTimeout(ctx, x.t.timeout)
	defer cancel()
	errs := x.produce(ctx, events)
	for ; settled < len(events); settled++ {
		err := errs[settled]
		if errors.Is(err, kerr.MessageTooLarge) && len(events) > 1 {
			// It may be the batch that is too large for the topic.
			err = x.produce(ctx, events[settled:settled+1])[0]
		}
		switch {
		case err == nil:
		case errors.Is(err, kerr.MessageTooLarge):
			refused = append(refused, refusal{events[settled], err.Error()})
		case errors.Is(err, kerr.InvalidRecord):
			return settled, refused, &eventError{uid: events[settled].UID, err: err}
		case ctx.Err() != nil:
			return settled, refused, fmt.Errorf("no answer within %v", x.t.timeout)
		default:
			return settled, refused, fmt.Errorf("topic %s: %w", x.t.address.of(&events[settled]), err)
		}
	}
	return settled, refused, nil
}

func (x *kafkaSession) produce(ctx context.Context, events []bus.OutEvent) []error {
	errs := make([]error, len(events))
	var open sync.WaitGroup
	open.Add(len(events))
	for i := range events {
		x.c.Produce(ctx, x.t.record(&events[i]), func(_ *kgo.Record, err error) { errs[i] = err; open.Done() })
	}
	if x.c.Flush(ctx) != nil {
		_ = x.close() // it ends what is still under way
	}
	open.Wait()
	return errs
}

// record is keyed by the device, so that events of one stay in one partition and in order. Its time is that of sending: brokers remove
// records by it. CloudEvents 1.0, Kafka protocol binding, 3.2 and 3.3.
func (t *kafkaTarget) record(e *bus.OutEvent) *kgo.Record {
	r := &kgo.Record{Topic: t.address.of(e), Key: []byte(e.ID)}
	if !t.binary {
		r.Headers = []kgo.RecordHeader{{Key: "content-type", Value: []byte(structuredType)}}
		r.Value = appendStructured(make([]byte, 0, len(e.Data)+256), e)
		return r
	}
	r.Headers = make([]kgo.RecordHeader, 0, 7)
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: "content-type", Value: []byte(dataType)})
	for _, a := range attributes(e) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_" + a.name, Value: []byte(a.value)})
	}
	r.Value = e.Data
	return r
}
