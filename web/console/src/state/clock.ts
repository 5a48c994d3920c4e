import type { Totals } from '../api/shapes';

/** The centre's business time when `elapsed` ms of wall time have gone by since the totals came, ms since the epoch. */
export function businessTime(t: Pick<Totals, 'time' | 'speed' | 'paused'>, elapsed: number): number {
  const at = Date.parse(t.time);
  return t.paused ? at : at + Math.max(0, elapsed) * t.speed;
}

/** ×60; nothing where time runs as everywhere. */
export function speedText(speed: number): string {
  return speed === 1 ? '' : `×${Number(speed.toFixed(2))}`;
}
