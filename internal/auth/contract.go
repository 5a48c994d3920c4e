package auth

import (
	"fmt"
	"path"
	"strings"

	"github.com/wattbus/wattbus/internal/topic"
)

// Contract is the rule of the contract itself: a client is the device, or the
// concentrator, whose id is its user name, and stays in its own lane.
//
//	device M1        up    up/<kind>/M1/#
//	                 down  dn/<kind>/M1/#, dn/all/#, dn/group/#
//	concentrator C7  up    up/C7/#, up/concentrator/C7/#
//	                 down  dn/C7/#, dn/concentrator/C7/#, dn/all/#, dn/group/#
//
// Who is a concentrator has to be told, for a concentrator may speak for all that
// stands below it: a meter that could do that could report for others.
type Contract struct {
	concentrators []string // patterns of ids
}

// NewContract takes patterns of the ids of concentrators, such as "C*"; see
// path.Match.
func NewContract(concentrators []string) (*Contract, error) {
	for _, p := range concentrators {
		if _, err := path.Match(p, "C1"); err != nil || p == "" {
			return nil, fmt.Errorf("%q is no pattern of ids, want one such as C*", p)
		}
	}
	return &Contract{concentrators}, nil
}

// concentrator reports whether the user may act as one.
func (c *Contract) concentrator(user string) bool {
	for _, p := range c.concentrators {
		if ok, _ := path.Match(p, user); ok { // checked by NewContract
			return true
		}
	}
	return false
}

func (c *Contract) publish(id string, concentrator bool, name string) bool {
	rest, ok := strings.CutPrefix(name, "up/")
	if !ok {
		return false
	}
	return inLane(rest, id, concentrator)
}

// inLane reports whether what stands behind up/ or dn/ is one's own.
func inLane(rest, id string, concentrator bool) bool {
	first, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return false
	}
	if concentrator {
		if first == id {
			return true
		}
		if first != topic.Concentrator {
			return false
		}
	} else if !topic.IsKind(first) || first == topic.Concentrator {
		return false
	}
	second, _, ok := strings.Cut(rest, "/")
	return ok && second == id
}

func (c *Contract) subscribe(id string, concentrator bool, filter string) bool {
	rest, ok := strings.CutPrefix(filter, "dn/")
	if !ok {
		return false
	}
	first, _, ok := strings.Cut(rest, "/")
	if ok && (first == "all" || first == "group") {
		return true
	}
	return inLane(rest, id, concentrator)
}
