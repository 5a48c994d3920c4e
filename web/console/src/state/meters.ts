// The list of meters: a prefix of what the server has for the filter, in the order of ids, kept true by state events.
import type { Meter } from '../api/shapes';

export interface MeterFilter {
  path: string;
  state: string;
  q: string;
}

export function matches(f: MeterFilter, m: Meter): boolean {
  return (
    (!f.state || m.state === f.state) &&
    (!f.path || m.path === f.path || m.path.startsWith(`${f.path}/`)) &&
    (!f.q || m.id.toLowerCase().includes(f.q.toLowerCase()))
  );
}

/** The index of the id, or of where it belongs. Ids are ASCII and sorted by bytes, as the server does. */
export function find(rows: readonly Meter[], id: string): number {
  let lo = 0;
  let hi = rows.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (rows[mid]!.id < id) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** The rows with a page merged in; a newer answer replaces an older row. */
export function mergePage(rows: readonly Meter[], page: readonly Meter[]): Meter[] {
  const last = rows.at(-1);
  if (!last || (page[0] && page[0].id > last.id)) return [...rows, ...page];
  const out = [...rows];
  for (const m of page) put(out, m);
  return out;
}

function put(rows: Meter[], m: Meter): void {
  const i = find(rows, m.id);
  if (rows[i]?.id === m.id) rows[i] = m;
  else rows.splice(i, 0, m);
}

/**
 * The rows after changes. A meter that fits no longer leaves; one that fits now comes in if its place is inside what was
 * loaded (whole: everything was). Beyond that the next page will bring it.
 */
export function applyMeters(rows: readonly Meter[], filter: MeterFilter, whole: boolean, changed: readonly Meter[]): readonly Meter[] {
  let out: Meter[] | null = null;
  for (const m of changed) {
    const now = out ?? rows;
    const i = find(now, m.id);
    const there = now[i]?.id === m.id;
    const fits = matches(filter, m);
    if (!there && (!fits || (!whole && i === now.length))) continue;
    out ??= [...rows];
    if (there && !fits) out.splice(i, 1);
    else put(out, m);
  }
  return out ?? rows;
}

/** The rows to draw: those in view and some around. */
export function windowOf(scrollTop: number, height: number, rowHeight: number, total: number, around = 8): { from: number; to: number } {
  const from = Math.max(0, Math.min(total, Math.floor(scrollTop / rowHeight)) - around);
  const to = Math.min(total, Math.ceil((scrollTop + height) / rowHeight) + around);
  return { from, to: Math.max(from, to) };
}
