package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress shows how far a long work is: a bar that is redrawn on a terminal, a line every few seconds elsewhere.
type progress struct {
	w        io.Writer
	title    string
	tty      bool
	width    int
	start    time.Time
	lastLine time.Time
	drawn    bool
}

func newProgress(w io.Writer, title string) *progress {
	width, tty := terminal(w)
	return &progress{w: w, title: title, tty: tty, width: width, start: time.Now()}
}

// update shows done of total; note stands behind the numbers.
func (p *progress) update(done, total int64, note string) {
	now := time.Now()
	if !p.tty {
		if now.Sub(p.lastLine) < 5*time.Second {
			return
		}
		p.lastLine = now
	}
	share := 0.0
	if total > 0 {
		share = float64(done) / float64(total)
	}
	text := fmt.Sprintf("%s of %s  %5.1f %%  %s", thousands(done), thousands(total), floorPercent(share), note)
	if !p.tty {
		fmt.Fprintf(p.w, "%s: %s\n", p.title, strings.TrimSpace(text))
		return
	}
	room := min(p.width-len(p.title)-len(text)-6, 40)
	bar := ""
	if room >= 5 {
		full := int(share * float64(room))
		bar = strings.Repeat("█", full) + strings.Repeat("░", room-full) + "  "
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s  %s%s", p.title, bar, text)
	p.drawn = true
}

// finish ends the bar with a last line.
func (p *progress) finish(text string) {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	fmt.Fprintf(p.w, "%s: %s in %.1f s\n", p.title, text, time.Since(p.start).Seconds())
}

// clear takes an unfinished bar off the terminal.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// floorPercent never shows 100.0 before all is there.
func floorPercent(share float64) float64 {
	return float64(int(share*1000)) / 10
}
