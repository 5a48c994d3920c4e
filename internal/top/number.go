package top

import (
	"fmt"
	"strings"
	"time"
)

// number writes 1067040 as 1,067,040.
func number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func rate(r float64) string {
	if r < 10 && r > 0 {
		return fmt.Sprintf("%.1f", r)
	}
	return number(int64(r + 0.5))
}

// short writes a time in at most 7 characters.
func short(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	case s < 1000*86400:
		return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
	}
	return fmt.Sprintf("%dd", s/86400)
}

func watts(w int64) string {
	f := float64(w)
	switch {
	case w >= 1e9 || w <= -1e9:
		return fmt.Sprintf("%.2f GW", f/1e9)
	case w >= 1e6 || w <= -1e6:
		return fmt.Sprintf("%.2f MW", f/1e6)
	}
	return fmt.Sprintf("%.1f kW", f/1e3)
}

func size(b int64) string {
	f := float64(b)
	for _, u := range []string{"B", "kB", "MB", "GB"} {
		if f < 1000 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + u
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1f TB", f)
}

// spark draws the last n values as blocks, against the largest of them.
func spark(values []float64, n int) string {
	values = values[max(0, len(values)-n):]
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	blocks := []rune("▁▂▃▄▅▆▇█")
	out := make([]rune, 0, len(values))
	for _, v := range values {
		i := 0
		if most > 0 {
			i = int(max(0, v) / most * float64(len(blocks)-1))
		}
		out = append(out, blocks[i])
	}
	return string(out)
}
