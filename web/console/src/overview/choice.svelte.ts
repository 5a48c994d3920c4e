// Which meters are chosen: the query of the overview's address.
import { link } from '../state/route';
import { replace, route } from '../state/route.svelte';
import type { MeterFilter } from '../state/meters';

export function choice(): MeterFilter {
  const q = route().query;
  return { path: q.path ?? '', state: q.state ?? '', q: q.q ?? '' };
}

/** The address of another choice. */
export function choose(change: Partial<MeterFilter>): string {
  return link('', { ...choice(), ...change });
}

/** Chooses without an entry in the history. */
export function chooseNow(change: Partial<MeterFilter>): void {
  replace(choose(change));
}
