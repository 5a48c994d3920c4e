package mdms

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/wattbus/wattbus/internal/store"
)

// slotPage is what a commit brought of a day, as store.PackSlots packed it.
type slotPage struct {
	head  *store.SlotHead
	spans [][]byte
	take  []bool // of which devices it is the newest that is wanted
	out   []devicePart
}

// fewNamed is up to how many blocks that are only named are read one by one.
const fewNamed = 1000

// readSlots is readSealed for a part of a day whose blocks are kept turned round, too; done says so. One goroutine reads and finds out what
// is the newest of each device, the others unpack.
func (m *MDMS) readSlots(ctx context.Context, x *slice, of []sealedSpan, verdicts map[uint32]*store.Verdict) (out []devicePart, done bool, err error) {
	if x.whole() { // all of it would be read
		return nil, false, nil
	}
	parts := min(max(runtime.GOMAXPROCS(0), 1), maxWalkers)
	pages := make(chan slotPage, parts)
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			b := store.Block{Day: x.day, Channel: x.channel}
			for p := range pages {
				if errs[i] != nil {
					continue
				}
				out := p.out
				errs[i] = p.head.Blocks(x.within(), p.spans, &b, p.take, func(b *store.Block) error {
					k := &of[b.Device]
					p, err := x.ofBlock(b, k.begin, k.end, verdicts[b.Device])
					out = append(out, devicePart{b.Device, p.pack()})
					return err
				})
			}
		})
	}
	found, _ := m.partLists.Get().(*[]devicePart)
	if found == nil || cap(*found) < len(of) {
		found = new(make([]devicePart, len(of)))
	}
	defer func() {
		if !done {
			m.partLists.Put(found)
		}
	}()
	taken, n, turned := make([]bool, len(of)), 0, false
	var singly []uint32
	all, err := m.o.Store.DaySlots(ctx, x.day, x.channel, x.within(), func(head []byte, spans [][]byte) error {
		h, err := store.UnpackSlotHead(head)
		if err != nil {
			return err
		}
		for _, device := range h.Named {
			if int(device) < len(of) && of[device].s != nil && !taken[device] {
				taken[device] = true
				singly = append(singly, device)
			}
		}
		if turned = turned || h.Turned(); h.Named != nil {
			return nil
		}
		p := slotPage{h, spans, make([]bool, h.Devices), (*found)[n:n:len(of)]}
		h.Each(func(i int, device uint32) {
			if int(device) < len(of) && of[device].s != nil && !taken[device] {
				p.take[i], taken[device] = true, true
				n++
			}
		})
		pages <- p
		return nil
	})
	close(pages)
	wg.Wait()
	if err = errors.Join(append(errs, err)...); err != nil || !all || !turned || len(singly) > fewNamed {
		return nil, false, err
	}
	out = (*found)[:n]
	for _, device := range singly {
		q := store.BlockQuery{Device: device, Channel: x.channel, From: x.day, To: x.day + 1}
		if err := m.o.Store.Blocks(ctx, q, func(b *store.Block) error {
			k := &of[device]
			p, err := x.ofBlock(b, k.begin, k.end, verdicts[device])
			out = append(out, devicePart{device, p.pack()})
			return err
		}); err != nil {
			return nil, false, err
		}
	}
	for device := range verdicts {
		if int(device) < len(of) && taken[device] {
			of[device].s = nil
		}
	}
	out, err = estimatedDays(x, of, verdicts, out)
	return out, err == nil, err
}
