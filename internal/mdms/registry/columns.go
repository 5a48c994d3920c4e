package registry

import (
	"strconv"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
)

// statement is what one line says.
type statement struct {
	from    uint32
	hasFrom bool
	point   cim.UsagePoint
	meter   cim.MeterAsset
	install cim.MeterInstallation
}

// group is what a column is about.
type group uint8

const (
	aboutKeys group = iota
	aboutPoint
	aboutMeter
	aboutInstallation
)

// Column is a column of the CSV form.
type Column struct {
	Name  string
	Doc   string
	group group
	// set takes a cell over, "" being the empty one, and says what is wrong with it.
	set func(*statement, string) string
	get func(*statement) string
}

func text(name, doc string, g group, at func(*statement) *string) Column {
	return Column{Name: name, Doc: doc, group: g, get: func(s *statement) string { return *at(s) }, set: func(s *statement, v string) string {
		wrong := checkText(v)
		if wrong == "" {
			*at(s) = strings.Clone(v)
		}
		return wrong
	}}
}

func yesNo(name, doc string, g group, at func(*statement) *bool) Column {
	return Column{Name: name, Doc: doc, group: g,
		get: func(s *statement) string {
			if *at(s) {
				return "yes"
			}
			return "no"
		},
		set: func(s *statement, v string) (wrong string) { *at(s), wrong = parseBool(v); return wrong }}
}

func stamp(name, doc string, at func(*statement) *uint32) Column {
	return Column{Name: name, Doc: doc, group: aboutInstallation,
		get: func(s *statement) string {
			if *at(s) == 0 {
				return ""
			}
			return cim.Stamp(*at(s))
		},
		set: func(s *statement, v string) (wrong string) {
			if v != "" {
				if *at(s), wrong = parseTime(v); wrong == "" && *at(s) == 0 {
					wrong = "want a time behind 1970-01-01T00:00:00Z"
				}
			}
			return wrong
		}}
}

func register(name, doc string, at func(*statement) (*uint64, *bool)) Column {
	return Column{Name: name, Doc: doc, group: aboutInstallation,
		get: func(s *statement) string {
			if v, has := at(s); *has {
				return strconv.FormatUint(*v, 10)
			}
			return ""
		},
		set: func(s *statement, v string) (wrong string) {
			if v == "" {
				return ""
			}
			to, has := at(s)
			n, wrong := parseRegister(v)
			if wrong == "" {
				*to, *has = n, true
			}
			return wrong
		}}
}

// Columns are those of the CSV form, in the order of an export.
func Columns() []Column {
	return []Column{
		{Name: "usage_point", Doc: "id of the usage point; empty on a line about a meter alone", group: aboutKeys,
			get: func(s *statement) string { return s.point.MRID },
			set: func(s *statement, v string) (wrong string) {
				if wrong = CheckID(v); wrong == "" {
					s.point.MRID = strings.Clone(v)
					s.install.UsagePoint = s.point.MRID
				}
				return wrong
			}},
		{Name: "valid_from", Doc: "since when the line holds, RFC 3339; empty: ever since for what is new, from now on for a change", group: aboutKeys,
			get: func(s *statement) string {
				if !s.hasFrom {
					return ""
				}
				return cim.Stamp(s.from)
			},
			set: func(s *statement, v string) (wrong string) {
				s.from, wrong = parseTime(v)
				s.hasFrom = wrong == ""
				return wrong
			}},
		{Name: "time_zone", Doc: "IANA name, such as Europe/Zurich; empty: UTC", group: aboutPoint,
			get: func(s *statement) string { return s.point.TimeZone },
			set: func(s *statement, v string) string {
				if _, err := Location(v); err != nil {
					return "no such time zone: want a name such as Europe/Zurich or Asia/Tokyo"
				}
				s.point.TimeZone = strings.Clone(v)
				return ""
			}},
		text("substation", "", aboutPoint, func(s *statement) *string { return &s.point.Substation }),
		text("feeder", "", aboutPoint, func(s *statement) *string { return &s.point.Feeder }),
		text("lateral", "", aboutPoint, func(s *statement) *string { return &s.point.Lateral }),
		text("transformer", "", aboutPoint, func(s *statement) *string { return &s.point.Transformer }),
		{Name: "phases", Doc: "letters of ABCN; empty: not known", group: aboutPoint,
			get: func(s *statement) string { return s.point.Phases.String() },
			set: func(s *statement, v string) string {
				p, ok := cim.ParsePhases(v)
				if s.point.Phases = p; !ok {
					return "want letters of A B C N in this order, such as A, BN or ABCN"
				}
				return ""
			}},
		{Name: "fuse_a", Doc: "rating of the fuse per phase, A, at most one digit behind the point; empty: not known", group: aboutPoint,
			get: func(s *statement) string { return known(uint64(s.point.Fuse), 1) },
			set: func(s *statement, v string) string {
				n, wrong := optional(v, 1, 1, 1<<16-1)
				s.point.Fuse = uint16(n)
				return wrong
			}},
		{Name: "factor", Doc: "what readings are multiplied by, for transformers of current and voltage; empty: 1", group: aboutPoint,
			get: func(s *statement) string { return formatDecimal(uint64(s.point.Factor), 3) },
			set: func(s *statement, v string) string {
				n, wrong := optional(v, 3, 1, 1<<32-1)
				if n == 0 {
					n = cim.FactorOne
				}
				s.point.Factor = uint32(n)
				return wrong
			}},
		text("tariff", "", aboutPoint, func(s *statement) *string { return &s.point.Tariff }),
		yesNo("pv", "yes where there is generation; empty: no", aboutPoint, func(s *statement) *bool { return &s.point.PV }),
		yesNo("protected", "yes where supply must not be cut; empty: no", aboutPoint, func(s *statement) *bool { return &s.point.Protected }),
		{Name: "contract", Doc: "active, vacant or disconnected; empty: active", group: aboutPoint,
			get: func(s *statement) string { return s.point.Contract.String() },
			set: func(s *statement, v string) string {
				c, ok := cim.ParseContract(v)
				if s.point.Contract = c; !ok && v != "" {
					return "want active, vacant or disconnected"
				}
				return ""
			}},
		text("customer", "reference of the customer's account", aboutPoint, func(s *statement) *string { return &s.point.Customer }),
		{Name: "tags", Doc: "words with ; between them", group: aboutPoint,
			get: func(s *statement) string { return strings.Join(s.point.Tags, ";") },
			set: func(s *statement, v string) (wrong string) {
				s.point.Tags, wrong = parseTags(strings.Clone(v))
				return wrong
			}},
		{Name: "meter", Doc: "id of the meter on the bus; empty on a line about a usage point alone", group: aboutKeys,
			get: func(s *statement) string { return s.meter.MRID },
			set: func(s *statement, v string) (wrong string) {
				if wrong = checkMeterID(v); wrong == "" {
					s.meter.MRID = strings.Clone(v)
					s.install.Meter = s.meter.MRID
				}
				return wrong
			}},
		text("serial", "serial number", aboutMeter, func(s *statement) *string { return &s.meter.Serial }),
		text("manufacturer", "", aboutMeter, func(s *statement) *string { return &s.meter.Manufacturer }),
		text("model", "", aboutMeter, func(s *statement) *string { return &s.meter.Model }),
		text("firmware", "", aboutMeter, func(s *statement) *string { return &s.meter.Firmware }),
		{Name: "dials", Doc: "digits before the registers roll over, kWh, 1 to 12; empty: not known, and registers behind a roll-over are too high until the meter tells its next one", group: aboutMeter,
			get: func(s *statement) string { return known(uint64(s.meter.Dials), 0) },
			set: func(s *statement, v string) string {
				n, wrong := optional(v, 0, 1, 12)
				s.meter.Dials = uint8(n)
				return wrong
			}},
		{Name: "key_version", Doc: "of the keys in the meter, 1 to 65535; empty: none", group: aboutMeter,
			get: func(s *statement) string { return known(uint64(s.meter.KeyVersion), 0) },
			set: func(s *statement, v string) string {
				n, wrong := optional(v, 0, 1, 1<<16-1)
				s.meter.KeyVersion = uint16(n)
				return wrong
			}},
		{Name: "stage", Doc: "manufactured, in-stock or retired; empty for one in use", group: aboutMeter,
			get: func(s *statement) string { return s.meter.Stage.String() },
			set: func(s *statement, v string) string {
				g, ok := cim.ParseStage(v)
				if s.meter.Stage = g; !ok {
					return "want manufactured, in-stock or retired, or nothing for a meter in use"
				}
				return ""
			}},
		stamp("installed", "when the meter was put in, RFC 3339", func(s *statement) *uint32 { return &s.install.Start }),
		register("install_import_wh", "its import register then, Wh", func(s *statement) (*uint64, *bool) { return &s.install.First.Import, &s.install.First.HasImport }),
		register("install_export_wh", "its export register then, Wh", func(s *statement) (*uint64, *bool) { return &s.install.First.Export, &s.install.First.HasExport }),
		stamp("removed", "when it was taken out; the time of installation takes that back", func(s *statement) *uint32 { return &s.install.End }),
		register("remove_import_wh", "its import register then, Wh", func(s *statement) (*uint64, *bool) { return &s.install.Last.Import, &s.install.Last.HasImport }),
		register("remove_export_wh", "its export register then, Wh", func(s *statement) (*uint64, *bool) { return &s.install.Last.Export, &s.install.Last.HasExport }),
		text("reason", "why it was taken out", aboutInstallation, func(s *statement) *string { return &s.install.Reason }),
	}
}

// optional reads a number that may be left out, 0 then.
func optional(v string, digits int, least, most uint64) (uint64, string) {
	if v == "" {
		return 0, ""
	}
	return parseDecimal(v, digits, least, most)
}

// known writes a number, nothing for 0.
func known(n uint64, digits int) string {
	switch {
	case n == 0:
		return ""
	case digits == 0:
		return strconv.FormatUint(n, 10)
	}
	return formatDecimal(n, digits)
}
