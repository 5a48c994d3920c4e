package mdms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/mdms/registry"
)

const (
	maxImports = 4                // that are read at once
	importIdle = 60 * time.Second // wall time without a part after which an import is forgotten
)

// imports are the CSV files that come in in parts. Each is read by a goroutine of its own, which ends with its file, with its
// client, or with stop.
type imports struct {
	m    *MDMS
	mu   sync.Mutex
	open map[string]*incoming
	shut bool
	wg   sync.WaitGroup
}

// incoming is a file on its way in.
type incoming struct {
	next   int // number of the part that comes next
	pipe   *io.PipeWriter
	im     *registry.Import
	read   chan error // what reading it came to, once
	idle   *time.Timer
	cancel context.CancelFunc
	busy   sync.Mutex // one part at a time
}

var (
	errIdle    = errors.New("nothing came for a minute")
	errStopped = errors.New("the centre stops")
)

// part takes a part of a file, and with its last one does what the file says.
func (x *imports) part(ctx context.Context, p api.RegistryPart) (api.RegistryImport, error) {
	in, err := x.find(p)
	if err != nil {
		return api.RegistryImport{}, err
	}
	in.busy.Lock()
	defer in.busy.Unlock()
	if p.Abort {
		x.drop(p.Session, in, context.Canceled)
		return api.RegistryImport{}, nil
	}
	if p.Number != in.next {
		x.drop(p.Session, in, errors.New("a part is missing"))
		return api.RegistryImport{}, &api.Problem{Title: "Conflict", Status: 409, Detail: fmt.Sprintf("part %d of the file came in place of part %d; nothing was changed", p.Number, in.next)}
	}
	in.next++
	in.idle.Reset(importIdle)
	// A reader that has given up, because of the header or an unclosed quote, ends the writing.
	_, werr := in.pipe.Write(p.Data)
	if werr == nil && !p.Last {
		return api.RegistryImport{}, nil
	}
	_ = in.pipe.Close() // of a pipe, never fails
	err = <-in.read
	x.drop(p.Session, in, context.Canceled)
	if err != nil {
		return api.RegistryImport{}, &api.Problem{Title: "Bad request", Status: 400, Field: "body", Detail: err.Error() + "; nothing was changed"}
	}
	return x.finish(ctx, p, in.im)
}

func (x *imports) finish(ctx context.Context, p api.RegistryPart, im *registry.Import) (api.RegistryImport, error) {
	s := im.Summary()
	out := api.RegistryImport{Lines: s.Lines, UsagePoints: api.ImportTally(s.UsagePoints), Meters: api.ImportTally(s.Meters),
		Installations: api.ImportTally(s.Installations), DryRun: p.DryRun}
	if s.Wrong > 0 {
		return out, refusal(im.Problems(), s)
	}
	if p.DryRun || s.Changes() == 0 {
		return out, nil
	}
	if err := x.m.apply(ctx, p.By, "registry.import", "", func(registry.Options) (*registry.Import, error) { return im, nil }); err != nil {
		return out, err
	}
	out.Applied = true
	return out, nil
}

// find returns the file that a part belongs to, begun with its first part.
func (x *imports) find(p api.RegistryPart) (*incoming, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	in := x.open[p.Session]
	switch {
	case x.shut:
		return nil, &api.Problem{Title: "Unavailable", Status: 503, Detail: errStopped.Error()}
	case in != nil:
		return in, nil
	case p.Number != 0 || p.Session == "" || p.Abort:
		return nil, &api.Problem{Title: "Conflict", Status: 409, Detail: "the import is not under way any more: " + errIdle.Error() + ", or the centre was restarted; nothing was changed"}
	case len(x.open) >= maxImports:
		return nil, &api.Problem{Title: "Too many requests", Status: 429, Detail: fmt.Sprintf("%d imports are under way: try again when one of them has ended", maxImports)}
	}
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	in = &incoming{pipe: w, read: make(chan error, 1), cancel: cancel}
	in.im = registry.NewImport(x.m.registry, registry.Options{Now: x.m.o.Clock.Unix(), Last: func(id string, at uint32) registry.Reading {
		return x.m.lastReading(ctx, id, at, x.m.mu.RLocker())
	}})
	in.idle = time.AfterFunc(importIdle, func() { x.drop(p.Session, in, errIdle) })
	x.open[p.Session] = in
	x.wg.Go(func() {
		err := in.im.Read(ctx, r)
		_ = r.CloseWithError(io.ErrClosedPipe) // never fails
		in.read <- err
	})
	return in, nil
}

// drop forgets a file; whoever reads or writes it ends.
func (x *imports) drop(session string, in *incoming, why error) {
	x.mu.Lock()
	if x.open[session] == in {
		delete(x.open, session)
	}
	x.mu.Unlock()
	in.idle.Stop()
	in.cancel()
	_ = in.pipe.CloseWithError(why) // never fails
}

// stop ends all imports and waits for their readers.
func (x *imports) stop() {
	x.mu.Lock()
	x.shut = true
	all := make(map[string]*incoming, len(x.open))
	for id, in := range x.open {
		all[id] = in
	}
	x.mu.Unlock()
	for id, in := range all {
		x.drop(id, in, errStopped)
	}
	x.wg.Wait()
}
