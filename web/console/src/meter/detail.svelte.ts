// One meter in full, live while its page is open.
import { get, problemOf } from '../api/http';
import type { CloudEvent, Meter, Page, Problem, Reading, ReadingEvent } from '../api/shapes';
import { centre } from '../state/centre.svelte';
import { fillGaps, putSlot, slotOf, type Slot } from '../state/series';

export type Span = 'day' | 'week' | 'all';

export const spanMs: Record<Span, number> = { day: 86_400_000, week: 7 * 86_400_000, all: Infinity };

export class MeterDetail {
  readonly id: string;
  meter = $state.raw<Meter | null>(null);
  problem = $state.raw<Problem | null>(null);
  slots = $state.raw<Slot[]>([]);
  slotsProblem = $state.raw<Problem | null>(null);
  slotsLoading = $state(false);
  fresh = $state(0); // grows with each reading that came live
  #span: Span = 'day';
  #back = 0; // whole spans before now
  #ask: AbortController | null = null;
  #ends: (() => void)[] = [];

  constructor(id: string) {
    this.id = id;
  }

  open(): void {
    this.#ends = [
      centre.follow({ id: 'meter-page', types: ['reading'], meter: this.id }),
      centre.onMeters((ms) => {
        const m = ms.findLast((x) => x.id === this.id);
        if (m) this.#changed(m);
      }),
      centre.onReadings((events) => this.#read(events)),
      centre.onResync(() => {
        void this.look();
        void this.show(this.#span, this.#back);
      }),
    ];
    void this.look();
  }

  close(): void {
    for (const end of this.#ends) end();
    this.#ask?.abort();
  }

  async look(): Promise<void> {
    try {
      this.meter = await get<Meter>(`v1/meters/${encodeURIComponent(this.id)}`);
      this.problem = null;
    } catch (err) {
      this.problem = problemOf(err);
    }
  }

  /** Looks up the intervals of a span that ends `back` spans before now. */
  async show(span: Span, back: number): Promise<void> {
    const other = span !== this.#span || back !== this.#back;
    this.#span = span;
    this.#back = back;
    this.#ask?.abort();
    const ask = new AbortController();
    this.#ask = ask;
    if (other) this.slots = [];
    this.slotsLoading = true;
    try {
      const found: Reading[] = [];
      let cursor: string | undefined;
      do {
        const page: Page<Reading> = await get<Page<Reading>>(`v1/meters/${encodeURIComponent(this.id)}/readings`, { ...this.#range(), limit: 1000, cursor }, ask.signal);
        found.push(...(page.items ?? []));
        cursor = page.next;
      } while (cursor);
      this.slots = fillGaps(found.map(slotOf), (this.meter?.interval || 30) * 60_000);
      this.slotsProblem = null;
    } catch (err) {
      if (this.#ask === ask) this.slotsProblem = problemOf(err);
    } finally {
      if (this.#ask === ask) this.slotsLoading = false;
    }
  }

  #range(): { from?: string; to?: string } {
    if (this.#span === 'all' || !centre.now) return {};
    const length = spanMs[this.#span];
    const slot = (this.meter?.interval || 30) * 60_000;
    const end = Math.floor(centre.now / slot) * slot - this.#back * length;
    const iso = (ms: number) => new Date(Math.floor(ms / 1000) * 1000).toISOString();
    return { from: iso(end - length), ...(this.#back > 0 ? { to: iso(end) } : {}) };
  }

  #changed(m: Meter): void {
    const before = this.meter;
    this.meter = m;
    // Gaps were filled, or came to be: values of the past that no event brings.
    if (before && before.missing !== m.missing) void this.show(this.#span, this.#back);
  }

  #read(events: CloudEvent[]): void {
    for (const e of events) {
      const r = e.data as ReadingEvent;
      if (r.meter !== this.id) continue;
      this.fresh++;
      const m = this.meter;
      if (m && (!m.register || r.register.time >= m.register.time)) {
        this.meter = { ...m, path: r.path || m.path, register: r.register, flags: r.flags, lastSeen: !m.lastSeen || m.lastSeen < r.register.time ? r.register.time : m.lastSeen };
      }
      if (r.interval && this.#back === 0 && !this.slotsLoading) this.#append(slotOf(r.interval));
    }
  }

  #append(s: Slot): void {
    let slots = putSlot(this.slots, s);
    if (this.#span !== 'all') {
      const end = slots.at(-1)!.end;
      slots = slots.filter((x) => x.end > end - spanMs[this.#span]);
    }
    this.slots = fillGaps(slots, s.end - s.start);
  }
}
