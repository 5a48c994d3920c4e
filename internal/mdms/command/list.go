package command

import (
	"context"
	"errors"
	"slices"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/store"
)

// The length of a page: what is given when nothing is asked for, and at most.
const (
	defaultPage = 100
	maxPage     = 1000
)

func pageLimit(n int) int {
	if n <= 0 {
		return defaultPage
	}
	return min(n, maxPage)
}

func (e *Engine) orderAdd(id uint64) {
	if n := len(e.order); n == 0 || e.order[n-1] < id {
		e.order = append(e.order, id)
		return
	}
	i, _ := slices.BinarySearch(e.order, id)
	e.order = slices.Insert(e.order, i, id)
}

func (e *Engine) orderRemove(id uint64) {
	if i, ok := slices.BinarySearch(e.order, id); ok {
		e.order = slices.Delete(e.order, i, i+1)
	}
}

// Get returns a command, from RAM or through the reader. The error is an *api.Problem with status 404, or the reader's.
func (e *Engine) Get(id uint64) (api.Command, error) {
	if c, ok := e.commands[id]; ok {
		return e.view(c), nil
	}
	if e.o.Reader != nil {
		k, err := e.o.Reader.Command(context.Background(), id)
		if err == nil {
			return Decode(k)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return api.Command{}, err
		}
	}
	return api.Command{}, api.NotFound("no command %d is known", id)
}

// List returns commands, newest first, without the readings of profiles; see Get for those. The cursor is the last id of the
// page before.
func (e *Engine) List(q api.CommandQuery) (api.Page[api.Command], error) {
	out := api.Page[api.Command]{Items: []api.Command{}}
	limit := pageLimit(q.Limit)
	want := store.CommandQuery{Limit: limit + 1, Open: q.Open, Asked: q.Origin == api.OriginAsked, Own: q.Origin == api.OriginCentre, Meter: q.Meter}
	if q.Cursor != "" {
		var err error
		if want.Before, err = ParseID(q.Cursor); err != nil {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
	}
	var old []store.Command // newest first; what is open is always in RAM
	if e.o.Reader != nil && !q.Open {
		var err error
		if old, err = e.o.Reader.Commands(context.Background(), want); err != nil {
			return out, err
		}
	}
	i := len(e.order)
	if want.Before != 0 {
		i, _ = slices.BinarySearch(e.order, want.Before)
	}
	for i > 0 || len(old) > 0 {
		var doc api.Command
		if len(old) > 0 && (i == 0 || old[0].ID > e.order[i-1]) {
			var err error
			if doc, err = Decode(old[0]); err != nil {
				return out, err
			}
			old = old[1:]
		} else {
			i--
			id := e.order[i]
			if len(old) > 0 && old[0].ID == id {
				old = old[1:] // RAM is ahead of the store
			}
			c := e.commands[id]
			if k := c.row(); !want.Selects(&k) {
				continue
			}
			doc = e.view(c)
		}
		if len(out.Items) == limit {
			out.Next = out.Items[limit-1].ID
			break
		}
		if doc.Result != nil && doc.Result.Readings != nil {
			r := *doc.Result
			r.Readings = nil
			doc.Result = &r
		}
		doc.Target = short(doc.Target)
		out.Items = append(out.Items, doc)
	}
	return out, nil
}
