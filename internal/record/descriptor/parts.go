package descriptor

import (
	"maps"
	"slices"
	"strconv"

	"github.com/wattbus/wattbus/internal/format"
)

// scope is what is of one instant, the message or a repetition: which field tells what of it.
type scope struct {
	repeated bool
	told     map[target]string
}

// once refuses a second field for what there is one of at an instant, and intervals that are in no repetition. Registers and powers add up.
func (c *compiler) once(f *field, t target) {
	first, twice := c.scope.told[t]
	c.scope.told[t] = f.Name
	switch t {
	case toNothing, toImport, toExport, toPower, toPowerExport:
		return
	case toIntervalImport, toIntervalExport:
		if !c.scope.repeated {
			c.bad(f.Name, "is", "an interval stands in a repetition with `step`, and `start` or `end`")
		}
	}
	switch {
	case twice && t == toTime:
		c.bad(f.Name, "is", "field %s is the time, too: give one of them `is: none`", first)
	case twice:
		c.bad(f.Name, "is", "field %s means the same, and there is room for one", first)
	}
}

func (c *compiler) repeat(f *field, o op, depth int) op {
	o.kind, o.size = kindRepeat, -1
	m := o.more
	if depth >= maxDepth {
		c.bad(f.Name, "repeat", "more than %d within each other", maxDepth)
		return o
	}
	if n, err := strconv.Atoi(f.Repeat); err == nil {
		if n < 1 || n > maxRepeat {
			c.bad(f.Name, "repeat", "%d, want 1 to %d", n, maxRepeat)
		}
		m.fixed = n
	} else {
		m.countSlot = c.slot(f.Name, "repeat", f.Repeat)
	}
	if !format.Divides(f.Step) {
		c.bad(f.Name, "step", "%d minutes, want a divisor of a day", f.Step)
	}
	m.step = uint16(f.Step)
	if f.Start != "" && f.End != "" {
		c.bad(f.Name, "start", "and `end`: want one of them")
	}
	m.start, m.end, m.newest = c.slot(f.Name, "start", f.Start), c.slot(f.Name, "end", f.End), f.Newest
	outer := c.scope
	c.scope = &scope{true, map[target]string{}}
	ops, length := c.list(f.Fields, depth+1, map[string]bool{})
	for t := range c.scope.told {
		switch t {
		case toNothing:
		case toIntervalImport, toIntervalExport:
			if m.profiles[t-toIntervalImport] = true; m.step == 0 || m.start < 0 && m.end < 0 {
				c.bad(f.Name, "repeat", "intervals need `step`, and `start` or `end`")
			}
		default:
			m.measures = true
		}
	}
	c.scope = outer
	if len(ops) == 0 {
		c.bad(f.Name, "fields", "there are none")
	}
	m.ops = ops
	if length > 0 && m.fixed > 0 {
		o.size = int32(min(length*m.fixed, maxSize+1))
	}
	return o
}

// variants compiles cases, whose fields stand beside those around them.
func (c *compiler) variants(f *field, o op, depth int, names map[string]bool) op {
	o.kind, o.size = kindVariants, -1
	if depth >= maxDepth {
		c.bad(f.Name, "cases", "more than %d within each other", maxDepth)
		return o
	}
	o.more.bySlot = c.slot(f.Name, "by", f.By)
	if f.By == "" || len(f.Cases) == 0 {
		c.bad(f.Name, "cases", "want `by`, the field that selects, and cases")
	}
	before, told := maps.Clone(names), c.scope.told
	all := maps.Clone(told)
	for _, v := range f.Cases {
		c.scope.told = maps.Clone(told)
		delete(c.scope.told, toTime) // a case may know better than what stands before all
		when, err := strconv.ParseUint(v.When, 0, 64)
		if err != nil || slices.ContainsFunc(o.more.variants, func(x variantOp) bool { return x.when == when }) {
			c.bad(f.Name, "when", "%q, want a whole number, each once", v.When)
		}
		here := maps.Clone(before)
		ops, _ := c.list(v.Fields, depth+1, here)
		maps.Copy(names, here)
		maps.Copy(all, c.scope.told)
		o.more.variants = append(o.more.variants, variantOp{when, ops})
	}
	c.scope.told = all
	return o
}
