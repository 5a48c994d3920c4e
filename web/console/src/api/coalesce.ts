import type { CloudEvent } from './shapes';

/** The middle of wattbus.<name>.v1. */
export function eventName(type: string): string {
  return type.split('.')[1] ?? '';
}

/**
 * Of several events about one thing only the newest matters to a page, because each carries the whole thing. Readings are
 * all kept: each is an interval of its own. The order of what is left is the order of arrival.
 */
export function coalesce(events: CloudEvent[]): CloudEvent[] {
  const seen = new Set<string>();
  const kept: CloudEvent[] = [];
  for (let i = events.length - 1; i >= 0; i--) {
    const e = events[i]!;
    const name = eventName(e.type);
    if (name !== 'reading' && name !== 'device') {
      // A command's or an outage's subject may be the device: its own id is in the data.
      const key = `${name} ${(e.data as { id?: string } | null)?.id ?? e.subject}`;
      if (seen.has(key)) continue;
      seen.add(key);
    }
    kept.push(e);
  }
  return kept.reverse();
}
