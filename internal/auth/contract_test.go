package auth

import "testing"

func TestContract(t *testing.T) {
	c, err := NewContract([]string{"C*"})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		id      string
		topic   string
		publish bool
		want    bool
	}{
		{"M1", "up/meter/M1/reading", true, true},
		{"M1", "up/ev/M1/event", true, true},
		{"M1", "up/meter/M2/reading", true, false},
		{"M1", "up/meter/M1", true, false},
		{"M1", "up/meter/M11/reading", true, false},
		{"M1", "up/M1/meter/M2/reading", true, false}, // as if it were a concentrator
		{"M1", "up/concentrator/M1/status", true, false},
		{"M1", "up/C1/meter/M1/reading", true, false},
		{"M1", "dn/meter/M1/cmd", true, false},
		{"M1", "up", true, false},
		{"M1", "$SYS/x", true, false},
		{"M1", "dn/meter/M1/#", false, true},
		{"M1", "dn/meter/M1/cmd", false, true},
		{"M1", "dn/all/meter/#", false, true},
		{"M1", "dn/all/#", false, true},
		{"M1", "dn/group/12/#", false, true},
		{"M1", "dn/group/#", false, true},
		{"M1", "dn/meter/M2/#", false, false},
		{"M1", "dn/meter/+/#", false, false},
		{"M1", "dn/+/M1/#", false, false},
		{"M1", "dn/#", false, false},
		{"M1", "dn/M1/#", false, false},
		{"M1", "#", false, false},
		{"M1", "up/meter/M1/#", false, false},
		{"C7", "up/C7/meter/M1/reading", true, true},
		{"C7", "up/C7/C8/meter/M1/reading", true, true},
		{"C7", "up/concentrator/C7/status", true, true},
		{"C7", "up/concentrator/C8/status", true, false},
		{"C7", "up/meter/C7/reading", true, false},
		{"C7", "up/C8/meter/M1/reading", true, false},
		{"C7", "dn/C7/#", false, true},
		{"C7", "dn/all/#", false, true},
		{"C7", "dn/group/#", false, true},
		{"C7", "dn/concentrator/C7/#", false, true},
		{"C7", "dn/C8/#", false, false},
		{"C7", "dn/+/#", false, false},
		{"C7", "dn/#", false, false},
	} {
		a := access{contract: c, id: k.id, concentrator: c.concentrator(k.id)}
		got := a.Subscribe(k.topic)
		if k.publish {
			got = a.Publish(k.topic)
		}
		if got != k.want {
			t.Errorf("%s, publish %v, %s: %v", k.id, k.publish, k.topic, got)
		}
		if !k.publish && a.Subscribe("$share/g/"+k.topic) != k.want {
			t.Errorf("%s, shared %s", k.id, k.topic)
		}
	}
	for _, bad := range []string{"", "C["} {
		if _, err := NewContract([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
