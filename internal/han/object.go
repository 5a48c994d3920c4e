package han

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/wattbus/wattbus/device"
	"github.com/wattbus/wattbus/internal/echonet"
)

// Properties that more than one class has.
const (
	epcStatus         = 0x80 // operation status
	epcIdentification = 0x83
	epcSetMap         = 0x9E
	epcGetMap         = 0x9F
	epcInstances      = 0xD6 // of the node profile: the objects that the node has
	epcAnnounced      = 0xD5 // of the node profile: the same, announced

	statusOn  = 0x30
	statusOff = 0x31
)

// class says which properties of a class hold what goes on the bus; 0 for none. Registers are in units of 0.001 kWh, power in W.
type class struct {
	kind             string
	name             string
	imported, export byte
	power            byte // 2 octets unsigned, or 4 signed, above 0 where it takes
	gives            bool // power is what it gives
}

var classes = map[[2]byte]class{
	{0x02, 0x79}: {kind: "pv", name: "solar power", export: 0xE1, power: 0xE0, gives: true},
	{0x02, 0x7D}: {kind: "han", name: "storage battery", imported: 0xD8, export: 0xD6, power: 0xD3},
	{0x02, 0x7E}: {kind: "ev", name: "vehicle charger and discharger", imported: 0xD8, export: 0xD6, power: 0xD3},
	{0x02, 0xA1}: {kind: "ev", name: "vehicle charger", imported: 0xD8, power: 0xD3},
}

// appliance is any other class: what the super class has.
var appliance = class{kind: "han", name: "appliance", imported: 0x85, power: 0x84}

// classOf is what is known of an object's class; false for objects that are no devices of the home: nodes, controllers, meters.
func classOf(o echonet.Object) (class, bool) {
	switch {
	case o[0] == 0x0E, o[0] == 0x05, o.IsMeter():
		return class{}, false
	}
	if c, ok := classes[[2]byte{o[0], o[1]}]; ok {
		return c, true
	}
	return appliance, true
}

// properties are those that a reading needs.
func (c class) properties() []byte {
	var out []byte
	for _, e := range []byte{epcStatus, c.imported, c.export, c.power} {
		if e != 0 {
			out = append(out, e)
		}
	}
	return out
}

// reading makes a reading of properties. A register that the object does not tell, or cannot tell now, is an error: an interval
// without a value is better than a wrong one.
func (c class) reading(ps map[byte]echonet.Property) (r device.Reading, err error) {
	for _, x := range []struct {
		epc byte
		to  *uint64
	}{{c.imported, &r.Import}, {c.export, &r.Export}} {
		if x.epc == 0 {
			continue
		}
		p, ok := ps[x.epc]
		if !ok || len(p.EDT) != 4 {
			return r, fmt.Errorf("property 0x%02X: no energy of 4 octets", x.epc)
		}
		v := binary.BigEndian.Uint32(p.EDT)
		if v > 999_999_999 {
			return r, fmt.Errorf("property 0x%02X: 0x%08X is no energy", x.epc, v)
		}
		*x.to = uint64(v)
	}
	if p, ok := ps[c.power]; ok {
		r.Power = power(p.EDT)
	}
	if c.gives {
		r.Power = -r.Power
	}
	return r, nil
}

// power reads W; sentinels and what has another length are 0.
func power(b []byte) int32 {
	switch len(b) {
	case 2:
		if v := binary.BigEndian.Uint16(b); v <= 0xFFFD {
			return int32(v)
		}
	case 4:
		if v := int32(binary.BigEndian.Uint32(b)); v <= 999_999_999 && v > math.MinInt32 {
			return v
		}
	}
	return 0
}

// instances reads an instance list.
func instances(p echonet.Property) ([]echonet.Object, error) {
	p.EPC = epcAnnounced // both have one layout
	v, err := p.Value()
	if err != nil || v == nil {
		return nil, err
	}
	return *v.(*echonet.Instances), nil
}

// hasProperty looks into a property map.
func hasProperty(p echonet.Property, epc byte) bool {
	v, err := p.Value()
	m, ok := v.(*echonet.Map)
	if err != nil || !ok {
		return false
	}
	for _, e := range *m {
		if e == epc {
			return true
		}
	}
	return false
}
