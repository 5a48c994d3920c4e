package bus

import "strings"

// The first tokens of the subjects. Other programs may rely on EventSubjects and DownSubject.
const (
	upSubjects    = "wb.up."
	deadSubjects  = "wb.dead."
	DownSubject   = "wb.dn"
	NowSubject    = "wb.now"
	EventSubjects = "wb.ev."
	OutSubject    = "wb.out"
	querySubjects = "wb.q."
)

// EventSubject is the subject of an event: kind of device, name of the event (the middle of its type), device id.
func EventSubject(kind, name, id string) string {
	return EventSubjects + kind + "." + name + "." + EscapeID(id)
}

// EscapeID makes an id usable as the last tokens of a subject: its dots become %2E where one of them would make an empty
// token ("a..b", "a."); every other id stays as it is. '%' is in no id, so the two cannot be confused.
func EscapeID(id string) string {
	if strings.HasPrefix(id, ".") || strings.HasSuffix(id, ".") || strings.Contains(id, "..") {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	return id
}

// UnescapeID undoes EscapeID.
func UnescapeID(s string) string { return strings.ReplaceAll(s, "%2E", ".") }

// token makes any short text one token of a subject.
func token(s string) string {
	if s == "" {
		return "other"
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, s)
}

// collide reports whether some subject matches both filters.
func collide(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] == ">" || y[i] == ">" {
			return true
		}
		if x[i] != y[i] && x[i] != "*" && y[i] != "*" {
			return false
		}
	}
	return len(x) == len(y)
}
