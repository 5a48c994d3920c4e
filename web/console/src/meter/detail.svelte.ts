// One meter in full, live while its page is open.
import { get, problemOf } from '../api/http';
import type { CloudEvent, Meter, Page, Problem, Reading, ReadingEvent } from '../api/shapes';
import { centre } from '../state/centre.svelte';
import { iso } from '../format/time';
import { daysBefore, fillGaps, putSlot, slotOf, type Slot } from '../state/series';

export type Span = 'day' | 'week' | 'month' | 'all';

/** Days in a span; a month is four weeks and two days, so that no day is missed when one looks back. */
export const spanDays: Record<Span, number> = { day: 1, week: 7, month: 30, all: Infinity };

/** How many days before is what a span is compared with: the same days of the week. */
export const compareDays: Record<Span, number> = { day: 7, week: 7, month: 28, all: 0 };

const ahead = 86_400_000; // ms: of what is compared with, also what intervals that come live will need

export class MeterDetail {
  readonly id: string;
  meter = $state.raw<Meter | null>(null);
  problem = $state.raw<Problem | null>(null);
  slots = $state.raw<Slot[]>([]);
  slotsProblem = $state.raw<Problem | null>(null);
  slotsLoading = $state(false);
  earlier = $state.raw<Slot[]>([]); // what is compared with
  fresh = $state(0); // grows with each reading that came live
  #span: Span = 'day';
  #back = 0; // whole spans before now
  #compare = false;
  #late: Slot[] = []; // intervals that came while the slots were asked for
  #ask: AbortController | null = null;
  #ends: (() => void)[] = [];

  constructor(id: string) {
    this.id = id;
  }

  open(): void {
    this.#ends = [
      centre.follow({ id: 'meter-page', types: ['reading'], meter: this.id }),
      centre.follow({ id: 'meter-page-state', types: ['state'], meter: this.id }, () => void this.look()),
      centre.onMeters((ms) => {
        const m = ms.findLast((x) => x.id === this.id);
        if (m) this.#changed(m);
      }),
      centre.onReadings((events) => this.#read(events)),
      centre.onResync(() => {
        void this.look();
        void this.show(this.#span, this.#back, this.#compare);
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

  /** Looks up the intervals of a span that ends `back` spans before now and, to compare, those of some weeks before. */
  async show(span: Span, back: number, compare: boolean): Promise<void> {
    const other = span !== this.#span || back !== this.#back;
    this.#span = span;
    this.#back = back;
    this.#compare = compare && span !== 'all';
    this.#ask?.abort();
    const ask = new AbortController();
    this.#ask = ask;
    if (other) this.slots = [];
    if (other || !this.#compare) this.earlier = [];
    this.slotsLoading = true;
    try {
      const [from, to] = this.#range();
      const days = compareDays[span];
      const [found, earlier] = await Promise.all([
        this.#readings(from, back > 0 ? to : undefined, ask.signal),
        this.#compare && from !== undefined ? this.#readings(daysBefore(from, days), daysBefore(back > 0 ? to : to + ahead, days), ask.signal) : [],
      ]);
      this.slots = found;
      // What came live while it was being asked: an answer may be older than that.
      for (const s of this.#late.splice(0)) if (back === 0) this.#append(s);
      this.earlier = earlier;
      this.slotsProblem = null;
    } catch (err) {
      if (this.#ask === ask) this.slotsProblem = problemOf(err);
    } finally {
      if (this.#ask === ask) this.slotsLoading = false;
    }
  }

  async #readings(from: number | undefined, to: number | undefined, signal: AbortSignal): Promise<Slot[]> {
    const found: Reading[] = [];
    const span = { from: from === undefined ? undefined : iso(from), to: to === undefined ? undefined : iso(to) };
    let cursor: string | undefined;
    do {
      const page: Page<Reading> = await get<Page<Reading>>(`v1/meters/${encodeURIComponent(this.id)}/readings`, { ...span, limit: 1000, cursor }, signal);
      found.push(...(page.items ?? []));
      cursor = page.next;
    } while (cursor);
    return fillGaps(found.map(slotOf), (this.meter?.interval || 30) * 60_000);
  }

  /** What is shown, ms. A month begins and ends with a local day, for it is drawn by days. */
  #range(): [number | undefined, number] {
    const slot = (this.meter?.interval || 30) * 60_000;
    const now = Math.floor(centre.now / slot) * slot;
    if (this.#span === 'all' || !centre.now) return [undefined, now];
    const days = spanDays[this.#span];
    if (this.#span !== 'month') {
      const end = now - this.#back * days * 86_400_000;
      return [end - days * 86_400_000, end];
    }
    const tomorrow = new Date(now).setHours(24, 0, 0, 0);
    const end = daysBefore(tomorrow, this.#back * days);
    return [daysBefore(end, days), end];
  }

  #changed(m: Meter): void {
    const before = this.meter;
    // Events leave the evidence of the verdict out: it is looked up when the verdict changed.
    const same = before?.verdict?.state === m.verdict?.state;
    this.meter = same && before?.verdict ? { ...m, verdict: before.verdict } : m;
    if (before && !same) void this.look();
    // Gaps were filled, or came to be: values of the past that no event brings.
    if (before && before.missing !== m.missing) void this.show(this.#span, this.#back, this.#compare);
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
      if (!r.interval || this.#back !== 0) continue;
      if (this.slotsLoading) this.#late.push(slotOf(r.interval));
      else this.#append(slotOf(r.interval));
    }
  }

  #append(s: Slot): void {
    let slots = putSlot(this.slots, s);
    if (this.#span === 'day' || this.#span === 'week') {
      const end = slots.at(-1)!.end;
      slots = slots.filter((x) => x.end > end - spanDays[this.#span] * 86_400_000);
    }
    this.slots = fillGaps(slots, s.end - s.start);
  }
}
