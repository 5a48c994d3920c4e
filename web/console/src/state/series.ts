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
}

export function slotOf(r: Reading): Slot {
  const missing = r.quality === 'missing' || r.import === null || r.import === undefined;
  return {
    start: Date.parse(r.start),
    end: Date.parse(r.end),
    wh: missing ? null : (r.import ?? null),
    quality: missing ? 'missing' : r.quality,
    register: r.register ?? null,
    missing: missing ? 1 : 0,
    count: 1,
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
      out.push({ start: at, end: at + lengthMs, wh: null, quality: 'missing', register: null, missing: 1, count: 1 });
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
      d = { start, end, wh: null, quality: 'missing', register: null, missing: 0, count: 0 };
      days.push(d);
    }
    d.count += s.count;
    d.missing += s.missing;
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
}

export function summary(slots: readonly Slot[]): Summary {
  const sum: Summary = { wh: 0, peak: null, meanW: null, missing: 0, count: 0 };
  let hours = 0;
  for (const s of slots) {
    sum.count += s.count;
    sum.missing += s.missing;
    if (s.wh === null) continue;
    sum.wh += s.wh;
    hours += (s.end - s.start) / 3_600_000;
    if (!sum.peak || s.wh > (sum.peak.wh ?? 0)) sum.peak = s;
  }
  if (hours > 0) sum.meanW = sum.wh / hours;
  return sum;
}
