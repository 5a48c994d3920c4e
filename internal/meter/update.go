package meter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/wattbus/wattbus/internal/record"
)

// ErrRestart ends an agent whose new firmware is to be started.
var ErrRestart = errors.New("new firmware was activated: start it")

// farewell bounds how long a meter waits before its restart until the concentrator has what was sent.
const farewell = 5 * time.Second

// doImage lets the memory of images do what is asked.
func (a *Agent) doImage(ctx context.Context, t *imageTask) (effects, error) {
	slot := a.o.Update.Slot
	if t.offer != nil {
		err := a.withHardware(ctx, "making room for an image", func(ctx context.Context) error { return slot.Begin(ctx, int64(t.manifest.Size)) })
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.gasp != nil { // the offer comes again
			return effects{}, nil
		}
		fx := a.core.began(t, err)
		if err == nil {
			a.o.Logger.Info("image offered", "meter", a.o.ID, "image", a.core.images.id.String(), "version", t.manifest.Version.String(), "size", t.manifest.Size,
				"blocks", a.core.images.blocks)
		}
		return fx, a.save()
	}
	err := a.withHardware(ctx, "writing a block of an image", func(context.Context) error {
		if _, err := slot.WriteAt(t.block.Data, t.off); err != nil {
			return err
		}
		if t.sync {
			return slot.Sync()
		}
		return nil
	})
	a.mu.Lock()
	if a.gasp != nil {
		a.mu.Unlock()
		return effects{}, nil
	}
	fx, whole := a.core.wrote(t, err)
	m, saved := a.core.images.manifest, a.save()
	a.mu.Unlock()
	if !whole || saved != nil {
		return fx, saved
	}
	sum, err := a.sum(ctx, m)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gasp != nil { // looked at again when the power is back
		return effects{}, nil
	}
	fx = a.core.verified(sum, err)
	a.o.Logger.Info("image received", "meter", a.o.ID, "image", a.core.images.id.String(), "version", m.Version.String(), "state", a.core.st.Image.State.String(),
		"reason", a.core.st.Image.Reason.String())
	return fx, a.save()
}

func (a *Agent) sum(ctx context.Context, m record.Manifest) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	err = a.withHardware(ctx, "verifying an image", func(ctx context.Context) error { return hashSlot(ctx, h, a.o.Update.Slot, int64(m.Size)) })
	return [sha256.Size]byte(h.Sum(nil)), err
}

func hashSlot(ctx context.Context, h io.Writer, slot Slot, size int64) error {
	buf := make([]byte, 32<<10)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := slot.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if n == 0 && err != nil {
			return fmt.Errorf("at %d: %w", off, err)
		}
		_, _ = h.Write(buf[:n]) // never fails
		off += int64(n)
	}
	return nil
}

// reverify verifies an image that was whole when the power went, before that was known.
func (a *Agent) reverify(ctx context.Context) {
	a.mu.Lock()
	img := a.core.st.Image
	waits := img != nil && a.o.Update != nil && img.State == record.ImageReceiving && a.core.images.left == 0
	m := a.core.images.manifest
	a.mu.Unlock()
	if !waits {
		return
	}
	sum, err := a.sum(ctx, m)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gasp == nil {
		a.core.verified(sum, err)
		a.core.images.news = true
		_ = a.save() // the loop sees the error
	}
}

// activate activates an image whose time has come, once all that waits is on its way. restart is true if the agent is to connect anew
// with the new firmware.
func (a *Agent) activate(ctx context.Context, link Link) (restart bool, err error) {
	a.mu.Lock()
	now := a.o.Clock.Unix()
	if m, over := a.core.imageOver(now); over {
		a.o.Logger.Info("image given up: its offer has expired", "meter", a.o.ID, "image", a.core.images.id.String())
		a.push(m)
		a.nudge()
		if err := a.save(); err != nil {
			a.mu.Unlock()
			return false, err
		}
	}
	at, waits := a.core.activation()
	if !waits || int64(now) < at || a.gasp != nil || a.moved || a.connected && len(a.jobs)+len(a.out) > 0 {
		a.mu.Unlock()
		return false, nil
	}
	m, connected := a.core.images.manifest, a.connected
	news := a.core.activating(now)
	err = a.save()
	a.mu.Unlock()
	if err != nil {
		return false, err
	}
	a.o.Logger.Info("firmware is activated", "meter", a.o.ID, "version", m.Version.String())
	if connected {
		for _, n := range news {
			a.send(link, n)
		}
		fctx, cancel := context.WithTimeout(ctx, farewell)
		_ = link.Flush(fctx) // the registration tells, too
		cancel()
	}
	f := a.o.Update.Activate
	if f != nil {
		err = a.withHardware(ctx, "activating an image", func(ctx context.Context) error { return f(ctx, m) })
		if err == nil {
			return false, ErrRestart
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.core.activated(err)
	if err != nil {
		a.push(a.core.imageState())
	}
	return err == nil && a.gasp == nil, a.save()
}

// setAlarm sets the alarm for a business time, or for that of an activation if it comes first; mu is held.
func (a *Agent) setAlarm(at time.Time) {
	if s, ok := a.core.activation(); ok && s > int64(a.o.Clock.Unix()) {
		if t := time.Unix(s, 0); t.Before(at) {
			at = t
		}
	}
	a.o.Scheduler.set(a.alarm, at)
}
