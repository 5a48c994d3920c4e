package connector

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// Options are what a Connector needs. Bus is used, not closed.
type Options struct {
	Bus        *bus.Bus
	Tokens     Tokens                // of who may command; nil: no target may send commands
	File       string                // of targets; "": none, and those of earlier runs are forgotten
	Logger     *slog.Logger          // default: discards
	Registerer prometheus.Registerer // nil: no metrics
}

// Connector delivers events to the targets of a file.
type Connector struct {
	o     Options
	log   *slog.Logger
	m     *metrics
	deps  *deps
	ready chan struct{} // closed once all targets of the file are known to the bus

	changed chan struct{} // the specs are others
	do      chan func(context.Context)

	mu      sync.Mutex
	specs   []loaded
	running map[string]*running
}

// loaded is a target of the file as it was read last.
type loaded struct {
	spec Spec
	sum  [sha256.Size]byte // of the spec and the files that it names
}

// running is a runner with the goroutine that runs it.
type running struct {
	loaded
	runner *runner
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *running) stop() {
	r.cancel()
	<-r.done
}

// lookEvery is how often positions are looked at for the metrics.
const lookEvery = 5 * time.Second

// New reads the file. It starts nothing.
func New(o Options) (*Connector, error) {
	if o.Bus == nil {
		return nil, errors.New("connector: Bus is needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	log := o.Logger.With("component", "connector")
	c := &Connector{o: o, log: log, m: m, deps: &deps{log: log, tokens: o.Tokens}, ready: make(chan struct{}), changed: make(chan struct{}, 1),
		do: make(chan func(context.Context)), running: map[string]*running{}}
	return c, c.Load()
}

// Load reads the file again. If it, or a file that it names, cannot be used, the targets stay as they are.
func (c *Connector) Load() error {
	if c.o.File == "" {
		return nil
	}
	specs, err := Load(c.o.File)
	if err != nil {
		return err
	}
	all := make([]loaded, len(specs))
	for i, s := range specs {
		if s.Commands != nil && c.o.Tokens == nil {
			return fmt.Errorf("%s: target %s: commands: whoever sends them needs a token, and the centre knows none: give it --tokens", c.o.File, s.Name)
		}
		// Opened to find out what is wrong with it; the runner opens its own.
		if _, err := kinds[s.Type].open(&s, c.deps); err != nil {
			return fmt.Errorf("%s: target %s: %w", c.o.File, s.Name, err)
		}
		if all[i], err = load(s); err != nil {
			return fmt.Errorf("%s: target %s: %w", c.o.File, s.Name, err)
		}
	}
	c.mu.Lock()
	c.specs = all
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

func load(s Spec) (loaded, error) {
	h := sha256.New()
	text, err := yaml.Marshal(s)
	if err != nil {
		return loaded{}, err
	}
	_, _ = h.Write(text) // a hash takes everything
	for _, f := range s.files() {
		b, err := os.ReadFile(f)
		if err != nil {
			return loaded{}, err
		}
		fmt.Fprintf(h, "%d\n%s", len(b), b)
	}
	l := loaded{spec: s}
	h.Sum(l.sum[:0])
	return l, nil
}

// files lists the files that a spec names.
func (s *Spec) files() []string {
	all := []string{s.PasswordFile, s.TLS.CA, s.TLS.Cert, s.TLS.Key}
	if s.Webhook != nil {
		all = append(all, s.Webhook.SecretFile)
	}
	if s.NATS != nil {
		all = append(all, s.NATS.Credentials)
	}
	return slices.DeleteFunc(all, func(f string) bool { return f == "" })
}

// Files lists what Load reads.
func (c *Connector) Files() []string {
	if c.o.File == "" {
		return nil
	}
	all := []string{c.o.File}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.specs {
		all = append(all, l.spec.files()...)
	}
	return all
}

// Ready returns once the targets are known to the bus, so that nothing is made before that they should get.
func (c *Connector) Ready(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Try opens a target as a connector would, with its secrets, and connects to it if connect is set. Nothing is sent.
func Try(ctx context.Context, s Spec, connect bool) error {
	t, err := kinds[s.Type].open(&s, &deps{log: slog.New(slog.DiscardHandler)})
	if err != nil || !connect {
		return err
	}
	if p, ok := t.(prober); ok {
		return p.probe(ctx)
	}
	c, err := t.connect(ctx)
	if err != nil {
		return err
	}
	return c.close()
}

// Run delivers until ctx ends, and returns nil once everything has stopped. What is not confirmed by then is delivered by the next
// run.
func (c *Connector) Run(ctx context.Context) error {
	stop, err := c.serve()
	if err != nil {
		return fmt.Errorf("connector: %w", err)
	}
	defer func() {
		stop()
		for _, r := range c.list() {
			r.stop()
		}
	}()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for first := true; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
			again.Reset(0)
		case <-again.C:
			if err := c.apply(ctx); err != nil {
				if ctx.Err() == nil {
					c.log.Warn("targets not set up, will be tried again", "error", err)
				}
				again.Reset(time.Second)
			} else if first {
				first = false
				close(c.ready)
			}
		case f := <-c.do:
			f(ctx)
		case <-look.C:
			for _, r := range c.list() {
				r.runner.look(ctx)
			}
		}
	}
}

// apply makes what runs what the file says.
func (c *Connector) apply(ctx context.Context) error {
	c.mu.Lock()
	want := slices.Clone(c.specs)
	c.mu.Unlock()
	have, err := c.o.Bus.Targets(ctx)
	if err != nil {
		return err
	}
	for name := range have {
		if slices.ContainsFunc(want, func(l loaded) bool { return l.spec.Name == name }) {
			continue
		}
		c.halt(name)
		if err := c.o.Bus.ForgetTarget(ctx, name); err != nil {
			return err
		}
		c.log.Info("target is not in the file any more; its place is forgotten", "target", name)
	}
	for _, l := range want {
		c.mu.Lock()
		r := c.running[l.spec.Name]
		c.mu.Unlock()
		if r != nil && r.sum == l.sum {
			continue
		}
		c.halt(l.spec.Name)
		if err := c.o.Bus.EnsureTarget(ctx, l.spec.Name, l.spec.Events); err != nil {
			return err
		}
		if err := c.launch(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// halt stops a runner, if it runs.
func (c *Connector) halt(name string) {
	c.mu.Lock()
	r := c.running[name]
	delete(c.running, name)
	c.mu.Unlock()
	if r != nil {
		r.stop()
	}
}

// launch starts a runner that ends before Run returns.
func (c *Connector) launch(ctx context.Context, l loaded) error {
	r, err := newRunner(l.spec, c.deps, c.o.Bus, c.m)
	if err != nil {
		return err
	}
	var commands *commander
	if l.spec.Commands != nil && !l.spec.Paused {
		if commands, err = newCommander(l.spec, c.deps, c.o.Bus, c.m, r); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	x := &running{loaded: l, runner: r, cancel: cancel, done: make(chan struct{})}
	c.mu.Lock()
	c.running[l.spec.Name] = x
	c.mu.Unlock()
	go func() {
		defer close(x.done)
		var wg sync.WaitGroup
		if commands != nil {
			wg.Go(func() { commands.run(ctx) })
		}
		r.run(ctx)
		wg.Wait()
	}()
	return nil
}

// list is what runs, by name.
func (c *Connector) list() []*running {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*running
	for _, r := range c.running {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *running) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	return out
}

// serve answers the questions about targets until stop is called.
func (c *Connector) serve() (stop func(), err error) {
	list, err := bus.Serve(c.o.Bus, api.QueryTargets, func(ctx context.Context, _ struct{}) (api.Page[api.TargetStatus], error) {
		out := api.Page[api.TargetStatus]{Items: []api.TargetStatus{}}
		for _, r := range c.list() {
			out.Items = append(out.Items, r.runner.look(ctx))
		}
		return out, nil
	})
	if err != nil {
		return nil, err
	}
	replay, err := bus.Serve(c.o.Bus, api.QueryTargetReplay, c.replay)
	if err != nil {
		list()
		return nil, err
	}
	return func() { list(); replay() }, nil
}

// replay sets a target to a time. It is Run that does it, between other changes.
func (c *Connector) replay(ctx context.Context, q api.TargetReplay) (api.TargetStatus, error) {
	type answer struct {
		status api.TargetStatus
		err    error
	}
	if q.From.IsZero() || q.From.Unix() < 0 {
		return api.TargetStatus{}, api.BadRequest("from", "want a time since when events are delivered again")
	}
	got := make(chan answer, 1)
	f := func(life context.Context) {
		s, err := c.setBack(ctx, life, q)
		got <- answer{s, err}
	}
	select {
	case c.do <- f:
	case <-ctx.Done():
		return api.TargetStatus{}, ctx.Err()
	}
	a := <-got // f is under way
	return a.status, a.err
}

func (c *Connector) setBack(ctx, life context.Context, q api.TargetReplay) (api.TargetStatus, error) {
	c.mu.Lock()
	r := c.running[q.Name]
	c.mu.Unlock()
	if r == nil {
		return api.TargetStatus{}, api.NotFound("no target %.40s is declared", q.Name)
	}
	c.halt(q.Name)
	err := c.o.Bus.ReplayTarget(ctx, q.Name, r.spec.Events, q.From)
	if err == nil {
		c.log.Info("target set back", "target", q.Name, "from", q.From)
		err = c.launch(life, r.loaded)
	}
	if err != nil {
		// Whatever state that left it in, apply makes it good.
		select {
		case c.changed <- struct{}{}:
		default:
		}
		return api.TargetStatus{}, err
	}
	c.mu.Lock()
	n := c.running[q.Name]
	c.mu.Unlock()
	return n.runner.look(ctx), nil
}
