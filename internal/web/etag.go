package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
)

// maxTagged is the largest answer in bytes that gets an ETag; a larger one, which only exports are, is sent as it comes.
const maxTagged = 8 << 20

// tagged reports whether the answer to a request gets an ETag: what is read and is no stream.
func tagged(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !strings.HasPrefix(r.URL.Path, "/v1/") {
		return false
	}
	return !streams(r.URL.Path) && r.URL.Path != exportPath
}

// streams reports whether the call of this path answers for as long as there is something to say.
func streams(path string) bool {
	return path == "/v1/events" || path == backupPath || path == exportsPath
}

// tagOf is the ETag of a body. RFC 9110, 8.8.3: a strong one, so the form that is compressed has another (see gzipWriter).
func tagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// gzipTag is the ETag of the compressed form of what has the ETag.
func gzipTag(tag string) string { return strings.TrimSuffix(tag, `"`) + gzipSuffix }

const gzipSuffix = `-gz"`

// matchesTag reports whether a list of ETags, as in If-Match, names one of the forms of what has this ETag. With weak it may be a weak
// one (RFC 9110, 8.8.3.2).
func matchesTag(list []string, tag string, weak bool) bool {
	for _, line := range list {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimSpace(one)
			if weak {
				one = strings.TrimPrefix(one, "W/")
			}
			if one == "*" || one == tag || one == gzipTag(tag) {
				return true
			}
		}
	}
	return false
}

// IfMatchIn is the condition of a change. Whoever makes the change looks once more whether what it is made of is still that, so nobody
// comes between.
type IfMatchIn struct {
	IfMatch []string `header:"If-Match" doc:"ETags of what is changed, as getting it told them: it is changed only if it is still that."`
}

// matches refuses a change of what is by now another thing than the client knows. err is that of asking for it.
func (in *IfMatchIn) matches(what string, now any, err error) error {
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return api.Outdated("%s", p.Detail) // RFC 9110, 13.1.1
	}
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := jsonFormat().Marshal(&body, now); err != nil {
		return err
	}
	if !matchesTag(in.IfMatch, tagOf(body.Bytes()), false) {
		return api.Outdated("%s is not as If-Match says any more: get it again", what)
	}
	return nil
}

// tagWriter holds an answer back until it is whole, gives it an ETag, and says 304 to a client that has it already.
type tagWriter struct {
	http.ResponseWriter
	r      *http.Request
	status int
	held   bytes.Buffer
	passed bool // too large: it goes on untagged
}

// WriteHeader holds the status back.
func (w *tagWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write takes a part of the body.
func (w *tagWriter) Write(b []byte) (int, error) {
	if w.passed {
		return w.ResponseWriter.Write(b)
	}
	if w.held.Len()+len(b) <= maxTagged {
		return w.held.Write(b)
	}
	if err := w.pass(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

func (w *tagWriter) pass() error {
	w.passed = true
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	if w.held.Len() == 0 {
		return nil
	}
	_, err := w.ResponseWriter.Write(w.held.Bytes())
	w.held = bytes.Buffer{}
	return err
}

// Unwrap is for http.ResponseController.
func (w *tagWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish sends the answer. Its errors are the client's going away.
func (w *tagWriter) finish() {
	if w.passed {
		return
	}
	if w.status == http.StatusOK || w.status == 0 && w.held.Len() > 0 {
		h, tag := w.Header(), tagOf(w.held.Bytes())
		h.Set("ETag", tag)
		if none := w.r.Header.Values("If-None-Match"); len(none) > 0 && matchesTag(none, tag, true) {
			if strings.Contains(strings.Join(none, ","), gzipTag(tag)) {
				h.Set("ETag", gzipTag(tag)) // the form that the client has
			}
			h.Del("Content-Type")
			w.status = http.StatusNotModified
			w.held.Reset()
		}
	}
	_ = w.pass()
}
