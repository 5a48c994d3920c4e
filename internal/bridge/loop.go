package bridge

import (
	"crypto/rand"
	"errors"
	"slices"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// ErrSelf ends a bridge whose upstream is its own broker.
var ErrSelf = errors.New("the upstream is this broker itself")

// viaProperty is the user property by which plain bridges of MQTT 5 know what came round to them: each adds its mark to what it
// passes on, in both directions, and does not pass on what has it already.
const viaProperty = "wattbus-via"

// maxVia is how many bridges a message passes at most: a ring of bridges that end again and again never sees its own mark.
const maxVia = 16

// newMark is one that no other bridge has, also none with the same client id or before a restart.
func newMark(id string) string { return id + "/" + rand.Text()[:8] }

// marked is p with the mark of a bridge; false: the message has come round.
func marked(p *mqtt.Properties, mark string) (*mqtt.Properties, bool) {
	out := &mqtt.Properties{}
	if p != nil {
		*out = *p
	}
	n := 0
	for _, u := range out.UserProperties {
		if u.Name != viaProperty {
			continue
		}
		if n++; n >= maxVia || u.Value == mark {
			return nil, false
		}
	}
	out.UserProperties = append(slices.Clip(out.UserProperties), mqtt.UserProperty{Name: viaProperty, Value: mark})
	return out, true
}
