// The drawing of a load profile with uPlot.
import uPlot from 'uplot';
import { clock, day } from '../format/time';
import type { Marks, Slot } from '../state/series';

/** The colours of the page, for the canvas. */
export interface Look {
  ink: string;
  line: string;
  bar: string;
  partial: string; // of a day that lacks intervals
  gap: string;
  raw: string; // the bars of values that are not judged yet
  suspect: string;
  estimated: string;
  edited: string;
  earlier: string; // the line of what is compared with
  chosen: string;
  ground: string;
  font: string;
}

export interface Drawing {
  box: HTMLElement;
  look: Look;
  daily: boolean;
  unit: { name: string; size: number };
  slots: () => Slot[];
  earlier: () => (number | null)[]; // Wh for each slot; empty: nothing is compared
  chosen: () => number | null; // start of the slot that is explained, ms
  onHover: (i: number | null) => void;
  onPick: (i: number) => void;
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

/** What uPlot draws: starts in s, values, and those compared with. Steps go on to the next start, so the last one needs an end behind it. */
export function lines(slots: readonly Slot[], earlier: readonly (number | null | undefined)[], size: number): [number[], (number | null)[], (number | null)[]] {
  const scaled = (wh: number | null | undefined) => (wh === null || wh === undefined ? null : wh / size);
  const last = slots.at(-1);
  if (!last) return [[], [], []];
  return [
    [...slots.map((s) => s.start / 1000), last.end / 1000],
    [...slots.map((s) => scaled(s.wh)), null],
    [...slots.map((_, i) => scaled(earlier[i])), scaled(earlier[slots.length - 1])],
  ];
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
  // Each quality has a shape of its own, so that it is seen without colour too. The legend shows the same shapes.
  const mark = (c: CanvasRenderingContext2D, name: keyof Marks, x: number, y: number, r: number) => {
    c.beginPath();
    if (name === 'estimated') {
      c.moveTo(x, y - r);
      c.lineTo(x + r, y + r * 0.8);
      c.lineTo(x - r, y + r * 0.8);
    } else if (name === 'edited') {
      c.moveTo(x, y - r);
      c.lineTo(x + r, y);
      c.lineTo(x, y + r);
      c.lineTo(x - r, y);
    } else c.arc(x, y, r * 0.85, 0, 2 * Math.PI);
    c.closePath();
    c.fillStyle = look[name];
    c.strokeStyle = look.ground;
    c.lineWidth = devicePixelRatio;
    c.stroke();
    c.fill();
  };
  const over = (u: uPlot) => {
    const c = u.ctx;
    const { top, height } = u.bbox;
    const x = (ms: number) => u.valToPos(ms / 1000, 'x', true);
    const strip = Math.round(3 * devicePixelRatio);
    c.save();
    for (const s of d.slots()) {
      const [from, to] = [x(s.start), x(s.end)];
      if (s.start === d.chosen()) {
        c.strokeStyle = look.chosen;
        c.lineWidth = 2 * devicePixelRatio;
        c.strokeRect(from, top + devicePixelRatio, Math.max(3, to - from - devicePixelRatio), height - 2 * devicePixelRatio);
      }
      if (s.wh === null) continue;
      if (s.missing > 0) {
        c.fillStyle = look.partial;
        c.fillRect(from, top + height - strip, to - from, strip);
      }
      const r = Math.max(1.6 * devicePixelRatio, Math.min(5 * devicePixelRatio, (to - from) * 0.36));
      const kinds = (['suspect', 'estimated', 'edited'] as const).filter((k) => s.marks[k] > 0);
      kinds.forEach((k, i) => mark(c, k, (from + to) / 2, top + height - r * (1.6 + 2.4 * i) - (s.missing > 0 ? strip : 0), r));
    }
    c.restore();
  };
  const bars = uPlot.paths.bars!({
    align: 1,
    size: [1, Infinity, 1],
    gap: 1,
    disp: {
      fill: { unit: 3, values: () => d.slots().map((s) => (s.marks.raw > s.count / 2 ? look.raw : look.bar)) },
      stroke: { unit: 3, values: () => d.slots().map(() => 'transparent') },
    },
  });
  const axis = { stroke: look.ink, font: look.font, ticks: { show: false } };
  const opts: uPlot.Options = {
    width: d.box.clientWidth || 600,
    height: d.box.clientHeight || 240,
    legend: { show: false },
    padding: [8, 32, 0, 0], // a day at the right end has room
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: false, y: false },
      dataIdx: (u, _, closest, x) => index(x) ?? (u.data[0].length ? closest : 0),
    },
    scales: {
      x: { time: true, range },
      y: { range: (_u, _lo, hi) => [0, hi > 0 ? hi * 1.08 : 1] as [number, number] },
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
        paths: bars,
      },
      {
        stroke: look.earlier,
        width: 1.6,
        points: { show: false },
        paths: uPlot.paths.stepped!({ align: 1 }),
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
  const plot = new uPlot(opts, [[], [], []], d.box);
  plot.over.addEventListener('click', () => {
    const { left } = plot.cursor;
    const i = left === undefined || left < 0 ? null : index(plot.posToVal(left, 'x'));
    if (i !== null) d.onPick(i);
  });
  return plot;
}
