package registry

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones also where the machine has none
	"unicode"
	"unicode/utf8"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// Zones are names of time zones that exist, remembered.
type zones struct {
	mu    sync.Mutex
	known map[string]*time.Location
}

var loaded zones

// maxZones bounds what is remembered; there are some 600 names.
const maxZones = 2000

// Location returns a time zone; "" is UTC.
func Location(zone string) (*time.Location, error) {
	if zone == "" {
		return time.UTC, nil
	}
	loaded.mu.Lock()
	defer loaded.mu.Unlock()
	if l := loaded.known[zone]; l != nil {
		return l, nil
	}
	l, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, fmt.Errorf("time zone %q is not known", zone)
	}
	if loaded.known == nil || len(loaded.known) >= maxZones {
		loaded.known = map[string]*time.Location{}
	}
	loaded.known[zone] = l
	return l, nil
}

// maxText is how long a name or a reference may be, characters.
const maxText = 64

// checkText refuses what would not come back as it was, or cannot be shown.
func checkText(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "it is no UTF-8: save the file as UTF-8"
	case utf8.RuneCountInString(s) > maxText || len(s) > maxName:
		return fmt.Sprintf("it has %d characters, want at most %d", utf8.RuneCountInString(s), maxText)
	case strings.TrimSpace(s) != s:
		return "it begins or ends with a space: take that off"
	case strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || c == utf8.RuneError }):
		return "it has a control character in it: take that out"
	}
	return ""
}

// CheckID says what is wrong with the id of a usage point, "" if nothing is.
func CheckID(s string) string {
	if s == "" {
		return "it is empty: every usage point needs an id"
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || strings.IndexByte(`,;"\?#%&`, c) >= 0 {
			return "want 1 to 64 letters, digits and signs such as - _ . : /"
		}
	}
	if len(s) > maxText {
		return "want 1 to 64 letters, digits and signs such as - _ . : /"
	}
	return ""
}

func checkMeterID(s string) string {
	if err := topic.CheckID(s); err != nil {
		return "want the meter's id on the bus: 1 to 23 of A-Z a-z 0-9 - _ . that begin with a letter or digit"
	}
	return ""
}

func parseTime(s string) (uint32, string) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Nanosecond() != 0 {
		return 0, "want an RFC 3339 time with its zone, such as 2026-11-28T10:00:00Z or 2026-11-28T11:00:00+01:00"
	}
	if t.Unix() < 0 || t.Unix() >= math.MaxUint32-86400 {
		return 0, "want a time from 1970 to 2106"
	}
	return uint32(t.Unix()), ""
}

// parseDecimal reads a number with up to the given digits behind the point, as a whole number of its last digit.
func parseDecimal(s string, digits int, least, most uint64) (uint64, string) {
	whole, part, dot := strings.Cut(s, ".")
	ok := whole != "" && len(whole) <= 9 && len(part) <= digits && (!dot || part != "")
	n := uint64(0)
	for _, digit := range []byte(whole + part) {
		ok = ok && digit >= '0' && digit <= '9'
		n = 10*n + uint64(digit-'0')
	}
	for range digits - min(len(part), digits) {
		n *= 10
	}
	if ok && n >= least && n <= most {
		return n, ""
	}
	behind := "in whole digits"
	if digits == 1 {
		behind = "with a point and at most one digit behind it"
	} else if digits > 1 {
		behind = fmt.Sprintf("with a point and at most %d digits behind it", digits)
	}
	return 0, fmt.Sprintf("want a number from %s to %s %s", formatDecimal(least, digits), formatDecimal(most, digits), behind)
}

func formatDecimal(n uint64, digits int) string {
	s := fmt.Sprintf("%0*d", digits+1, n)
	s = s[:len(s)-digits] + "." + s[len(s)-digits:]
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// maxRegister is the highest register that a meter can tell, Wh (docs/contract.md, section 6: what JSON numbers hold).
const maxRegister = 1<<53 - 1

func parseRegister(s string) (uint64, string) {
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, "want a register in whole Wh, digits only"
	case err != nil || n > maxRegister:
		return 0, fmt.Sprintf("want a register of at most %d Wh", uint64(maxRegister))
	}
	return n, ""
}

func parseBool(s string) (bool, string) {
	switch s {
	case "", "no", "false", "0":
		return false, ""
	case "yes", "true", "1":
		return true, ""
	}
	return false, "want yes or no"
}

func parseTags(s string) ([]string, string) {
	if s == "" {
		return nil, ""
	}
	tags := strings.Split(s, ";")
	for i, t := range tags {
		tags[i] = strings.TrimSpace(t)
		if tags[i] == "" {
			return nil, "one of the tags is empty: want words with ; between them"
		}
		if wrong := checkText(tags[i]); wrong != "" {
			return nil, wrong
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if len(strings.Join(tags, ";")) > maxName {
		return nil, fmt.Sprintf("the tags are longer than %d bytes together", maxName)
	}
	return tags, ""
}

// checkInstallation says what contradicts itself in an installation: which column, its value, and what to do.
func checkInstallation(i *cim.MeterInstallation, dials uint8) (column, value, wrong string) {
	switch {
	case i.End != 0 && i.End < i.Start:
		return "removed", cim.Stamp(i.End), "is before the meter was installed, " + cim.Stamp(i.Start)
	case i.End == 0 && i.Last.HasImport:
		return "remove_import_wh", fmt.Sprint(i.Last.Import), "there is a final register but no time of removal: fill in removed"
	case i.End == 0 && i.Last.HasExport:
		return "remove_export_wh", fmt.Sprint(i.Last.Export), "there is a final register but no time of removal: fill in removed"
	case i.End == i.Start && i.End != 0:
		return "", "", ""
	}
	for _, r := range []struct {
		column string
		has    bool
		wh     uint64
	}{{"install_import_wh", i.First.HasImport, i.First.Import}, {"install_export_wh", i.First.HasExport, i.First.Export},
		{"remove_import_wh", i.Last.HasImport, i.Last.Import}, {"remove_export_wh", i.Last.HasExport, i.Last.Export}} {
		if span := rollsAt(dials); r.has && span != 0 && r.wh >= span {
			return r.column, fmt.Sprint(r.wh), fmt.Sprintf("is more than the meter's %d dials can show, %d: read it again, in Wh, or correct the dials", dials, span-1)
		}
	}
	switch {
	case i.First.HasImport && i.Last.HasImport && fell(i.First.Import, i.Last.Import, dials):
		return "remove_import_wh", fmt.Sprint(i.Last.Import), fmt.Sprintf("is below the first register, %d; of a meter that rolled over the dials must be known", i.First.Import)
	case i.First.HasExport && i.Last.HasExport && fell(i.First.Export, i.Last.Export, dials):
		return "remove_export_wh", fmt.Sprint(i.Last.Export), fmt.Sprintf("is below the first register, %d; of a meter that rolled over the dials must be known", i.First.Export)
	}
	if i.End == 0 {
		return "", "", ""
	}
	switch most := mostBetween(i.Start, i.End); {
	case i.First.HasImport && i.Last.HasImport && advance(i.First.Import, i.Last.Import, dials) > most:
		return "remove_import_wh", fmt.Sprint(i.Last.Import), tooHigh("the first register", i.First.Import, i.Start, i.End, most)
	case i.First.HasExport && i.Last.HasExport && advance(i.First.Export, i.Last.Export, dials) > most:
		return "remove_export_wh", fmt.Sprint(i.Last.Export), tooHigh("the first register", i.First.Export, i.Start, i.End, most)
	}
	return "", "", ""
}

// mostBetween is the most that can pass a meter between two times, Wh, with a minute on top for clocks that are not exact.
func mostBetween(from, to uint32) uint64 { return record.MaxEnergy(to-from) + record.MaxEnergy(60) }

func tooHigh(what string, was uint64, from, to uint32, most uint64) string {
	return fmt.Sprintf("is too far above %s, %d at %s: at most %d Wh can have passed until %s; read it again, in Wh", what, was, cim.Stamp(from), most, cim.Stamp(to))
}

// advance is by how much a register grew, over a roll-over if it fell.
func advance(first, last uint64, dials uint8) uint64 {
	if last < first {
		last += rollsAt(dials)
	}
	return last - first
}

// fell reports whether a register went down other than by rolling over, which is believed up to half of its range.
func fell(first, last uint64, dials uint8) bool {
	if last >= first {
		return false
	}
	span := rollsAt(dials)
	return first >= span || last+span-first > span/2
}

// rollsAt is where the registers of a meter with so many dials, kWh, begin again at 0, in Wh; 0: they do not.
func rollsAt(dials uint8) uint64 {
	if dials == 0 || dials > 12 {
		return 0
	}
	span := uint64(1000)
	for range dials {
		span *= 10
	}
	return span
}
