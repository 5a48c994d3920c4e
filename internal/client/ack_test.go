package client

import (
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestReasonsOfAcknowledgements: PUBCOMP may say that the packet identifier is not known, as it does for a PUBREL that is sent again
// behind a connection that was lost; the others may not.
func TestReasonsOfAcknowledgements(t *testing.T) {
	for _, typ := range []mqtt.PacketType{mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP} {
		p, err := decodeAck(mqtt.V5, typ, []byte{0, 7, byte(mqtt.ReasonPacketIDNotFound)})
		if ok := err == nil && p.PacketID == 7 && p.Reason == mqtt.ReasonPacketIDNotFound; ok != (typ == mqtt.PUBCOMP) {
			t.Errorf("%s: %+v, %v", typ, p, err)
		}
		if _, err := decodeAck(mqtt.V5, typ, []byte{0, 7, byte(mqtt.ReasonQuotaExceeded)}); (err == nil) != (typ != mqtt.PUBCOMP) {
			t.Errorf("%s, quota exceeded: %v", typ, err)
		}
	}
}
