package connector

import "testing"

// TestRequests: what is wrong with a request is told with the field and the offset.
func TestRequests(t *testing.T) {
	for body, want := range map[string]string{
		`no JSON`:                               "Bad request: at offset 1: invalid character 'o' in literal null (expecting 'u')",
		"\x00":                                  `Bad request: at offset 0: invalid character '\x00' looking for beginning of value`,
		` `:                                     "Bad request: at offset 1: it ends before the JSON document does",
		`{"type":"ping","target":{"meter":"M1"`: "Bad request: at offset 37: it ends before the JSON document does",
		`[1]`:                                   "Bad request: at offset 0: array, want an object",
		`{"type":"ping"} {"type":"ping"}`:       "Bad request: at offset 17: want one JSON document and nothing behind it",
		`{"type": 7}`:                           "Bad request: type: at offset 9: number, want a string",
		`{"target":7}`:                          "Bad request: target: at offset 10: number, want an object",
		`{"type":"ping","target":{"meter":["M1"]}}`:                      "Bad request: target.meter: at offset 33: array, want a string",
		`{"target":{"group":"12"}}`:                                      "Bad request: target.group: at offset 19: string, want a whole number in its range",
		`{"expiresIn":1.5}`:                                              "Bad request: expiresIn: at offset 13: number 1.5, want a whole number in its range",
		`{"target":{"meters":"M1"}}`:                                     "Bad request: target.meters: at offset 20: string, want a list",
		`{"target":{"meter":"M1"}, "force" : true}`:                      "Bad request: force: at offset 36: there is no such field",
		`{"type":"interval","params":{"minutes":15,"second":[{"a":1}]}}`: "Bad request: second: at offset 51: there is no such field",
		`{"at":"noon"}`:                                                  "Bad request: at: at offset 6: want a time such as 2026-11-29T12:00:00Z",
	} {
		if _, p := parse([]byte(body)); p == nil || p.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", body, p, want)
		}
	}
	if r, p := parse([]byte("\n{\"type\":\"ping\",\"target\":{\"meter\":\"M1\"}}\n ")); p != nil || r.Type != "ping" || r.Target.Meter != "M1" {
		t.Errorf("%+v, %v", r, p)
	}
}
