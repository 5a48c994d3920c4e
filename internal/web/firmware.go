package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
)

// imagePath takes the file of a signed image.
const imagePath = "/v1/firmware"

// maxImageFile is the longest such file, bytes.
const maxImageFile = record.MaxImage + record.ImageFileHeader

// ImageIn is the part of a path that names an image.
type ImageIn struct {
	ID string `path:"id" pattern:"^[0-9a-f]{16}$" patternDescription:"16 hexadecimal digits" doc:"The image's id."`
}

// RollOutIn is the part of a path that names a roll-out.
type RollOutIn struct {
	ID string `path:"id" pattern:"^[0-9]{1,20}$" patternDescription:"a decimal number" doc:"The roll-out's id."`
}

type rollOutsIn struct {
	PageIn
	Open bool `query:"open" doc:"Only roll-outs that have not ended."`
}

type rollOutMetersIn struct {
	RollOutIn
	PageIn
	State string `query:"state" enum:"waiting,offered,receiving,verified,activated,refused,failed,cancelled,expired" doc:"Only meters in this state."`
}

type createRollOutIn struct{ Body api.RollOutRequest }

type decideRollOutIn struct {
	RollOutIn
	Body *DecisionBody
}

type rollOutOut struct {
	Location string `header:"Location"`
	Body     api.RollOut
}

// firmwareCalls registers the calls about firmware.
func (s *Server) firmwareCalls(h huma.API) {
	s.uploadCall(h)
	huma.Register(h, withProblem(h, operation("list-firmware", http.MethodGet, imagePath, "firmware", "List firmware images", "Newest first.")),
		func(ctx context.Context, in *struct{ PageIn }) (*out[api.Page[api.Image]], error) {
			return slicePage(ctx, s, api.QueryImages, struct{}{}, in.PageIn, func(_ int, i api.Image) string { return i.ID })
		})
	huma.Register(h, withProblem(h, operation("get-firmware", http.MethodGet, imagePath+"/{id}", "firmware", "Get a firmware image", "What it is, not its bytes.")),
		func(ctx context.Context, in *ImageIn) (*out[api.Image], error) {
			return one[api.ByID, api.Image](ctx, s, s.opt.AskTimeout, api.QueryImage, api.ByID{ID: in.ID})
		})
	huma.Register(h, withProblem(h, operation("delete-firmware", http.MethodDelete, imagePath+"/{id}", "firmware", "Delete a firmware image",
		"It is kept no longer, and can be uploaded again. Refused while a roll-out of it has not ended; those that have stay known.")),
		func(ctx context.Context, in *ImageIn) (*out[api.Image], error) {
			return one[api.ImageDelete, api.Image](ctx, s, s.opt.AskTimeout, api.QueryImageDelete, api.ImageDelete{ID: in.ID, By: principal(ctx).Name})
		})
	create := operation("create-roll-out", http.MethodPost, "/v1/roll-outs", "firmware", "Roll an image out",
		"To one meter, a list, all below a path, a group, or those that a query finds now. From as many meters on as `center --approve-from` says it waits until another person has approved it.")
	create.DefaultStatus = http.StatusCreated
	huma.Register(h, withProblem(h, create), func(ctx context.Context, in *createRollOutIn) (*rollOutOut, error) {
		c := api.CommandRequest{Target: in.Body.Target}
		if err := checkCommand(&c); err != nil {
			return nil, s.asError(err)
		}
		in.Body.By = principal(ctx).Name
		r, err := askWithin[api.RollOutRequest, api.RollOut](ctx, s, s.opt.LongAskTimeout, api.QueryRollOutCreate, in.Body)
		if err != nil {
			return nil, s.asError(err)
		}
		return &rollOutOut{Location: "/v1/roll-outs/" + url.PathEscape(r.ID), Body: r}, nil
	})
	huma.Register(h, withProblem(h, operation("list-roll-outs", http.MethodGet, "/v1/roll-outs", "firmware", "List roll-outs", "Newest first, with their progress.")),
		func(ctx context.Context, in *rollOutsIn) (*out[api.Page[api.RollOut]], error) {
			return page[api.RollOutQuery, api.RollOut](ctx, s, s.opt.AskTimeout, api.QueryRollOuts, api.RollOutQuery{Paging: in.paging(), Open: in.Open})
		})
	huma.Register(h, withProblem(h, operation("get-roll-out", http.MethodGet, "/v1/roll-outs/{id}", "firmware", "Get a roll-out", "Its state, its history, and how far its meters are.")),
		func(ctx context.Context, in *RollOutIn) (*out[api.RollOut], error) {
			return one[api.ByID, api.RollOut](ctx, s, s.opt.AskTimeout, api.QueryRollOut, api.ByID{ID: in.ID})
		})
	huma.Register(h, withProblem(h, operation("list-roll-out-meters", http.MethodGet, "/v1/roll-outs/{id}/meters", "firmware", "List the meters of a roll-out", "Each with its state and, where it refused the image or failed, the reason.")),
		func(ctx context.Context, in *rollOutMetersIn) (*out[api.Page[api.RollOutMeter]], error) {
			return page[api.RollOutMeterQuery, api.RollOutMeter](ctx, s, s.opt.LongAskTimeout, api.QueryRollOutMeters, api.RollOutMeterQuery{Paging: in.paging(), ID: in.ID, State: in.State})
		})
	for _, a := range []struct{ action, title, what string }{
		{"pause", "Pause a roll-out", "Nothing is sent any more. Meters that have the whole image activate it at their time all the same."},
		{"resume", "Resume a roll-out", "Also one that paused by itself, because too many of the first meters failed."},
		{"cancel", "Cancel a roll-out", "Meters that do not run the image yet are told to drop it."},
		{"approve", "Approve a roll-out", "Of a roll-out in the state `pending-approval`; another person than the one who asked for it. Its `expiresIn` begins now."},
		{"reject", "Reject a roll-out", "Of a roll-out in the state `pending-approval`. It is cancelled."},
	} {
		huma.Register(h, withProblem(h, operation(a.action+"-roll-out", http.MethodPost, "/v1/roll-outs/{id}/"+a.action, "firmware", a.title, a.what)),
			func(ctx context.Context, in *decideRollOutIn) (*out[api.RollOut], error) {
				if _, p := person(ctx); p != nil && a.action == "approve" {
					return nil, s.asError(p)
				}
				q := api.RollOutAction{ID: in.ID, Action: a.action, By: principal(ctx).Name}
				if in.Body != nil {
					q.Comment = in.Body.Comment
				}
				return one[api.RollOutAction, api.RollOut](ctx, s, s.opt.AskTimeout, api.QueryRollOutDo, q)
			})
	}
}

// uploadCall registers the call that takes an image.
func (s *Server) uploadCall(h huma.API) {
	op := withProblem(h, operation("upload-firmware", http.MethodPost, imagePath, "firmware", "Upload a firmware image",
		"The file of a signed image, as `wattbus firmware sign` makes it (docs/contract.md, section 9), of 16 MiB at most. One that is there already stays as it is."))
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
	op.Responses["201"] = &huma.Response{Description: "It is kept", Headers: map[string]*huma.Param{"Location": {Schema: &huma.Schema{Type: huma.TypeString}}}, Content: map[string]*huma.MediaType{
		"application/json": {Schema: h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Image](), true, "Image")}}}
	huma.Register(h, op, func(_ context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			img, err := s.takeImage(r, w)
			if err != nil {
				var p statusProblem
				if !errors.As(s.asError(err), &p) {
					p.Problem = problem(http.StatusInternalServerError, "the upload failed")
				}
				writeProblem(w, p.Problem)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", imagePath+"/"+img.ID)
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(img) // a client that is gone reads nothing
		}}, nil
	})
}

// takeImage hands a file on piece by piece, each when the one before it was taken.
func (s *Server) takeImage(r *http.Request, w http.ResponseWriter) (api.Image, error) {
	p := api.ImagePart{Session: rand.Text(), By: principal(r.Context()).Name}
	piece := make([]byte, importPiece)
	for ; ; p.Number++ {
		extend(w, s.opt.LongAskTimeout+30*time.Second)
		n, err := readPiece(r.Body, piece)
		// Only this error is the end: a body that was cut ends with io.ErrUnexpectedEOF.
		p.Data, p.Last = piece[:n], err == io.EOF //nolint:errorlint // one that wraps it is no end
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			return api.Image{}, problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the file is longer than %d bytes", maxImageFile))
		}
		if err != nil && !p.Last {
			return api.Image{}, problem(http.StatusBadRequest, fmt.Sprintf("the file did not come to its end, nothing was kept: %v", err))
		}
		got, err := askWithin[api.ImagePart, api.Image](r.Context(), s, s.opt.LongAskTimeout, api.QueryImagePut, p)
		if err != nil && !p.Last {
			_, _ = io.CopyN(io.Discard, r.Body, 64<<20) // so that the client reads the answer rather than to fail in writing
		}
		if err != nil || p.Last {
			return got, err
		}
	}
}
