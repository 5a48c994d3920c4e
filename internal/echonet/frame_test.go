package echonet

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/format"
)

type vector struct {
	Hex        string `json:"hex"`
	TID        *int   `json:"tid"`
	SEOJ, DEOJ string
	ESV        string `json:"esv_name"`
	Properties []struct {
		EPC, EDT string
		PDC      int
		Value    any
	}
	Meaning string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/echonet-0288.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Frames, Constructed []vector }
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Frames) != 33 || len(doc.Constructed) != 9 {
		t.Fatalf("%d and %d vectors", len(doc.Frames), len(doc.Constructed))
	}
	return append(doc.Frames, doc.Constructed...)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every vector decodes to the stated values, and encodes to the same bytes from its frame and from its values in JSON.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		b := unhex(t, v.Hex)
		f, err := Decode(b)
		if err != nil {
			t.Errorf("%s: %v", v.Hex, err)
			continue
		}
		if again, err := f.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s became %x, %v", v.Hex, again, err)
		}
		doc, err := json.Marshal(f)
		if err != nil {
			t.Errorf("%s: %v", v.Hex, err)
			continue
		}
		var plain struct {
			TID        int
			SEOJ, DEOJ string
			ESV        string
			Properties []map[string]any
		}
		if err := json.Unmarshal(doc, &plain); err != nil {
			t.Fatal(err)
		}
		if v.TID != nil && (plain.TID != *v.TID || plain.SEOJ != v.SEOJ || plain.DEOJ != v.DEOJ || plain.ESV != v.ESV) {
			t.Errorf("%s: %s", v.Hex, doc)
		}
		if len(plain.Properties) != len(v.Properties) && v.Meaning == "" {
			t.Errorf("%s: %d properties, want %d", v.Hex, len(plain.Properties), len(v.Properties))
			continue
		}
		for i, p := range v.Properties {
			if got := plain.Properties[i]; got["epc"] != p.EPC || got["edt"] != nil && got["edt"] != p.EDT || got["edt"] == nil && p.PDC != 0 {
				t.Errorf("%s: property %v, want %+v", v.Hex, got, p)
			}
			same(t, v.Hex, p.EPC, plain.Properties[i]["value"], p.Value)
		}
		if v.Meaning != "" {
			want, ok := meanings[v.Meaning]
			got, _ := json.Marshal(plain.Properties[0]["value"])
			if esv := plain.ESV + " " + plain.Properties[0]["epc"].(string) + " " + string(got); !ok || len(plain.Properties) != 1 || esv != want {
				t.Errorf("%s, %s: %s, want %s", v.Hex, v.Meaning, esv, want)
			}
		}
		for i := range plain.Properties {
			delete(plain.Properties[i], "edt")
		}
		doc, _ = json.Marshal(map[string]any{"tid": plain.TID, "seoj": plain.SEOJ, "deoj": plain.DEOJ, "esv": plain.ESV, "properties": plain.Properties})
		var g Frame
		if err := json.Unmarshal(doc, &g); err != nil {
			t.Errorf("%s: %v", doc, err)
		} else if again, err := g.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s\nfrom its values %s\nbecame %x, %v", v.Hex, doc, again, err)
		}
	}
}

// meanings are the values that the constructed vectors state in words.
var meanings = map[string]string{
	"one-minute register D0 (release R): 2026-07-26 12:34:00, forward 0x12345=74565, reverse 0x678=1656": `Get_Res D0 {"forward":74565,"reverse":1656,"time":"2026-07-26T12:34:00"}`,
	"EC history 2, newest first: 2026-07-26 12:30 forward 4099, 12:00 forward 4096; reverse = no data":   `Get_Res EC {"segments":[{"forward":4099,"reverse":null},{"forward":4096,"reverse":null}],"time":"2026-07-26T12:30:00"}`,
	"instantaneous power not measured":          "Get_Res E7 null",
	"single-phase two-wire: R 10.0 A, T absent": `Get_Res E8 {"r":100,"t":null}`,
	"cumulative energy not available":           "Get_Res E0 null",
	"SetC: choose yesterday as history day":     "SetC E5 1",
	"Set_Res: accepted, PDC 0":                  "Set_Res E5 null",
	"SetC with day 100 (out of 0..99)":          "SetC E5 100",
	"SetC_SNA: refused, value echoed back":      "SetC_SNA E5 100",
}

// same compares a value with what the vector says in its own words.
func same(t *testing.T, frame, epc string, got, want any) {
	t.Helper()
	w, _ := want.(map[string]any)
	g, _ := got.(map[string]any)
	ok := true
	is := func(a, b any) { ok = ok && a == b }
	switch epc {
	case "80":
		is(g["on"], want == "ON")
	case "81":
		raw := unhex(t, got.(string))
		is(len(raw), 1)
		is(float64(raw[0]), w["raw"])
		is(float64(raw[0]>>3&15), w["location_code"])
		is(float64(raw[0]&7), w["number"])
	case "82":
		is(g["release"], w["release"])
		is(g["revision"], w["revision"])
	case "83":
		is(want, nil)
		is(got, nil)
	case "88":
		is(g["on"], want == "fault")
	case "8A":
		is(got, w["manufacturer_code"])
	case "97":
		is(fmt.Sprintf("%02.0f:%02.0f", g["hour"], g["minute"]), want)
	case "9D", "9E", "9F":
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		is(string(a), string(b))
	case "D5":
		is(fmt.Sprint(got), fmt.Sprint(w["instances"]))
	case "E0", "E3":
		is(got, w["count"])
	case "E1":
		is(got, fmt.Sprint(w["kwh_per_count"]))
	case "E2":
		a, _ := json.Marshal(g["counts"])
		b, _ := json.Marshal(w["counts"])
		is(string(a), string(b))
		is(g["day"], w["days_ago"])
	case "E7":
		if w == nil {
			is(got, nil) // a request
			break
		}
		is(got, w["watts"])
	case "E8":
		if w == nil {
			is(got, nil) // a request
			break
		}
		is(g["r"].(float64), w["r_amps"].(float64)*10)
		is(g["t"].(float64), w["t_amps"].(float64)*10)
	case "EA", "EB":
		is(g["time"], w["time"])
		is(g["count"], w["count"])
	default:
		is(got, want)
	}
	if !ok {
		t.Errorf("%s: property %s is %v, want %v", frame, epc, got, want)
	}
}

// annotated holds frames byte by byte.
var annotated = []struct{ name, hex string }{
	//       EHD  TID  SEOJ   DEOJ   ESV OPC EPC PDC EDT
	{"Get_Res, power 632 W", `1081 0001 028801 05FF01 72 01  E7 04 00000278`},
	{"INF, both half-hour registers", `1081 0000 028801 05FF01 73 02
		EA 0B  07E7 0C 13 00 1E 00 0000458E
		EB 0B  07E7 0C 13 00 1E 00 00000015`},
	{"SetGet: choose a day and read it", `1081 0007 05FF01 028801 6E 01 E5 01 01  01 E2 00`},
	{"SetGet_Res", `1081 0007 028801 05FF01 7E 01 E5 00  02 E1 01 01 D3 04 00000001`},
	{"Get_SNA: one could be read, one not", `1081 0001 028801 05FF01 52 02 D7 01 06 83 00`},
	{"EC, three segments, newest first", `1081 0102 028801 05FF01 72 03 E1 01 01 D3 04 00000002
		EC 1F  07EA 07 1A 0C 1E 03  00001003 FFFFFFFE  00001002 FFFFFFFE  00001000 FFFFFFFE`},
	{"EE, two minutes", `1081 0102 028801 05FF01 72 02 E1 01 04 EE 17  07EA 07 1A 0C 1F 02  00001003 00000003  00001000 00000003`},
	{"ED and EF, selectors", `1081 0102 05FF01 028801 61 02 ED 07 07EA071A0C1E 0C  EF 07 FFFFFFFFFFFF 01`},
	{"E3, E4, E5, C0, 83, 8D, 89", `1081 0102 028801 05FF01 72 05 E3 04 00000010 E5 01 FF C0 10 00000016 000102030405060708090A0B
		83 11 FE000016 000102030405060708090A0B0C 89 02 0001`},
}

func TestAnnotated(t *testing.T) {
	for _, tc := range annotated {
		b := unhex(t, tc.hex)
		f, err := Decode(b)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		again, err := f.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %x, %v", tc.name, again, err)
		}
		if _, err := json.Marshal(f); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		for n := range b {
			if _, err := Decode(b[:n]); !errors.Is(err, format.ErrLength) {
				t.Errorf("%s cut to %d: %v", tc.name, n, err)
			}
		}
		if _, err := Decode(append(bytes.Clone(b), 0)); !errors.Is(err, format.ErrLength) {
			t.Errorf("%s with an octet more: %v", tc.name, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	// meter --INFC--> controller --INFC_Res--> meter
	f, err := Decode(unhex(t, "1081029F02880105FF017402EA0B07E501121200000000FBD2EB0B07E5011212000000000009"))
	if err != nil {
		t.Fatal(err)
	}
	a, ok := f.Answer()
	b, err := a.Append(nil)
	if want := unhex(t, "1081029F05FF010288017A02EA00EB00"); !ok || err != nil || !bytes.Equal(b, want) {
		t.Errorf("%x, %v, want %x", b, err, want)
	}
	if _, ok := a.Answer(); ok {
		t.Error("an answer is answered")
	}
}

// Errors name the property and the offset at which it is wrong.
func TestRefused(t *testing.T) {
	for _, tc := range []struct{ hex, want string }{
		{"1082000102880105FF017201E70400000278", "EHD2 at offset 1: 0x82, want 0x81: unknown version"},
		{"1181000102880105FF017201E70400000278", "EHD1 at offset 0: 0x11, want 0x10: unknown version"},
		{"1081000102880105FF019901E70400000278", "ESV at offset 10: 0x99 is no service: value outside its range"},
		{"1081000102880105FF017202E70400000278", "EPC at offset 18: the frame ends before property 2 of 2: wrong length"},
		{"1081000102880105FF017201E70500000278", "property E7 (instantaneous power) at offset 13: PDC 5, but 4 octets are left: wrong length"},
		{"1081000102880105FF017201E003000278", "property E0 (cumulative energy, forward) at offset 13: 3 octets, want 4: wrong length"},
		{"1081000102880105FF017201E00405F5E100", "property E0 (cumulative energy, forward) at offset 14: 100000000 counts, want at most 99999999: value outside its range"},
		{"1081000102880105FF017201E10105", "property E1 (unit) at offset 14: 0x05, want 00 to 04 or 0A to 0D: value outside its range"},
		{"1081000102880105FF017201D70109", "property D7 (effective digits) at offset 14: 9, want 1 to 8: value outside its range"},
		{"1081000102880105FF017201D304000F4240", "property D3 (coefficient) at offset 14: 1000000, want at most 999999: value outside its range"},
		{"1081000102880105FF017201EA0B07EA0D140E00000000FE68", "property EA (fixed-time energy, forward) at offset 14: 2026-13-20 14:00:00 is no date and time: value outside its range"},
		{"1081000102880105FF017201EA0B07EA021E0E00000000FE68", "property EA (fixed-time energy, forward) at offset 14: 2026-02-30 14:00:00 is no date and time: value outside its range"},
		{"1081010202880105FF017201EC0F07EA071A0C1F0100001003FFFFFFFE", "property EC (history 2) at offset 19: minute 31, want a multiple of 30: value outside its range"},
		{"1081010202880105FF017201EC0F07EA071A0C1E0D00001003FFFFFFFE", "property EC (history 2) at offset 20: 13 segments, want 1 to 12: value outside its range"},
		{"1081000102880105FF0172018D0C463247010000000000000000", "property 8D (production number) at offset 17: 0x01 is no printable character: value outside its range"},
		{"1081000102880105FF017201800132", "property 80 (operation status) at offset 14: 0x32, want 0x30 or 0x31: value outside its range"},
		{"1081000102880105FF0172019F110141414160404000624300414040430202", "property 9F (Get map) at offset 13: 17 octets, want 2: wrong length"},
		{"1081000102880105FF0172019F111A41414160404000624300414040430202", "property 9F (Get map) at offset 14: 26 properties announced, 25 bits are set: value outside its range"},
		{"1081000102880105FF017201820400004630", ""},
	} {
		f, err := Decode(unhex(t, tc.hex))
		if err == nil {
			_, err = json.Marshal(f)
			for e := err; e != nil; e = errors.Unwrap(e) {
				if _, ok := e.(*format.Error); ok {
					err = e
				}
			}
		}
		if got := ""; err != nil {
			got = err.Error()
			if got != tc.want {
				t.Errorf("%s:\n got %s\nwant %s", tc.hex, got, tc.want)
			}
		} else if tc.want != "" {
			t.Errorf("%s: accepted, want %s", tc.hex, tc.want)
		}
	}
	for _, f := range []Frame{{ESV: 0x99}, {ESV: Get, Get: []Property{{EPC: 0xE0}}}, {ESV: Get, Properties: make([]Property, 256)},
		{ESV: GetRes, Properties: []Property{{EPC: 0xE0, EDT: make([]byte, 256)}}}} {
		if _, err := f.Append(nil); err == nil {
			t.Errorf("%v encoded", f.ESV)
		}
	}
}
