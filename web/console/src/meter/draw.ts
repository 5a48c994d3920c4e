// The drawing of a load profile with uPlot.
import uPlot from 'uplot';
import { clock, day } from '../format/time';
import type { Slot } from '../state/series';

/** The colours of the page, for the canvas. */
export interface Look {
  ink: string;
  line: string;
  bar: string;
  partial: string; // of a day that lacks intervals
  gap: string;
  estimated: string;
  ground: string;
  font: string;
}

export interface Drawing {
  box: HTMLElement;
  look: Look;
  daily: boolean;
  unit: { name: string; size: number };
  slots: () => Slot[];
  onHover: (i: number | null) => void;
}

/** Slanted lines, for what is missing: a pattern is seen without colour too. */
function hatch(u: uPlot, look: Look): CanvasPattern | string {
  const size = Math.round(7 * devicePixelRatio);
  const tile = document.createElement('canvas');
  tile.width = tile.height = size;
  const c = tile.getContext('2d');
  if (!c) return look.gap;
  c.strokeStyle = look.gap;
  c.lineWidth = 1.1 * devicePixelRatio;
  for (const shift of [-size, 0, size]) {
    c.beginPath();
    c.moveTo(shift, size);
    c.lineTo(shift + size, 0);
    c.stroke();
  }
  return u.ctx.createPattern(tile, 'repeat') ?? look.gap;
}

/** Neighbouring gaps as one span, [from, to) ms. */
export function gaps(slots: readonly Slot[]): { from: number; to: number }[] {
  const out: { from: number; to: number }[] = [];
  for (const s of slots) {
    if (s.missing === 0 || s.wh !== null) continue;
    const last = out.at(-1);
    if (last && last.to === s.start) last.to = s.end;
    else out.push({ from: s.start, to: s.end });
  }
  return out;
}

export function draw(d: Drawing): uPlot {
  const { look, daily } = d;
  const range = (): [number, number] => {
    const all = d.slots();
    return all.length > 0 ? [all[0]!.start / 1000, all.at(-1)!.end / 1000] : [0, 1];
  };
  const index = (seconds: number): number | null => {
    const i = d.slots().findIndex((s) => s.start / 1000 <= seconds && seconds < s.end / 1000);
    return i < 0 ? null : i;
  };
  const under = (u: uPlot) => {
    const c = u.ctx;
    const { top, height } = u.bbox;
    const x = (ms: number) => u.valToPos(ms / 1000, 'x', true);
    c.save();
    const spans = gaps(d.slots());
    if (spans.length > 0) {
      c.fillStyle = hatch(u, look);
      c.globalAlpha = 0.6;
      for (const g of spans) c.fillRect(x(g.from), top, Math.max(2, x(g.to) - x(g.from)), height);
    }
    c.restore();
  };
  const over = (u: uPlot) => {
    // A strip at the foot of what is not simply read: estimated or edited values, days that lack some.
    const c = u.ctx;
    const { top, height } = u.bbox;
    const strip = Math.round(3 * devicePixelRatio);
    c.save();
    for (const s of d.slots()) {
      if (s.wh === null) continue;
      const colour = s.missing > 0 ? look.partial : s.quality === 'estimated' || s.quality === 'edited' ? look.estimated : '';
      if (!colour) continue;
      c.fillStyle = colour;
      const from = u.valToPos(s.start / 1000, 'x', true);
      c.fillRect(from, top + height - strip, u.valToPos(s.end / 1000, 'x', true) - from, strip);
    }
    c.restore();
  };
  const axis = { stroke: look.ink, font: look.font, ticks: { show: false } };
  const opts: uPlot.Options = {
    width: d.box.clientWidth || 600,
    height: d.box.clientHeight || 240,
    legend: { show: false },
    padding: [8, 22, 0, 0],
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: false, y: false },
      dataIdx: (u, _, closest, x) => index(x) ?? (u.data[0].length ? closest : 0),
    },
    scales: {
      x: { time: true, range },
      y: { range: (_u, _lo, hi) => [0, hi > 0 ? hi * 1.08 : 1] },
    },
    axes: [
      {
        ...axis,
        space: daily ? 64 : 56,
        size: 28,
        grid: { show: false },
        values: (_u, splits) =>
          splits.map((s) => {
            const at = new Date(s * 1000);
            return daily || (at.getHours() === 0 && at.getMinutes() === 0) ? day(s * 1000) : clock(s * 1000);
          }),
      },
      {
        ...axis,
        size: 46,
        space: 36,
        grid: { stroke: look.line, width: 1 },
        values: (_u, splits) => splits.map((v) => (d.unit.size > 1 && !daily && splits.some((x) => x % 1 !== 0) ? v.toFixed(1) : String(Number(v.toFixed(2))))),
      },
    ],
    series: [
      {},
      {
        fill: look.bar,
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars!({ align: 1, size: [1, Infinity, 1], gap: 1 }),
      },
    ],
    hooks: {
      drawClear: [under],
      draw: [over],
      setCursor: [
        (u) => {
          const { left, idx } = u.cursor;
          d.onHover(left === undefined || left < 0 || idx === null || idx === undefined ? null : index(u.posToVal(left, 'x')));
        },
      ],
    },
  };
  return new uPlot(opts, [[], []], d.box);
}
