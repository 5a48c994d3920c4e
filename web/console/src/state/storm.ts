// The timeline of a storm: how many meters were without supply at each step, and how many came back in it.
import type { Interruption } from '../api/shapes';

export interface Step {
  start: number; // ms
  out: number; // without supply at its end
  went: number; // in it
  back: number; // in it
}

/** Steps of the span [from, to). What was taken back, planned, or had its breaker open before counts for nothing. */
export function timeline(list: readonly Interruption[], from: number, to: number, steps: number): Step[] {
  const length = (to - from) / steps;
  if (!(length > 0)) return [];
  const out: Step[] = Array.from({ length: steps }, (_, i) => ({ start: from + i * length, out: 0, went: 0, back: 0 }));
  const at = (ms: number) => out[Math.floor((ms - from) / length)];
  for (const x of list) {
    if (x.retracted || x.planned || x.opened) continue;
    const went = at(Date.parse(x.start));
    if (went) went.went++;
    const back = x.end === null ? undefined : at(Date.parse(x.end));
    if (back) back.back++;
  }
  let sum = 0;
  for (const s of out) s.out = sum += s.went - s.back;
  return out;
}
