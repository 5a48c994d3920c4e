package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

const testImage = "0123456789abcdef"

// answerFirmware answers what is asked about firmware.
func answerFirmware(c *centre) {
	img := api.Image{ID: testImage, Version: "1.3.0", Model: "ACE-1", Size: 1000, SHA256: strings.Repeat("ab", 32), Key: strings.Repeat("cd", 32), Uploaded: noon}
	r := api.RollOut{ID: "100", Image: testImage, Version: "1.3.0", Model: "ACE-1", Target: api.Target{Path: "C1"}, State: api.RollOutRunning, Created: noon, Expires: noon, BlockSize: 512,
		Rate: 8192, History: []api.Transition{{State: api.RollOutRunning, Time: noon}}, Progress: api.RollOutProgress{Total: 2, States: map[string]int{api.UpdateWaiting: 2}}}
	var mu sync.Mutex
	var got bytes.Buffer
	answer(c, api.QueryImagePut, func(p api.ImagePart) (api.Image, error) {
		mu.Lock()
		defer mu.Unlock()
		if p.Number == 0 {
			got.Reset()
		}
		got.Write(p.Data)
		if bytes.HasPrefix(p.Data, []byte("bad")) {
			return api.Image{}, api.BadRequest("body", "not a signed image")
		}
		done := img
		done.Size, done.By = uint32(got.Len()), p.By
		return done, nil
	})
	answer(c, api.QueryImages, func(struct{}) (api.Page[api.Image], error) { return api.Page[api.Image]{Items: []api.Image{img}}, nil })
	answer(c, api.QueryImage, func(api.ByID) (api.Image, error) { return img, nil })
	answer(c, api.QueryImageDelete, func(q api.ImageDelete) (api.Image, error) {
		if q.ID != testImage {
			return api.Image{}, api.Conflict("roll-out 100 of image %s has not ended", q.ID)
		}
		return img, nil
	})
	answer(c, api.QueryRollOutCreate, func(q api.RollOutRequest) (api.RollOut, error) {
		made := r
		made.By = q.By
		return made, nil
	})
	answer(c, api.QueryRollOutDo, func(a api.RollOutAction) (api.RollOut, error) {
		now := r
		now.History = append(now.History, api.Transition{State: a.Action, Detail: a.By + ": " + a.Comment, Time: noon})
		return now, nil
	})
	answer(c, api.QueryRollOut, func(api.ByID) (api.RollOut, error) { return r, nil })
	answer(c, api.QueryRollOuts, func(q api.RollOutQuery) (api.Page[api.RollOut], error) { return paged([]api.RollOut{r}, q.Paging) })
	answer(c, api.QueryRollOutMeters, func(q api.RollOutMeterQuery) (api.Page[api.RollOutMeter], error) {
		return paged([]api.RollOutMeter{{Meter: "M1", Path: "C1", State: api.UpdateFailed, Reason: "hash", Changed: noon}}, q.Paging)
	})
}

// TestFirmwareUpload: a file is handed on in pieces, up to a bound; what is wrong with it is told.
func TestFirmwareUpload(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	for _, tc := range []struct {
		body   string
		status int
		want   string
	}{
		{strings.Repeat("x", 2*importPiece+5), http.StatusCreated, `"size":524293`},
		{"", http.StatusCreated, `"size":0`}, // that it is no image is the MDMS's to say
		{"bad" + strings.Repeat("x", importPiece), http.StatusBadRequest, "not a signed image"},
		{strings.Repeat("x", maxImageFile+1), http.StatusRequestEntityTooLarge, "longer than"},
	} {
		resp, text := s.do(http.MethodPost, imagePath, tc.body)
		if resp.StatusCode != tc.status || !strings.Contains(string(text), tc.want) {
			t.Errorf("%d bytes: status %d, %.200s", len(tc.body), resp.StatusCode, text)
		}
	}
	resp, text := s.do(http.MethodPost, "/v1/roll-outs/100/pause", `{"comment":"why"}`)
	var r api.RollOut
	if err := json.Unmarshal([]byte(text), &r); err != nil || resp.StatusCode != http.StatusOK || len(r.History) != 2 || !strings.HasSuffix(r.History[1].Detail, ": why") {
		t.Errorf("status %d, %s, %v", resp.StatusCode, text, err)
	}
	for id, want := range map[string]int{testImage: http.StatusOK, "00000000000000ff": http.StatusConflict} {
		if resp, text := s.do(http.MethodDelete, imagePath+"/"+id, ""); resp.StatusCode != want {
			t.Errorf("delete %s: status %d, %s", id, resp.StatusCode, text)
		}
	}
	for _, tc := range []struct{ method, path, body string }{
		{http.MethodPost, "/v1/roll-outs", `{"image":"x","target":{"meter":"M1"}}`}, {http.MethodPost, "/v1/roll-outs", `{"image":"` + testImage + `","target":{}}`},
		{http.MethodPost, "/v1/roll-outs", `{"image":"` + testImage + `","target":{"meter":"M1"},"blockSize":5000}`},
		{http.MethodGet, "/v1/firmware/xyz", ""}, {http.MethodGet, "/v1/roll-outs/100/meters?state=x", ""},
	} {
		if resp, text := s.do(tc.method, tc.path, tc.body); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %s %s: status %d, %s", tc.method, tc.path, tc.body, resp.StatusCode, text)
		}
	}
	if got := rightFor(http.MethodPost, imagePath); got != api.RightOperate {
		t.Errorf("an upload needs %s", got)
	}
	if got := rightFor(http.MethodDelete, imagePath+"/"+testImage); got != api.RightOperate {
		t.Errorf("to delete an image needs %s", got)
	}
	if got := rightFor(http.MethodPost, "/v1/roll-outs/100/approve"); got != api.RightApprove {
		t.Errorf("an approval needs %s", got)
	}
}
