// A meter's intervals as the chart draws them.
import type { Reading } from '../api/shapes';

export interface Slot {
  start: number; // ms since the epoch
  end: number;
  wh: number | null; // null: missing
  quality: string;
  register: number | null; // at the end, Wh
  missing: number; // intervals without a value in this slot: 0 or 1, more in a day
  count: number; // intervals in this slot
  marks: Marks;
}

/** How many intervals of a slot are not simply read and found good. */
export interface Marks {
  raw: number; // not judged yet
  suspect: number;
  estimated: number;
  edited: number;
}

const noMarks: Marks = { raw: 0, suspect: 0, estimated: 0, edited: 0 };
const suspectCodes = ['3.5.258', '3.6.0']; // a rule doubts it, or refuses it and nothing could be estimated (docs/vee.md)

/** What a value is, as one word: its quality, or suspect. */
export function qualityOf(r: Reading): string {
  if (r.quality === 'missing' || r.import === null || r.import === undefined) return 'missing';
  return r.quality === 'raw' && suspectCodes.includes(r.readingQuality ?? '') ? 'suspect' : r.quality;
}

export function slotOf(r: Reading): Slot {
  const quality = qualityOf(r);
  const missing = quality === 'missing';
  return {
    start: Date.parse(r.start),
    end: Date.parse(r.end),
    wh: missing ? null : (r.import ?? null),
    quality,
    register: r.register ?? null,
    missing: missing ? 1 : 0,
    count: 1,
    marks: quality in noMarks ? { ...noMarks, [quality]: 1 } : noMarks,
  };
}

/** The slots with one more, sorted by start; a value replaces a gap or an older value. */
export function putSlot(slots: readonly Slot[], s: Slot): Slot[] {
  const last = slots.at(-1);
  if (!last || s.start > last.start) return [...slots, s];
  const i = slots.findIndex((x) => x.start >= s.start);
  const out = [...slots];
  out.splice(i, out[i]?.start === s.start ? 1 : 0, s);
  return out;
}

/** Holes between slots become missing ones, so that a gap is seen and not drawn over. lengthMs is the interval's. */
export function fillGaps(slots: readonly Slot[], lengthMs: number, limit = 20_000): Slot[] {
  if (!(lengthMs > 0)) return [...slots];
  const out: Slot[] = [];
  for (const s of slots) {
    let at = out.at(-1)?.end ?? s.start;
    for (; at + lengthMs <= s.start && out.length < limit; at += lengthMs) {
      out.push({ start: at, end: at + lengthMs, wh: null, quality: 'missing', register: null, missing: 1, count: 1, marks: noMarks });
    }
    out.push(s);
  }
  return out;
}

/** Sums by local day. A day that lacks intervals has the sum of those it has. */
export function byDay(slots: readonly Slot[]): Slot[] {
  const days: Slot[] = [];
  for (const s of slots) {
    const at = new Date(s.start);
    const start = new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
    let d = days.at(-1);
    if (d?.start !== start) {
      const end = new Date(at.getFullYear(), at.getMonth(), at.getDate() + 1).getTime(); // 23 or 25 hours, twice a year
      d = { start, end, wh: null, quality: 'missing', register: null, missing: 0, count: 0, marks: { ...noMarks } };
      days.push(d);
    }
    d.count += s.count;
    d.missing += s.missing;
    for (const m of Object.keys(noMarks) as (keyof Marks)[]) d.marks[m] += s.marks[m];
    if (s.wh === null) continue;
    d.wh = (d.wh ?? 0) + s.wh;
    d.register = s.register;
    d.quality = d.quality === 'missing' || d.quality === s.quality ? s.quality : 'mixed';
  }
  return days;
}

export interface Summary {
  wh: number;
  peak: Slot | null; // the interval with the most
  meanW: number | null; // over the intervals that are there
  missing: number;
  count: number;
  marks: Marks;
}

/** The energy of the same slots so many days before, by the local clock; null where it is not known or not whole. */
export function before(slots: readonly Slot[], earlier: readonly Slot[], days: number): (number | null)[] {
  const known = new Map(earlier.filter((s) => s.missing === 0).map((s) => [s.start, s.wh]));
  return slots.map((s) => known.get(daysBefore(s.start, days)) ?? null);
}

/** The same time of day so many days before; twice a year that is not a whole number of 24 hours. */
export function daysBefore(ms: number, days: number): number {
  const at = new Date(ms);
  at.setDate(at.getDate() - days);
  return at.getTime();
}

export function summary(slots: readonly Slot[]): Summary {
  const sum: Summary = { wh: 0, peak: null, meanW: null, missing: 0, count: 0, marks: { ...noMarks } };
  let hours = 0;
  for (const s of slots) {
    sum.count += s.count;
    sum.missing += s.missing;
    for (const m of Object.keys(noMarks) as (keyof Marks)[]) sum.marks[m] += s.marks[m];
    if (s.wh === null) continue;
    sum.wh += s.wh;
    hours += (s.end - s.start) / 3_600_000;
    if (!sum.peak || s.wh > (sum.peak.wh ?? 0)) sum.peak = s;
  }
  if (hours > 0) sum.meanW = sum.wh / hours;
  return sum;
}
