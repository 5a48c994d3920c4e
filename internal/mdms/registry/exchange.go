package registry

import (
	"fmt"

	"github.com/wattbus/wattbus/internal/cim"
)

// Exchange takes the meter of a usage point out and puts another one in, or none.
type Exchange struct {
	UsagePoint string
	At         uint32
	Final      cim.RegisterPair
	Meter      string // the new one; "": none
	First      cim.RegisterPair
	Serial     string
	Dials      uint8
	Reason     string
}

// Exchange checks an exchange as an import is checked, and returns it as one. Columns of its problems are those of the CSV form.
func (r *Registry) Exchange(e Exchange, o Options) *Import {
	im := NewImport(r, o)
	if wrong := CheckID(e.UsagePoint); wrong != "" {
		im.wrong(Problem{Column: "usage_point", Value: e.UsagePoint, Detail: wrong})
		return im
	}
	if !im.hasPoint(e.UsagePoint) {
		im.wrong(Problem{Column: "usage_point", Value: e.UsagePoint, Detail: "is not known: import it first"})
		return im
	}
	old, has := r.MeterAt(e.UsagePoint, e.At-1, Now)
	switch {
	case !has && e.Meter == "":
		im.wrong(Problem{Column: "usage_point", Value: e.UsagePoint, Detail: "has no meter at " + cim.Stamp(e.At) + " that could be taken out"})
		return im
	case !has && (e.Final.HasImport || e.Final.HasExport):
		im.wrong(Problem{Column: "remove_import_wh", Detail: "there is a final register but no meter at " + cim.Stamp(e.At) + " that could be taken out"})
	case has && old.End != 0 && old.End != e.At:
		im.wrong(Problem{Column: "removed", Value: cim.Stamp(e.At), Detail: fmt.Sprintf("meter %s was taken out at %s: correct that by an import", old.Meter, cim.Stamp(old.End))})
	case has && old.Meter == e.Meter:
		im.wrong(Problem{Column: "meter", Value: e.Meter, Detail: "is there already since " + cim.Stamp(old.Start)})
	case has:
		s := statement{install: cim.MeterInstallation{Meter: old.Meter, UsagePoint: e.UsagePoint, Start: old.Start, End: e.At, Last: e.Final, Reason: e.Reason}}
		im.enterInstallation(&s, 1)
	}
	if e.Meter != "" && im.sum.Wrong == 0 {
		if wrong := checkMeterID(e.Meter); wrong != "" {
			im.wrong(Problem{Column: "meter", Value: e.Meter, Detail: wrong})
			return im
		}
		im.enterNew(e)
	}
	im.checkTogether()
	return im
}

func (im *Import) enterNew(e Exchange) {
	if wrong := checkText(e.Serial); wrong != "" {
		im.wrong(Problem{Column: "serial", Value: e.Serial, Detail: wrong})
		return
	}
	if e.Serial != "" || e.Dials != 0 {
		s := statement{meter: cim.MeterAsset{MRID: e.Meter}, from: e.At, hasFrom: true}
		im.enterMeter(&s, 2, func() {
			if e.Serial != "" {
				s.meter.Serial = e.Serial
			}
			if e.Dials != 0 {
				s.meter.Dials = e.Dials
			}
		})
	}
	s := statement{install: cim.MeterInstallation{Meter: e.Meter, UsagePoint: e.UsagePoint, Start: e.At, First: e.First}}
	im.enterInstallation(&s, 2)
}

// Retire checks that a meter never comes back, from a time on, and returns that as an import. Where it is now it is taken out.
func (r *Registry) Retire(id string, at uint32, final cim.RegisterPair, reason string, o Options) *Import {
	im := NewImport(r, o)
	if wrong := checkMeterID(id); wrong != "" {
		im.wrong(Problem{Column: "meter", Value: id, Detail: wrong})
		return im
	}
	if wrong := r.heldBehind(id, at); wrong != "" {
		im.wrong(Problem{Column: "removed", Value: cim.Stamp(at), Detail: wrong})
		return im
	}
	_, place, ok := r.Place(id, at-1, Now)
	if ok && place.End == 0 {
		s := statement{install: cim.MeterInstallation{Meter: id, UsagePoint: place.UsagePoint, Start: place.Start, End: at, Last: final, Reason: reason}}
		im.enterInstallation(&s, 1)
	}
	s := statement{meter: cim.MeterAsset{MRID: id}, from: at, hasFrom: true}
	im.enterMeter(&s, 2, func() { s.meter.Stage = cim.StageRetired })
	im.checkTogether()
	return im
}

// heldBehind says what the registry knows of a meter behind a time at which it is to have gone for ever, "" if that is nothing.
func (r *Registry) heldBehind(id string, at uint32) string {
	if places := r.Places(id, Now); len(places) > 0 {
		switch last := places[len(places)-1]; {
		case last.Start >= at:
			return fmt.Sprintf("meter %s came to usage point %s at %s: want a time behind that", id, last.UsagePoint, cim.Stamp(last.Start))
		case last.End > at:
			return fmt.Sprintf("meter %s was taken out at %s: want that time or a later one", id, cim.Stamp(last.End))
		}
	}
	if versions := r.MeterVersions(id, Now); len(versions) > 0 && versions[len(versions)-1].From > at {
		return fmt.Sprintf("what the registry says of meter %s holds from %s on: want that time or a later one", id, cim.Stamp(versions[len(versions)-1].From))
	}
	return ""
}
