package storebench

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/store"
)

// verdictRows is how many verdicts go in a commit, as in the MDMS.
const verdictRows = 2000

// validate judges the sealed day of every meter by the built-in rules, and keeps the verdicts, while intervals come in.
func (b *bench) validate(ctx context.Context) error {
	rules := vee.Default()
	histories := b.histories()
	start, used := time.Now(), b.CPU()
	doubted := 0
	came, waits, err := b.meanwhile(ctx, func() error {
		c := &store.Commit{}
		n := int64(0)
		p := vee.Period{Start: b.today.day.Start(), Length: uint32(b.load.length) * 60}
		keep := func() error {
			err := b.commit(ctx, c)
			c = &store.Commit{}
			b.Progress("validate", n, int64(b.Meters))
			return err
		}
		for at := 0; at < b.Meters; at += verdictRows {
			// Read in pieces, as the MDMS has them: a commit inside of a long read would be kept in the write-ahead log.
			if err := b.Store.DayBlocks(ctx, store.DayQuery{Day: b.today.day, From: uint64(at), To: uint64(min(at+verdictRows, b.Meters))}, func(k *store.Block) error {
				v, err := verdict(rules, k, &p, &histories[int(k.Device)%len(histories)])
				if v.Doc != nil {
					doubted++
				}
				c.Verdicts = append(c.Verdicts, v)
				n++
				return err
			}); err != nil {
				return err
			}
			if err := keep(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	b.add(fmt.Sprintf("the day of %d meters validated (%d doubted), while %.0f intervals/s come in", b.Meters, doubted, float64(came)/took), took, "s")
	b.add("validated, with what came in meanwhile", (b.CPU()-used).Seconds()/float64(b.Meters)*1e6, "CPU s/million days")
	b.add("a commit of readings meanwhile, the longest", quantile(waits, 100), "ms")
	return nil
}

// histories are what is usual of each household up to the day.
func (b *bench) histories() []vee.History {
	out := make([]vee.History, len(b.today.wh))
	p := vee.Period{Length: uint32(b.load.length) * 60}
	for back := cim.Day(28); back > 0; back-- {
		c := b.load.day(b.today.day - back)
		p.Start = c.day.Start()
		for h := range out {
			p.Wh = signed(p.Wh[:0], c.wh[h])
			out[h].Add(&p, nil)
		}
	}
	return out
}

func signed(dst []int64, wh []uint32) []int64 {
	for _, v := range wh {
		if v == cim.NoValue {
			dst = append(dst, vee.None)
		} else {
			dst = append(dst, int64(v))
		}
	}
	return dst
}

func verdict(rules *vee.Rules, k *store.Block, p *vee.Period, h *vee.History) (store.Verdict, error) {
	p.Wh = signed(p.Wh[:0], k.Wh)
	found := rules.Validate(vee.Master{}, p, h)
	v := store.Verdict{Device: k.Device, Day: k.Day, Length: k.Length, Version: 1, Recorded: k.Recorded + 60, Quality: cim.Validated, Raw: k.Version, Rules: rules.ID()}
	var doc store.VerdictDoc
	for i := range k.Wh {
		if wh := k.Wh[i]; wh != cim.NoValue && !found.OK(i) {
			doc.Cells = append(doc.Cells, store.Cell{Slot: i, Quality: cim.Raw, Code: vee.QualitySuspect, Raw: &wh})
		}
	}
	if doc.Cells == nil {
		return v, nil
	}
	v.Quality = cim.Raw
	var err error
	v.Doc, err = json.Marshal(doc)
	return v, err
}
