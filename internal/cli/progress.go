package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
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

	whole     bool   // the rate is that of all the work, whatever its notes
	part      string // of the work, by its note; its rate is its own
	partBegan time.Time
	partFrom  int64
}

func newProgress(w io.Writer, title string) *progress {
	width, tty := terminal(w)
	now := time.Now()
	return &progress{w: w, title: title, tty: tty, width: width, start: now, lastLine: now}
}

// update shows done of total, 0 for not known; note stands behind the numbers.
func (p *progress) update(done, total int64, note string) {
	now := time.Now()
	if !p.tty {
		if now.Sub(p.lastLine) < 5*time.Second {
			return
		}
		p.lastLine = now
	}
	share := 0.0
	text := thousands(done) + "  " + note
	switch {
	case total > 0:
		share = float64(done) / float64(total)
		text = fmt.Sprintf("%s of %s  %5.1f %%  %s", thousands(done), thousands(total), floorPercent(share), note)
	case done == 0: // of what is not counted
		text = note
	}
	if pace := p.pace(now, done, total, note); pace != "" && !strings.Contains(note, "/s") {
		text += "  " + pace
	}
	if !p.tty {
		fmt.Fprintf(p.w, "%s: %s\n", p.title, strings.TrimSpace(text))
		return
	}
	room := min(p.width-len(p.title)-len(text)-6, 40)
	bar := ""
	if room >= 5 && total > 0 {
		full := int(share * float64(room))
		bar = strings.Repeat("█", full) + strings.Repeat("░", room-full) + "  "
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s  %s%s", p.title, bar, text)
	p.drawn = true
}

// pace is the rate of the present part and the time that it still takes, "" while nobody knows.
func (p *progress) pace(now time.Time, done, total int64, note string) string {
	if p.partBegan.IsZero() || note != p.part && !p.whole || done < p.partFrom {
		p.part, p.partBegan, p.partFrom = note, now, done
		return ""
	}
	took := now.Sub(p.partBegan).Seconds()
	if took < 1 || done <= p.partFrom {
		return ""
	}
	rate := float64(done-p.partFrom) / took
	text := rateText(rate)
	if left := float64(total-done) / rate; left >= 1 && left < 1e6 { // none where the total is not known
		text += "  " + time.Duration(left*float64(time.Second)).Round(time.Second).String() + " left"
	}
	return text
}

// rateText is a rate by the second or, where it is slow, by the minute.
func rateText(rate float64) string {
	switch {
	case rate < 1:
		return fmt.Sprintf("%.1f/min", 60*rate)
	case rate < 10:
		return fmt.Sprintf("%.1f/s", rate)
	}
	return thousands(int64(rate)) + "/s"
}

// during shows what done says, of total, until f has ended.
func (p *progress) during(note string, total int64, done func() int64, f func() error) error {
	return p.telling(func() (int64, int64, string) { return done(), total, note }, f)
}

// telling shows what tell says (done, total and a note) until f has ended.
func (p *progress) telling(tell func() (int64, int64, string), f func() error) error {
	end := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(250 * time.Millisecond):
				p.update(tell())
			}
		}
	})
	err := f()
	close(end)
	shown.Wait()
	return err
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
