package store

import (
	"fmt"
	"strconv"
	"strings"
)

// FormatArrivals writes arrivals as backends keep them: a line for each deadline with its name, those in time and those late.
func FormatArrivals(as []Arrivals) (string, error) {
	var b strings.Builder
	for _, a := range as {
		if a.Deadline == "" || strings.ContainsAny(a.Deadline, " \n") {
			return "", fmt.Errorf("arrivals: %.60q is no name of a deadline", a.Deadline)
		}
		fmt.Fprintf(&b, "%s %d %d\n", a.Deadline, a.InTime, a.Late)
	}
	return b.String(), nil
}

// ParseArrivals reads what FormatArrivals wrote.
func ParseArrivals(s string) ([]Arrivals, error) {
	var out []Arrivals
	for line := range strings.Lines(s) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(f) != 3 || f[0] == "" {
			return nil, fmt.Errorf("arrivals: %.60q has %d fields, want a name and two numbers", line, len(f))
		}
		in, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("arrivals of %.60s: %w", f[0], err)
		}
		late, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("arrivals of %.60s: %w", f[0], err)
		}
		out = append(out, Arrivals{Deadline: f[0], InTime: in, Late: late})
	}
	return out, nil
}
