package api

import (
	"fmt"
	"slices"
	"strings"
)

// Right is a kind of call that a principal may make.
type Right string

// The rights. Each but View implies View; Admin implies nothing else, so that whoever runs the machine need not be able to
// switch breakers.
const (
	RightView    Right = "view"    // look at everything but backups
	RightOperate Right = "operate" // commands to meters
	RightEdit    Right = "edit"    // groups, registry, values
	RightApprove Right = "approve" // decide on what somebody else asked for
	RightAdmin   Right = "admin"   // backups, replays to other systems
)

// AllRights are all there are.
var AllRights = []Right{RightView, RightOperate, RightEdit, RightApprove, RightAdmin}

// Principal is who calls the API: a person or a program.
type Principal struct {
	Name   string  `json:"name" doc:"Who calls; what it asks for is kept under this name."`
	Rights []Right `json:"rights" nullable:"false" enum:"view,operate,edit,approve,admin" doc:"What it may do."`
}

// May reports whether the principal has a right.
func (p *Principal) May(r Right) bool {
	return slices.Contains(p.Rights, r) || r == RightView && len(p.Rights) > 0
}

// ParseRights reads rights with commas between, each of them known and there once. "all" is all of them.
func ParseRights(s string) ([]Right, error) {
	if s == "all" {
		return slices.Clone(AllRights), nil
	}
	var out []Right
	for name := range strings.SplitSeq(s, ",") {
		r := Right(strings.TrimSpace(name))
		if !slices.Contains(AllRights, r) {
			return nil, fmt.Errorf("right %q, want some of view, operate, edit, approve, admin with commas between, or all", clip(string(r), 40))
		}
		if slices.Contains(out, r) {
			return nil, fmt.Errorf("right %q stands there twice", r)
		}
		out = append(out, r)
	}
	return out, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
