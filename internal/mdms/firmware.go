package mdms

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/command"
	"github.com/wattbus/wattbus/internal/mdms/firmware"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

const (
	maxUploads = 4                // that come in at once
	uploadIdle = 60 * time.Second // wall time without a part after which one is forgotten
	maxImages  = 1000             // that are kept
	dropLeast  = 10 * time.Minute // that the commands last which clear up behind a roll-out
)

// newFirmware makes the engine of roll-outs.
func (m *MDMS) newFirmware() *firmware.Engine {
	return firmware.New(firmware.Options{Clock: m.o.Clock, Logger: m.o.Logger, NewID: m.newID, RequestID: m.newRequestID, Asleep: m.asleep, ApproveFrom: m.o.Safety.ApproveFrom, Rate: m.o.Firmware.Rate,
		Send: func(d firmware.Down) error {
			err := m.o.Bus.SendDown(bus.Down(d))
			m.countDown("firmware", err)
			return err
		},
		Device: func(n uint32) (*cim.EndDevice, bool) {
			if int(n) >= len(m.devices) {
				return nil, false
			}
			return &m.devices[n].EndDevice, true
		},
		Reach: func(path string) int {
			if path == "" {
				return len(m.devices)
			}
			return len(m.outages.Below(path))
		},
		Image: m.loadImage,
	})
}

// loadImage reads an image from the store.
func (m *MDMS) loadImage(id record.ImageID) (record.Image, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	k, err := m.o.Store.Image(ctx, uint64(id))
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			m.log.Error("firmware image not read", "image", id.String(), "error", err)
		}
		return record.Image{}, false
	}
	img, err := record.DecodeImage(k.Data)
	if err != nil {
		m.log.Error("firmware image in the store cannot be used", "image", id.String(), "error", err)
		return record.Image{}, false
	}
	return img, true
}

// restoreFirmware takes over the roll-outs that have not ended. m.mu is held.
func (m *MDMS) restoreFirmware(ctx context.Context) error {
	newest, err := m.o.Store.RollOuts(ctx, 0, 1, false)
	if err != nil {
		return err
	}
	for _, r := range newest {
		m.lastID = max(m.lastID, r.ID)
	}
	open, err := m.o.Store.RollOuts(ctx, 0, maxPage, true)
	if err != nil {
		return err
	}
	err = m.firmware.Restore(open, func(id uint64, f func(store.RollOutMember) error) error { return m.o.Store.RollOutMembers(ctx, id, f) })
	if err != nil {
		m.log.Warn("roll-outs not restored", "error", err)
	}
	return nil
}

// enterFirmwareState takes what a device tells of an image.
func (m *MDMS) enterFirmwareState(d *device, x *entry) error {
	s, err := record.DecodeFirmwareState(x.Payload)
	if err != nil {
		return err
	}
	m.outages.OnMessage(&d.EndDevice, x.Path, record.TypeFirmwareState, s.Header, x.at)
	m.firmware.OnState(&d.EndDevice, &s)
	return nil
}

// serveFirmware answers the questions about firmware.
func (m *MDMS) serveFirmware(add func(func(), error)) {
	b := m.o.Bus
	add(bus.Serve(b, api.QueryImagePut, m.putImage))
	add(bus.Serve(b, api.QueryImage, m.queryImage))
	add(bus.Serve(b, api.QueryImages, m.queryImages))
	add(bus.Serve(b, api.QueryImageDelete, m.deleteImage))
	add(bus.Serve(b, api.QueryRollOutCreate, m.createRollOut))
	add(bus.Serve(b, api.QueryRollOutDo, m.doRollOut))
	add(bus.Serve(b, api.QueryRollOut, m.queryRollOut))
	add(bus.Serve(b, api.QueryRollOuts, m.queryRollOuts))
	add(bus.Serve(b, api.QueryRollOutMeters, m.queryRollOutMeters))
}

// uploads are the files of images that come in in parts.
type uploads struct {
	mu   sync.Mutex
	open map[string]*upload
}

type upload struct {
	next int
	data []byte
	at   time.Time // of the last part
}

// part takes a part of a file. whole is the file once it is.
func (u *uploads) part(p *api.ImagePart, now time.Time) (whole []byte, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, x := range u.open {
		if now.Sub(x.at) > uploadIdle {
			delete(u.open, id)
		}
	}
	x := u.open[p.Session]
	switch {
	case x == nil && (p.Number != 0 || p.Session == ""):
		return nil, &api.Problem{Title: "Conflict", Status: 409, Detail: "the upload is not under way any more: nothing came for a minute, or the centre was restarted; nothing was kept"}
	case x == nil && len(u.open) >= maxUploads:
		return nil, &api.Problem{Title: "Too many requests", Status: 429, Detail: fmt.Sprintf("%d uploads are under way: try again when one of them has ended", maxUploads)}
	case x == nil:
		x = &upload{}
		if u.open == nil {
			u.open = map[string]*upload{}
		}
		u.open[p.Session] = x
	}
	if p.Number != x.next || len(x.data)+len(p.Data) > record.MaxImage+record.ImageFileHeader {
		delete(u.open, p.Session)
		if p.Number != x.next {
			return nil, &api.Problem{Title: "Conflict", Status: 409, Detail: fmt.Sprintf("part %d of the image came in place of part %d; nothing was kept", p.Number, x.next)}
		}
		return nil, &api.Problem{Title: "Too large", Status: 413, Detail: fmt.Sprintf("an image has at most %d bytes", record.MaxImage)}
	}
	x.data, x.next, x.at = append(x.data, p.Data...), x.next+1, now
	if !p.Last {
		return nil, nil
	}
	delete(u.open, p.Session)
	return x.data, nil
}

// putImage takes a part of the file of a signed image, and with the last one keeps it. One that is there already is answered as it is.
func (m *MDMS) putImage(ctx context.Context, p api.ImagePart) (api.Image, error) {
	whole, err := m.uploads.part(&p, time.Now())
	if err != nil || !p.Last {
		return api.Image{}, err
	}
	img, err := record.DecodeImage(whole)
	if err != nil {
		return api.Image{}, &api.Problem{Title: "Bad request", Status: 400, Field: "body", Detail: err.Error()}
	}
	if old, err := m.queryImage(ctx, api.ByID{ID: img.ID.String()}); err == nil {
		return old, nil
	}
	n := 0
	if err := m.o.Store.Images(ctx, func(store.Image) error { n++; return nil }); err != nil {
		return api.Image{}, err
	}
	if n >= maxImages {
		return api.Image{}, &api.Problem{Title: "Too many images", Status: 429, Detail: fmt.Sprintf("%d images are kept, as many as there may be", n)}
	}
	out := api.Image{ID: img.ID.String(), Version: img.Version.String(), Model: img.Model, Size: img.Size, SHA256: hex.EncodeToString(img.Hash[:]),
		Key: hex.EncodeToString(img.Key), MayGo: img.Flags&record.ManifestBack != 0, Uploaded: unix(m.o.Clock.Unix()), By: p.By}
	doc, err := json.Marshal(out)
	if err != nil {
		return out, err
	}
	return change(ctx, m, func() (api.Image, error) {
		m.pending.Images = append(m.pending.Images, store.Image{ID: uint64(img.ID), Recorded: uint32(out.Uploaded.Unix()), Doc: doc, Data: whole})
		m.note(p.By, "firmware.put", out.ID, "", out)
		return out, nil
	})
}

func decodeImage(k store.Image) (api.Image, error) {
	var out api.Image
	if err := json.Unmarshal(k.Doc, &out); err != nil {
		return out, fmt.Errorf("firmware image %016x in the store: %w", k.ID, err)
	}
	return out, nil
}

func (m *MDMS) queryImage(ctx context.Context, q api.ByID) (api.Image, error) {
	id, err := record.ParseImageID(q.ID)
	if err != nil {
		return api.Image{}, api.BadRequest("id", "%v", err)
	}
	var out api.Image
	found := false
	err = m.o.Store.Images(ctx, func(k store.Image) (err error) {
		if k.ID == uint64(id) {
			found = true
			out, err = decodeImage(k)
		}
		return err
	})
	if err == nil && !found {
		err = api.NotFound("no firmware image %s is kept", q.ID)
	}
	return out, err
}

func (m *MDMS) queryImages(ctx context.Context, _ struct{}) (api.Page[api.Image], error) {
	out := api.Page[api.Image]{Items: []api.Image{}}
	err := m.o.Store.Images(ctx, func(k store.Image) error {
		i, err := decodeImage(k)
		out.Items = append(out.Items, i)
		return err
	})
	return out, err
}

// deleteImage lets go of an image that no roll-out needs any more. What roll-outs that have ended tell of it stays.
func (m *MDMS) deleteImage(ctx context.Context, q api.ImageDelete) (api.Image, error) {
	out, err := m.queryImage(ctx, api.ByID{ID: q.ID})
	if err != nil {
		return out, err
	}
	id, err := record.ParseImageID(q.ID)
	if err != nil {
		return out, err
	}
	return change(ctx, m, func() (api.Image, error) {
		if r := m.firmware.Uses(q.ID); r != "" {
			return out, api.Conflict("roll-out %s of image %s has not ended: wait for its end, or cancel it", r, q.ID)
		}
		if !slices.Contains(m.pending.DropImages, uint64(id)) {
			m.pending.DropImages = append(m.pending.DropImages, uint64(id))
			m.imagesGone++
			m.note(q.By, "firmware.delete", q.ID, "", out)
		}
		return out, nil
	})
}

// createRollOut begins a roll-out. Who it is for is listed, and its image read, outside of the loop, which then takes in some of the meters in each turn.
func (m *MDMS) createRollOut(ctx context.Context, q api.RollOutRequest) (api.RollOut, error) {
	id, err := record.ParseImageID(q.Image)
	if err != nil {
		return api.RollOut{}, api.BadRequest("image", "%v", err)
	}
	m.mu.RLock()
	gone := m.imagesGone
	m.mu.RUnlock()
	img, ok := m.loadImage(id)
	if !ok {
		return api.RollOut{}, &api.Problem{Title: "Not found", Status: 404, Field: "image", Detail: fmt.Sprintf("no image %s is kept: upload it first", id)}
	}
	devices, err := m.rollOutDevices(q.Target)
	if err != nil {
		return api.RollOut{}, err
	}
	l := firmware.NewList(devices, q.First)
	for from := 0; from < l.Len(); from += walkPart {
		m.mu.RLock()
		m.firmware.Look(l, from, walkPart)
		m.mu.RUnlock()
	}
	return change(ctx, m, func() (api.RollOut, error) {
		if m.imagesGone != gone {
			return api.RollOut{}, api.Conflict("an image was deleted meanwhile: try again")
		}
		return m.firmware.Create(q, l, img)
	})
}

// rollOutDevices finds the meters of a target.
func (m *MDMS) rollOutDevices(t api.Target) ([]*cim.EndDevice, error) {
	if devices, err := m.lookUp(t); devices != nil || err != nil {
		return devices, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.commands.Resolve(t)
}

// doRollOut changes a roll-out.
func (m *MDMS) doRollOut(ctx context.Context, a api.RollOutAction) (api.RollOut, error) {
	if _, err := m.queryRollOut(ctx, api.ByID{ID: a.ID}); err != nil {
		return api.RollOut{}, err
	}
	return change(ctx, m, func() (api.RollOut, error) { return m.firmware.Do(a) })
}

// dropImages tells the meters of roll-outs that were cancelled to drop what they have, as long as the offers of the image last.
func (m *MDMS) dropImages(ds []firmware.Drop) {
	for _, d := range ds {
		lasts := min(max(time.Until(d.Expires), dropLeast), command.MaxExpiry)
		if _, err := m.commands.Create(api.CommandRequest{Type: api.CommandFirmwareDrop, Target: api.Target{Meters: d.Meters}, Params: api.Params{Image: d.Image}, ExpiresIn: int(lasts / time.Second), By: d.By}); err != nil {
			m.log.Warn("meters not told to drop an image", "roll_out", d.RollOut, "meters", len(d.Meters), "error", err)
		}
	}
}

func (m *MDMS) queryRollOut(ctx context.Context, q api.ByID) (api.RollOut, error) {
	id, err := firmware.ParseID(q.ID)
	if err != nil {
		return api.RollOut{}, err
	}
	m.mu.RLock()
	r, here := m.firmware.Get(id)
	m.mu.RUnlock()
	if here {
		return r, nil
	}
	k, err := m.o.Store.RollOut(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return r, api.NotFound("no roll-out %s is known", q.ID)
	}
	if err != nil {
		return r, err
	}
	return firmware.Decode(k)
}

func (m *MDMS) queryRollOuts(ctx context.Context, q api.RollOutQuery) (api.Page[api.RollOut], error) {
	out := api.Page[api.RollOut]{Items: []api.RollOut{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	before := uint64(0)
	if q.Cursor != "" {
		if before, err = strconv.ParseUint(q.Cursor, 10, 63); err != nil || before == 0 {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
	}
	ks, err := m.o.Store.RollOuts(ctx, before, limit+1, q.Open)
	if err != nil {
		return out, err
	}
	m.mu.RLock()
	live := m.firmware.All()
	m.mu.RUnlock()
	for i, k := range ks {
		if i == limit {
			out.Next = strconv.FormatUint(ks[limit-1].ID, 10)
			break
		}
		r, here := live[k.ID]
		if !here {
			if r, err = firmware.Decode(k); err != nil {
				return out, err
			}
		}
		if q.Open && r.State != api.RollOutPending && r.State != api.RollOutRunning && r.State != api.RollOutPaused {
			continue // the last of its meters are still being kept
		}
		if n := len(r.Target.Meters); n > 0 {
			r.Target.Meters, r.Target.Listed = nil, n
		}
		out.Items = append(out.Items, r)
	}
	return out, nil
}

// rollOutMembers lists the meters of a roll-out that has not ended, by ordinal, part by part: no commit waits for a million of them.
func (m *MDMS) rollOutMembers(id uint64) (all []store.RollOutMember, here bool) {
	for from := 0; from == len(all); from += walkPart {
		m.mu.RLock()
		all, here = m.firmware.Members(all, id, from, walkPart)
		m.mu.RUnlock()
		if !here { // it has just ended
			return nil, false
		}
	}
	slices.SortFunc(all, func(a, b store.RollOutMember) int { return cmp.Compare(a.Device, b.Device) })
	return all, true
}

func (m *MDMS) queryRollOutMeters(ctx context.Context, q api.RollOutMeterQuery) (api.Page[api.RollOutMeter], error) {
	out := api.Page[api.RollOutMeter]{Items: []api.RollOutMeter{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	id, err := firmware.ParseID(q.ID)
	if err != nil {
		return out, err
	}
	want, some := firmware.StateOf(q.State)
	if q.State != "" && !some {
		return out, api.BadRequest("state", "%.40q, want waiting, offered, receiving, verified, activated, refused, failed, cancelled or expired", q.State)
	}
	after := int64(-1)
	if q.Cursor != "" {
		n, err := strconv.ParseUint(q.Cursor, 10, 32)
		if err != nil {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
		after = int64(n)
	}
	if _, err := m.queryRollOut(ctx, api.ByID{ID: q.ID}); err != nil {
		return out, err
	}
	all, here := m.rollOutMembers(id)
	if !here {
		if err := m.o.Store.RollOutMembers(ctx, id, func(k store.RollOutMember) error { all = append(all, k); return nil }); err != nil {
			return out, err
		}
	}
	all = slices.DeleteFunc(all, func(k store.RollOutMember) bool { return int64(k.Device) <= after || some && k.State != want })
	m.mu.RLock()
	defer m.mu.RUnlock()
	last := uint32(0)
	for _, k := range all {
		if int(k.Device) >= len(m.devices) {
			continue
		}
		if len(out.Items) == limit {
			out.Next = strconv.FormatUint(uint64(last), 10)
			break
		}
		d := &m.devices[k.Device].EndDevice
		last = k.Device
		out.Items = append(out.Items, api.RollOutMeter{Meter: d.ID, Path: d.Path, State: firmware.StateName(k.State), Reason: record.ImageReason(k.Reason).String(), Changed: unix(k.Changed)})
	}
	return out, nil
}
