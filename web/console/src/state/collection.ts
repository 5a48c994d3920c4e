// How the collection of missing intervals goes on: the rate over the last seconds and what it promises. It looks at what
// is missing, not at what came: live readings come too, and fill no gap.

export interface Sample {
  at: number; // ms, wall
  missing: number; // intervals
}

export const windowMs = 6_000;

export function addSample(samples: Sample[], missing: number, at: number): Sample[] {
  return [...samples.filter((s) => s.at > at - windowMs), { at, missing }];
}

/** Intervals per second by which the gap shrinks; 0 where it grows or nothing is known. */
export function collectionRate(samples: Sample[]): number {
  const a = samples[0];
  const b = samples.at(-1);
  if (!a || !b || b.at - a.at < 500) return 0;
  return Math.max(0, ((a.missing - b.missing) * 1000) / (b.at - a.at));
}

/** Seconds until nothing is missing at the rate, or null where no one can say. */
export function secondsLeft(missing: number, rate: number): number | null {
  return rate < 1 ? null : Math.ceil(missing / rate);
}
