package auth

import "strings"

// Covers reports whether every topic that matches the filter sub matches filter
// too, so that who may read filter may subscribe to sub. Both are valid filters.
func Covers(filter, sub string) bool {
	if sub != "" && sub[0] == '$' && filter != "" && (filter[0] == '#' || filter[0] == '+') { // [MQTT-4.7.2-1]
		return false
	}
	for {
		f, frest, fmore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		s, srest, smore := strings.Cut(sub, "/")
		if s == "#" || f != "+" && f != s {
			return false
		}
		switch {
		case !fmore && !smore:
			return true
		case !smore:
			return frest == "#" // [MQTT-4.7.1-2]: "a/#" matches "a" too
		case !fmore:
			return false
		}
		filter, sub = frest, srest
	}
}

// Overlaps reports whether some topic matches both filters.
func Overlaps(a, b string) bool {
	if wild(a) && strings.HasPrefix(b, "$") || wild(b) && strings.HasPrefix(a, "$") { // [MQTT-4.7.2-1]
		return false
	}
	for {
		x, arest, amore := strings.Cut(a, "/")
		y, brest, bmore := strings.Cut(b, "/")
		if x == "#" || y == "#" {
			return true
		}
		if x != "+" && y != "+" && x != y {
			return false
		}
		switch {
		case !amore && !bmore:
			return true
		case !amore:
			return brest == "#"
		case !bmore:
			return arest == "#"
		}
		a, b = arest, brest
	}
}

func wild(filter string) bool { return filter != "" && (filter[0] == '#' || filter[0] == '+') }

// plain takes the name of the group off a shared subscription, "$share/group/filter".
func plain(filter string) string {
	if rest, ok := strings.CutPrefix(filter, "$share/"); ok {
		if _, shared, ok := strings.Cut(rest, "/"); ok && shared != "" {
			return shared
		}
	}
	return filter
}
