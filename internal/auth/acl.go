package auth

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/topic"
)

// ACL is an access control file, in the format of Mosquitto's:
//
//	# for clients that are nobody in particular
//	topic read public/#
//
//	user alice
//	topic readwrite home/#
//	topic deny home/safe/#
//
//	# for everybody: %u is the user name, %c the client id
//	pattern write status/%u/%c
//
// "topic FILTER" alone is readwrite. deny wins over what grants. What no line
// grants is denied.
type ACL struct {
	file    string
	current atomic.Pointer[rules]
}

type rules struct {
	users    map[string][]rule // "" for clients that are nobody in particular
	patterns []rule
}

type rule struct {
	read, write, deny bool
	filter            string
}

// OpenACL reads the file.
func OpenACL(file string) (*ACL, error) {
	a := &ACL{file: file}
	return a, a.Load()
}

// File is the file that Load reads.
func (a *ACL) File() string { return a.file }

// Load reads the file. If it cannot be used, what was read before stays in force.
func (a *ACL) Load() error {
	r := &rules{users: map[string][]rule{}}
	user := ""
	err := readLines(a.file, func(line string) error {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		switch word {
		case "user":
			if err := CheckUser(rest); err != nil {
				return err
			}
			user = rest
			if _, ok := r.users[user]; !ok {
				r.users[user] = nil
			}
		case "topic":
			u, err := parseRule(rest)
			if err != nil {
				return err
			}
			if strings.Contains(u.filter, "%u") || strings.Contains(u.filter, "%c") {
				return fmt.Errorf("%q: %%u and %%c stand for something in pattern lines only", u.filter)
			}
			r.users[user] = append(r.users[user], u)
		case "pattern":
			u, err := parseRule(rest)
			if err != nil {
				return err
			}
			r.patterns = append(r.patterns, u)
		default:
			return fmt.Errorf("%.32q: want user, topic or pattern", word)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("access control: %w", err)
	}
	a.current.Store(r)
	return nil
}

func parseRule(s string) (rule, error) {
	var r rule
	word, filter, ok := strings.Cut(s, " ")
	switch s {
	case "", "read", "write", "readwrite", "deny":
		return r, errors.New("no topic filter")
	}
	if !ok {
		filter, word = s, "readwrite"
	}
	switch word {
	case "read":
		r.read = true
	case "write":
		r.write = true
	case "readwrite":
		r.read, r.write = true, true
	case "deny":
		r.read, r.write, r.deny = true, true, true
	default:
		return r, fmt.Errorf("%.32q: want read, write, readwrite or deny, then a topic filter", word)
	}
	r.filter = strings.TrimSpace(filter) // which may hold spaces
	if err := topic.CheckFilter(r.filter); err != nil {
		return r, fmt.Errorf("%q: %w", r.filter, err)
	}
	return r, nil
}

// grant is what one client may do by the file.
type grant struct {
	acl          *ACL
	user, client string

	of       *rules // what patterns was made from
	patterns []rule // with user and client put in
}

// allows goes through the rules that apply to the client: granted if one grants and
// none denies. It is called from one goroutine at a time.
func (g *grant) allows(name string, write bool) bool {
	r := g.acl.current.Load()
	if g.of != r {
		g.of, g.patterns = r, expandAll(r.patterns, g.user, g.client)
	}
	granted := false
	for _, list := range [2][]rule{r.users[g.user], g.patterns} {
		for i := range list {
			switch u := &list[i]; {
			case write && !u.write || !write && !u.read:
			case u.deny && u.overlaps(name, write):
				return false
			case !u.deny && !granted && u.covers(name, write):
				granted = true
			}
		}
	}
	return granted
}

func (u *rule) covers(name string, write bool) bool {
	if write {
		return topic.Match(u.filter, name)
	}
	return Covers(u.filter, name)
}

func (u *rule) overlaps(name string, write bool) bool {
	if write {
		return topic.Match(u.filter, name)
	}
	return Overlaps(u.filter, name)
}

// expandAll puts user and client into patterns. A name that would be a wildcard
// there, or more than a part of one level, grants nothing, and is denied all that
// it could be.
func expandAll(patterns []rule, user, client string) []rule {
	out := make([]rule, 0, len(patterns))
	unfit := func(s string) bool { return s == "" || strings.ContainsAny(s, "+#/\x00") }
	both := strings.NewReplacer("%u", user, "%c", client)
	for _, u := range patterns {
		if strings.Contains(u.filter, "%u") && unfit(user) || strings.Contains(u.filter, "%c") && unfit(client) {
			if !u.deny {
				continue
			}
			u.filter = widen(u.filter)
		} else {
			u.filter = both.Replace(u.filter)
		}
		out = append(out, u)
	}
	return out
}

// widen makes every level that depends on a name, and all below it, a wildcard.
func widen(filter string) string {
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if strings.Contains(l, "%u") || strings.Contains(l, "%c") {
			return strings.Join(append(levels[:i], "#"), "/")
		}
	}
	return filter
}
