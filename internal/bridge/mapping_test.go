package bridge

import "testing"

// TestMapping holds the mapping to the examples of the contract and to the edges of its patterns.
func TestMapping(t *testing.T) {
	m := newMapping("C7")
	for local, want := range map[string]string{
		"up/meter/M1/reading":           "up/C7/meter/M1/reading",
		"up/C9/C8/meter/M1/reading":     "up/C7/C9/C8/meter/M1/reading",
		"up/concentrator/C9/status":     "up/C7/concentrator/C9/status",
		"up/whatever else":              "up/C7/whatever else",
		"up/":                           "",
		"up":                            "",
		"dn/meter/M1/cmd":               "",
		"upper/meter/M1/reading":        "",
		"$SYS/broker/clients/connected": "",
	} {
		if got, ok := m.remote(local); got != want || ok != (want != "") {
			t.Errorf("up: %q became %q, %v; want %q", local, got, ok, want)
		}
	}
	for remote, want := range map[string]string{
		"dn/C7/meter/M1/cmd":          "dn/meter/M1/cmd",
		"dn/C7/C9/meter/M1/cmd":       "dn/C9/meter/M1/cmd",
		"dn/C7/all/meter/cmd":         "dn/all/meter/cmd",
		"dn/C7/group/12/cmd":          "dn/group/12/cmd",
		"dn/all/meter/cmd":            "dn/all/meter/cmd",
		"dn/group/12/groups":          "dn/group/12/groups",
		"dn/concentrator/C7/cmd":      "dn/concentrator/C7/cmd",
		"dn/C7/concentrator/C9/cmd":   "dn/concentrator/C9/cmd",
		"dn/concentrator/C70/cmd":     "",
		"dn/C70/meter/M1/cmd":         "",
		"dn/C7":                       "",
		"dn/C7/":                      "",
		"dn/meter/M1/cmd":             "",
		"up/C7/meter/M1/reading":      "",
		"dn/allmeter/cmd":             "",
		"dn/concentrator/C7":          "",
		"up/concentrator/C7/location": "",
	} {
		if got, ok := m.local(remote); got != want || ok != (want != "") {
			t.Errorf("down: %q became %q, %v; want %q", remote, got, ok, want)
		}
	}
	for local, want := range map[string]bool{
		"up/C9/C7/meter/M1/reading":   true,
		"up/C7/meter/M1/reading":      true,
		"up/concentrator/C7/status":   false, // its own status, should it ever be here, names it as the device
		"up/C9/concentrator/C7/event": false,
		"up/C70/meter/M1/reading":     false,
		"up/meter/C7x/reading":        false,
		"up/meter/M1/C7":              false,
	} {
		if got := m.looped(local); got != want {
			t.Errorf("looped(%q) = %v", local, got)
		}
	}
	var filters string
	for _, s := range m.subscriptions() {
		filters += s.Filter + " "
	}
	if want := "dn/C7/# dn/all/# dn/group/# dn/concentrator/C7/# "; filters != want || m.filters()[0] != "up/#" {
		t.Errorf("filters %q and %q", filters, m.filters()[0])
	}
}
