package echonet

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/wattbus/wattbus/internal/format"
)

// document is a frame in JSON. Data stand there twice, as octets and as a value; where both are given the octets count.
type document struct {
	TID        uint16         `json:"tid"`
	SEOJ       Object         `json:"seoj"`
	DEOJ       Object         `json:"deoj"`
	ESV        string         `json:"esv"`
	Properties []jsonProperty `json:"properties"`
	Get        []jsonProperty `json:"get,omitempty"`
}

type jsonProperty struct {
	EPC   string          `json:"epc"`
	Name  string          `json:"name,omitempty"`
	EDT   string          `json:"edt,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// MarshalJSON writes the frame with the values of its properties. It fails on data that the class does not allow.
func (f Frame) MarshalJSON() ([]byte, error) {
	d := document{TID: f.TID, SEOJ: f.SEOJ, DEOJ: f.DEOJ, ESV: f.ESV.String()}
	var err error
	if d.Properties, err = toJSON(f.Properties); err != nil {
		return nil, err
	}
	if d.Get, err = toJSON(f.Get); err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

func toJSON(ps []Property) ([]jsonProperty, error) {
	out := []jsonProperty{}
	for _, p := range ps {
		j := jsonProperty{EPC: fmt.Sprintf("%02X", p.EPC), Name: Name(p.EPC), EDT: hex.EncodeToString(p.EDT)}
		v, err := p.Value()
		if err != nil {
			return nil, err
		}
		if v != nil {
			if j.Value, err = json.Marshal(v); err != nil {
				return nil, err
			}
		}
		out = append(out, j)
	}
	return out, nil
}

// UnmarshalJSON reads what MarshalJSON wrote. A property needs its octets or its value.
func (f *Frame) UnmarshalJSON(b []byte) error {
	var d document
	if err := format.Unmarshal(b, &d); err != nil {
		return err
	}
	*f = Frame{TID: d.TID, SEOJ: d.SEOJ, DEOJ: d.DEOJ}
	for s := range 256 {
		if Service(s).known() && Service(s).String() == d.ESV {
			f.ESV = Service(s)
		}
	}
	if f.ESV == 0 {
		return fmt.Errorf("esv %.40q is no service: %w", d.ESV, format.ErrValue)
	}
	var err error
	if f.Properties, err = fromJSON(d.Properties); err != nil {
		return err
	}
	f.Get, err = fromJSON(d.Get)
	return err
}

func fromJSON(js []jsonProperty) (ps []Property, err error) {
	for _, j := range js {
		epc, err := octets(j.EPC, 1)
		if err != nil {
			return nil, fmt.Errorf("epc: %w", err)
		}
		p := Property{EPC: epc[0]}
		if j.EDT != "" || len(j.Value) == 0 {
			if p.EDT, err = octets(j.EDT, -1); err != nil {
				return nil, fmt.Errorf("%s: %w", name(p.EPC), err)
			}
			ps = append(ps, p)
			continue
		}
		var v Value = &Raw{}
		if s, ok := specs[p.EPC]; ok {
			v = s.make()
		}
		if err := json.Unmarshal(j.Value, v); err != nil {
			return nil, fmt.Errorf("%s: %.60s is none of its values: %w", name(p.EPC), j.Value, format.ErrValue)
		}
		if s, ok := v.(*Switch); ok {
			s.yes, s.none = 0x30, 0x31
			if p.EPC == 0x88 {
				s.yes, s.none = 0x41, 0x42
			}
		}
		if p, err = NewProperty(p.EPC, v); err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// MarshalText writes the octets in hexadecimal.
func (v Raw) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, v), nil }

// UnmarshalText reads what MarshalText wrote.
func (v *Raw) UnmarshalText(b []byte) (err error) {
	*v, err = octets(string(b), -1)
	return err
}

// octets reads hexadecimal digits, want octets of them unless it is negative.
func octets(s string, want int) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || want >= 0 && len(b) != want {
		return nil, fmt.Errorf("%.40q, want hexadecimal digits: %w", s, format.ErrValue)
	}
	return b, nil
}
