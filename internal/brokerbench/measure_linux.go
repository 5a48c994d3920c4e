package brokerbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/wattbus/wattbus/internal/child"
)

// row is one way of loading a broker.
type row struct {
	name   string
	text   string
	files  uint64 // file descriptors that the load and the broker each need
	repeat bool   // the machine's other work shows in the figures
	run    func(m *measurement) error
}

// measurement is one row on one broker.
type measurement struct {
	ctx    context.Context
	o      *Options
	server string
	set    setup
	broker *child.Process
	more   []*child.Process // other processes whose time counts
	addr   string
	res    Result
	steady bool // the rate is the load's: measure longer, for the system tells processor time in steps of 10 ms
}

// rounds is how often a row is measured on each broker, in turn.
const rounds = 3

// errNone says that a broker has no part in a row.
var errNone = errors.New("has no such thing")

func run(ctx context.Context, o Options) (results []Result, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	limit.Cur = limit.Max
	// Once it was set by us, the brokers inherit it.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("raise the number of file descriptors: %w", err)
	}
	servers := slices.DeleteFunc(slices.Clone(o.Servers), func(s string) bool { return !Available(s) })
	chosen := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return len(o.Rows) > 0 && !slices.Contains(o.Rows, r.name) })
	done, total := 0, 0
	for _, r := range chosen {
		total += len(servers)
		if r.repeat && !o.Quick {
			total += (rounds - 1) * len(servers)
		}
	}
	for _, r := range chosen {
		// In turn, so that what else the machine does meets all alike.
		of := make(map[string][]Result)
		for round := range rounds {
			for _, server := range servers {
				if round > 0 && (o.Quick || !r.repeat) {
					continue
				}
				done++
				if round > 0 && of[server][0].Note != "" {
					continue
				}
				if o.Started != nil {
					o.Started(r.text, server, done-1, total)
				}
				m := &measurement{ctx: ctx, o: &o, server: server, res: Result{Row: r.name, Server: server, Text: r.text}}
				switch {
				case r.files+64 > limit.Cur:
					m.res.Note = fmt.Sprintf("needs %d file descriptors, the limit is %d", r.files+64, limit.Cur)
				case server == NATS && r.files > 1000 && len(o.Rows) == 0:
					m.res.Note = "takes minutes: name the row to measure it"
				default:
					if err := m.measure(r); err != nil {
						m.res.Note = err.Error()
					}
				}
				if ctx.Err() != nil {
					return results, ctx.Err()
				}
				of[server] = append(of[server], m.res)
			}
		}
		for _, server := range servers {
			results = append(results, merge(of[server]))
		}
	}
	return results, nil
}

func (m *measurement) measure(r row) (err error) {
	m.set.dir = filepath.Join(m.o.Dir, r.name+"-"+m.server)
	if err := os.MkdirAll(m.set.dir, 0o700); err != nil {
		return err
	}
	defer func() {
		for _, p := range append(m.more, m.broker) {
			if p != nil {
				err = errors.Join(err, p.Stop())
			}
		}
		err = errors.Join(err, os.RemoveAll(m.set.dir))
	}()
	return r.run(m)
}

// start runs the broker.
func (m *measurement) start() (err error) {
	m.broker, m.addr, err = start(m.ctx, m.server, m.set)
	return err
}

// load starts the broker and gives a load for it.
func (m *measurement) load(publishers int, qos byte) (*load, error) {
	if err := m.start(); err != nil {
		return nil, err
	}
	return newLoad(m.addr, publishers, qos)
}

func newLoad(addr string, publishers int, qos byte) (*load, error) {
	l, err := newLoop(addr)
	if err != nil {
		return nil, err
	}
	return &load{loop: l, ledger: newLedger(publishers), qos: qos, each: 1}, nil
}

// long and short times of a row.
func (m *measurement) during() (warm, measured time.Duration) {
	if m.o.Quick {
		return 100 * time.Millisecond, 300 * time.Millisecond
	}
	return 300 * time.Millisecond, time.Second
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// throughput lets the publishers send, measures what is delivered, and waits until all has arrived that will.
func (m *measurement) throughput(l *load) error {
	warm, measured := m.during()
	if m.steady {
		measured *= 3
	}
	never := func() bool { l.resume(); return false }
	begun := l.now()
	for _, p := range l.pubs {
		if !p.paced {
			p.send()
		}
	}
	if err := l.run(warm-(l.now()-begun), never); !errors.Is(err, errRest) {
		return err
	}
	l.record = true
	cpu, own, got, at := m.broker.CPU(), ownCPU(), l.ledger.delivered, l.now()
	if err := l.run(measured, never); !errors.Is(err, errRest) {
		return err
	}
	n := float64(l.ledger.delivered - got)
	m.figures(n, l.now()-at, m.broker.CPU()-cpu, ownCPU()-own)
	m.res.P50, m.res.P99 = l.latency.quantile(0.5), l.latency.quantile(0.99)
	l.record = false
	return m.settle(l)
}

func (m *measurement) figures(n float64, took, cpu, own time.Duration) {
	if n > 0 {
		m.res.Rate = n / took.Seconds()
		m.res.CPU, m.res.GeneratorCPU = cpu.Seconds()*1e6/n, own.Seconds()*1e6/n
	}
}

// settle stops sending, waits until all has arrived or nothing moves, and sums up.
func (m *measurement) settle(l *load) error {
	l.stop, l.tick = true, nil
	const rest = 10 * time.Second
	moved, seen := l.now(), int64(-1)
	err := l.run(60*time.Second, func() bool {
		if got := l.ledger.delivered + l.ledger.acks; got != seen {
			moved, seen = l.now(), got
		}
		acked := l.qos == 0 || l.ledger.acks == l.ledger.messages
		return l.ledger.delivered == l.ledger.messages*l.each && acked || l.now()-moved > rest
	})
	l.ledger.sum(&m.res, l.qos)
	if errors.Is(err, errRest) {
		return nil
	}
	return err
}
