package tariff

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest calendar file, bytes.
const maxFile = 1 << 20

// forever is behind every date that can be written with four digits.
const forever = Date(2932897)

// Load reads a calendar file.
func Load(file string) (*Calendar, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("calendar %s: %w", file, err)
	}
	return Parse(file, text)
}

// Parse reads a calendar. Its error joins an *Error for each thing that is wrong, up to 20.
func Parse(file string, text []byte) (*Calendar, error) {
	if len(text) > maxFile {
		return nil, &Error{file, 1, "calendar", fmt.Sprintf("larger than %d bytes", maxFile)}
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &Error{file, 1, "calendar", "the file is empty; see examples/ for one to start from"}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if dec.Decode(new(yaml.Node)) == nil {
		return nil, &Error{file, 1, "calendar", "the file has several documents (---), want one"}
	}
	r := &reader{file: file}
	c := &Calendar{File: file, Sum: sha256.Sum256(text), To: forever, From: DateOf(0, 1, 1)}
	r.calendar(doc.Content[0], c)
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

func (r *reader) calendar(n *yaml.Node, c *Calendar) {
	top := r.mapping(n, "", 5, "name", "zone", "tou", "day-types", "periods", "seasons", "holidays", "demand", "valid")
	c.Name = r.name(top["name"], "name")
	if s, ok := r.text(top["zone"], "zone"); ok {
		z, err := LoadZone(s)
		if err != nil {
			r.fail(top["zone"].Line, "zone", "%v", err)
		}
		c.Zone = z
	}
	r.knowsTOU = r.sound(func() { r.tou(top["tou"], c) })
	r.valid(top["valid"], c)
	r.demands(top["demand"], c)
	r.knowsSeasons = r.sound(func() { r.seasons(top["seasons"], c) })
	r.holidays(top["holidays"], c)
	r.knowsTypes = r.sound(func() { r.dayTypes(top["day-types"], c) })
	r.periods(top["periods"], c)
}

func (r *reader) tou(n *yaml.Node, c *Calendar) {
	for i, t := range r.list(n, "tou") {
		field := fmt.Sprintf("tou[%d]", i)
		name := r.name(t, field)
		if name != "" && slices.Contains(c.TOU, name) {
			r.fail(t.Line, field, "%q stands there twice", name)
		}
		if name == "total" {
			r.fail(t.Line, field, "%q is the name of the sum of all, want another", name)
		}
		c.TOU = append(c.TOU, name)
	}
	if n != nil && (len(c.TOU) == 0 || len(c.TOU) > 63) {
		r.fail(n.Line, "tou", "%d names, want 1 to 63", len(c.TOU))
	}
}

func (r *reader) valid(n *yaml.Node, c *Calendar) {
	if n == nil {
		return
	}
	m := r.mapping(n, "valid", 0, "from", "to")
	for _, k := range []string{"from", "to"} {
		s, ok := r.text(m[k], "valid."+k)
		if !ok {
			continue
		}
		d, err := ParseDate(s)
		if err != nil {
			r.fail(m[k].Line, "valid."+k, "%v", err)
		} else if k == "from" {
			c.From = d
		} else {
			c.To = d
		}
	}
	if c.From >= c.To {
		r.fail(n.Line, "valid", "from %v to %v is no time; \"to\" is the day behind the last one", c.From, c.To)
	}
}

func (r *reader) demands(n *yaml.Node, c *Calendar) {
	for i, d := range r.list(n, "demand") {
		field := fmt.Sprintf("demand[%d]", i)
		m := r.mapping(d, field, 2, "name", "window", "sliding")
		out := Demand{Name: r.name(m["name"], field+".name")}
		if slices.ContainsFunc(c.Demands, func(e Demand) bool { return e.Name == out.Name }) {
			r.fail(d.Line, field+".name", "%q stands there twice", out.Name)
		}
		if s, ok := r.text(m["window"], field+".window"); ok {
			w, err := time.ParseDuration(s)
			if err != nil || w < time.Minute || w > 24*time.Hour || (24*time.Hour)%w != 0 || w%time.Minute != 0 {
				r.fail(m["window"].Line, field+".window", "%q, want whole minutes that divide a day, such as 15m, 30m or 1h", clip(s))
			}
			out.Window = int64(w / time.Second)
		}
		if s, ok := r.text(m["sliding"], field+".sliding"); ok {
			out.Sliding = s == "true"
			if s != "true" && s != "false" {
				r.fail(m["sliding"].Line, field+".sliding", "%q, want true or false", clip(s))
			}
		}
		c.Demands = append(c.Demands, out)
	}
}

func (r *reader) seasons(n *yaml.Node, c *Calendar) {
	before := r.count()
	if n == nil {
		c.seasons = []season{{name: "year", from: 101, to: 1231}}
		return
	}
	for i, s := range r.list(n, "seasons") {
		field := fmt.Sprintf("seasons[%d]", i)
		m := r.mapping(s, field, 3, "name", "from", "to")
		out := season{name: r.name(m["name"], field+".name")}
		if slices.ContainsFunc(c.seasons, func(e season) bool { return e.name == out.name }) {
			r.fail(s.Line, field+".name", "%q stands there twice", out.name)
		}
		for _, k := range []string{"from", "to"} {
			text, ok := r.text(m[k], field+"."+k)
			if !ok {
				continue
			}
			month, day, err := monthDay(text)
			if err != nil {
				r.fail(m[k].Line, field+"."+k, "%v", err)
			}
			if md := int(month)*100 + day; k == "from" {
				out.from = md
			} else {
				out.to = md
			}
		}
		c.seasons = append(c.seasons, out)
	}
	if r.count() > before {
		return
	}
	for d := DateOf(2024, 1, 1); d < DateOf(2025, 1, 1); d++ { // a leap year
		_, m, day := d.Civil()
		var in []string
		for _, s := range c.seasons {
			if s.holds(int(m)*100 + day) {
				in = append(in, s.name)
			}
		}
		switch md := d.String()[5:]; {
		case len(in) == 0:
			r.fail(n.Line, "seasons", "%s is in no season: each day of the year, 02-29 too, must be in one", md)
			return
		case len(in) > 1:
			r.fail(n.Line, "seasons", "%s is in %s: each day must be in one only; \"to\" is the last day itself", md, strings.Join(in, " and "))
			return
		}
	}
}

func (r *reader) holidays(n *yaml.Node, c *Calendar) {
	for i, h := range r.list(n, "holidays") {
		field := fmt.Sprintf("holidays[%d]", i)
		m := r.mapping(h, field, 1, "name", "date", "easter", "rule", "observed")
		out := holiday{}
		out.name, _ = r.text(m["name"], field+".name")
		kinds := 0
		for _, kind := range []struct {
			key   string
			parse func(string) (func(int) (Date, bool), error)
		}{{"date", dateRule}, {"easter", easterRule}, {"rule", weekdayRule}} {
			n := m[kind.key]
			if n == nil {
				continue
			}
			kinds++
			s, ok := r.text(n, field+"."+kind.key)
			if !ok {
				continue
			}
			rule, err := kind.parse(s)
			if err != nil {
				r.fail(n.Line, field+"."+kind.key, "%v", err)
			}
			out.rule = rule
		}
		if kinds != 1 {
			r.fail(h.Line, field, "want one of date, easter, rule; %d are there", kinds)
		}
		if s, ok := r.text(m["observed"], field+".observed"); ok {
			if out.observed = s; s != observedMonday && s != observedSunday && s != observedNearest {
				r.fail(m["observed"].Line, field+".observed", "%q, want %s, %s or %s", clip(s), observedMonday, observedSunday, observedNearest)
			}
		}
		c.holidays = append(c.holidays, out)
	}
}

func (r *reader) dayTypes(n *yaml.Node, c *Calendar) {
	before := r.count()
	names := append(weekdayNames(), "holiday")
	for i := range c.dayType {
		c.dayType[i] = -1
	}
	for i, t := range r.list(n, "day-types") {
		field := fmt.Sprintf("day-types[%d]", i)
		m := r.mapping(t, field, 2, "name", "days")
		name := r.name(m["name"], field+".name")
		if slices.Contains(c.types, name) {
			r.fail(t.Line, field+".name", "%q stands there twice", name)
		}
		c.types = append(c.types, name)
		for j, d := range r.list(m["days"], field+".days") {
			at := fmt.Sprintf("%s.days[%d]", field, j)
			s, _ := r.text(d, at)
			k := slices.Index(names, s)
			switch {
			case k < 0:
				r.fail(d.Line, at, "%q, want some of %s", clip(s), strings.Join(names, ", "))
			case c.dayType[k] >= 0:
				r.fail(d.Line, at, "%s is in %s and in %s: each day must be in one type only", s, c.types[c.dayType[k]], name)
			default:
				c.dayType[k] = i
			}
		}
	}
	if n == nil || r.count() > before {
		return
	}
	for k, t := range c.dayType {
		if t < 0 && (k != holidayType || len(c.holidays) > 0) {
			r.fail(n.Line, "day-types", "%s is in no day type: add it to the days of one", names[k])
		}
	}
}
