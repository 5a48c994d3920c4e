package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/snlink"
)

// radio is a simulated network between the meters of a fleet and their concentrators, with a forwarder at its other end:
//
//	meters ══medium══> forwarder ──UDP, wrapped──> concentrator --sn-forwarders
type radio struct {
	o    snlink.MediumOptions
	cell map[string]*radioCell // by the concentrator's URL
	next atomic.Uint64         // of the nodes
}

type radioCell struct {
	medium    *snlink.Medium
	forwarder *snlink.Forwarder
}

// radioGateway is the forwarder's address on the medium.
const radioGateway = "forwarder"

const radioKeys = "bitrate (bit/s), mtu (octets), delay, jitter (such as 200ms), loss, duplicate, reorder (0 to 1), seed"

// parseRadio reads key=value pairs.
func parseRadio(pairs []string) (o snlink.MediumOptions, err error) {
	o.Queue = 1000
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		switch key {
		case "bitrate":
			o.BitRate, err = strconv.Atoi(value)
		case "mtu":
			o.MTU, err = strconv.Atoi(value)
		case "delay":
			o.Delay, err = time.ParseDuration(value)
		case "jitter":
			o.Jitter, err = time.ParseDuration(value)
		case "loss":
			o.Loss, err = strconv.ParseFloat(value, 64)
		case "duplicate":
			o.Duplicate, err = strconv.ParseFloat(value, 64)
		case "reorder":
			o.Reorder, err = strconv.ParseFloat(value, 64)
		case "seed":
			o.Seed, err = strconv.ParseUint(value, 10, 64)
		default:
			return o, fmt.Errorf("%q, want key=value with the keys %s", p, radioKeys)
		}
		if err != nil {
			return o, fmt.Errorf("%q: no value for %s", p, key)
		}
	}
	if o.MTU != 0 && o.MTU < snlink.MinFragmentMTU {
		return o, fmt.Errorf("mtu=%d, want %d or more", o.MTU, snlink.MinFragmentMTU)
	}
	return o, nil
}

// newRadio makes a cell for each concentrator; run serves them.
func newRadio(ctx context.Context, o snlink.MediumOptions, urls []string) (r *radio, err error) {
	r = &radio{o: o, cell: make(map[string]*radioCell)}
	var open []snlink.Conn
	defer func() {
		if err != nil {
			for _, c := range open {
				err = errors.Join(err, ignoreClosed(c.Close()))
			}
		}
	}()
	for i, u := range urls {
		if !strings.HasPrefix(u, "mqttsn://") {
			return nil, usagef("flag --radio: a forwarder reaches concentrators at mqttsn://, not at %s", u)
		}
		if r.cell[u] != nil {
			continue
		}
		o.Seed = r.o.Seed + uint64(i)
		medium, err := snlink.NewMedium(o)
		if err != nil {
			return nil, usagef("flag --radio: %w", err)
		}
		r.cell[u] = &radioCell{medium: medium}
		nodes, err := r.attach(u, radioGateway)
		if err != nil {
			return nil, err
		}
		open = append(open, nodes)
		up, err := snlink.Dial(ctx, u, snlink.DialOptions{})
		if err != nil {
			return nil, err
		}
		open = append(open, up.Conn)
		r.cell[u].forwarder, err = snlink.NewForwarder(snlink.ForwarderOptions{Nodes: nodes, Gateway: up.Conn, Address: up.Gateway,
			Node: func(id string) net.Addr { return snlink.MediumAddr(id) }})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// attach puts a node on the medium of a concentrator.
func (r *radio) attach(url, name string) (snlink.Conn, error) {
	node, err := r.cell[url].medium.Attach(name)
	if err != nil || r.o.MTU == 0 {
		return node, err
	}
	return snlink.NewFragmented(node, r.o.MTU)
}

// dial is meter.SN.Dial: a meter that dials anew is another node.
func (r *radio) dial(_ context.Context, url string) (snlink.Link, error) {
	if r.cell[url] == nil {
		return snlink.Link{}, fmt.Errorf("no radio to %s", url)
	}
	conn, err := r.attach(url, fmt.Sprintf("n%d", r.next.Add(1)))
	return snlink.Link{Conn: conn, Gateway: snlink.MediumAddr(radioGateway)}, err
}

// run forwards until ctx ends or a forwarder fails.
func (r *radio) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, c := range r.cell {
		wg.Go(func() {
			err := c.forwarder.Run(ctx)
			cancel()
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// attrs are the numbers of the radio as a line of the log shows them.
func (r *radio) attrs() []any {
	var s snlink.MediumStats
	for _, c := range r.cell {
		n := c.medium.Stats()
		s.Frames, s.Octets, s.Lost, s.Duplicated, s.Dropped = s.Frames+n.Frames, s.Octets+n.Octets, s.Lost+n.Lost, s.Duplicated+n.Duplicated, s.Dropped+n.Dropped
	}
	return []any{"frames", s.Frames, "octets", s.Octets, "frames_lost", s.Lost, "frames_doubled", s.Duplicated, "frames_dropped", s.Dropped}
}
