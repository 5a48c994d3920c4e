package topic

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrName is returned for a topic name or filter that MQTT does not allow.
var ErrName = errors.New("not a valid MQTT topic")

// CheckName returns nil if s may be published to: 1 to 65535 bytes of UTF-8 without NUL and wildcards.
// [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-3.3.2-2]
func CheckName(s string) error {
	if len(s) == 0 || len(s) > 65535 || !utf8.ValidString(s) || strings.ContainsAny(s, "#+\x00") {
		return ErrName
	}
	return nil
}

// CheckFilter returns nil if s may be subscribed to: '#' stands alone in the last level, '+' alone in its level.
// [MQTT-4.7.1-2] [MQTT-4.7.1-3]
func CheckFilter(s string) error {
	if len(s) == 0 || len(s) > 65535 || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return ErrName
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '#' && s[i] != '+' {
			continue
		}
		if i > 0 && s[i-1] != '/' {
			return ErrName
		}
		if last := i == len(s)-1; !last && (s[i] == '#' || s[i+1] != '/') {
			return ErrName
		}
	}
	return nil
}

// Match reports whether a valid filter matches a valid name. A wildcard in the first level does not match a name that
// begins with '$'. [MQTT-4.7.2-1]
func Match(filter, name string) bool {
	if name != "" && name[0] == '$' && filter != "" && (filter[0] == '#' || filter[0] == '+') {
		return false
	}
	for {
		f, frest, fmore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		n, nrest, nmore := strings.Cut(name, "/")
		if f != "+" && f != n {
			return false
		}
		switch {
		case !fmore && !nmore:
			return true
		case !nmore:
			return frest == "#" // [MQTT-4.7.1-2]: "a/#" matches "a" too
		case !fmore:
			return false
		}
		filter, name = frest, nrest
	}
}
