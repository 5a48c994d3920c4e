// The rows of the heat strip: they come page by page, as far as it is scrolled, and all that are there are looked up anew together.
import type { Query } from '../api/address';
import { get, problemOf } from '../api/http';
import type { Problem } from '../api/shapes';
import type { CompleteHours, HourCounts } from '../api/values';
import { maxPaged } from '../state/ask.svelte';

const pageSize = 100;
const mostAtOnce = 1000; // rows of one answer

export class HeatRows {
  rows = $state.raw<readonly HourCounts[]>([]);
  from = $state(''); // when the first step begins; '': nothing is known yet
  whole = $state(false);
  loading = $state(false);
  problem = $state.raw<Problem | null>(null);
  #query: Query = {};
  #next: string | undefined;
  #ask: AbortController | null = null;

  /** Asks for the rows of another question. What was there stays until the answer is. */
  load(query: Query): Promise<void> {
    this.#query = query;
    return this.#page(undefined, pageSize, () => []);
  }

  /** Looks up anew what is there, up to a thousand rows; those behind stay if they are of the same steps. */
  refresh(query: Query): Promise<void> {
    this.#query = query;
    const old = this.rows;
    const from = this.from;
    return this.#page(undefined, Math.min(mostAtOnce, Math.max(pageSize, old.length)), (got) => (got.next && got.from === from ? old.slice(got.items.length) : []));
  }

  /** Goes on; the strip calls it when its end comes into view. */
  async more(): Promise<void> {
    if (this.loading || this.whole || !this.#next || this.problem || this.rows.length >= maxPaged) return;
    const before = this.rows;
    await this.#page(this.#next, pageSize, undefined, before);
  }

  async #page(cursor: string | undefined, limit: number, behind?: (got: CompleteHours) => readonly HourCounts[], before: readonly HourCounts[] = []): Promise<void> {
    this.#ask?.abort();
    const ask = new AbortController();
    this.#ask = ask;
    this.loading = true;
    try {
      const got = await get<CompleteHours>('v1/completeness/hours', { ...this.#query, limit, cursor }, ask.signal);
      if (this.#ask !== ask) return;
      const rest = behind?.(got) ?? [];
      // The order may have changed since the page before: none stands there twice.
      const seen = new Set<string>();
      this.rows = [...before, ...got.items, ...rest].filter((r) => !seen.has(r.key) && seen.add(r.key));
      if (rest.length === 0) {
        this.#next = got.next;
        this.whole = !got.next;
      }
      this.from = got.from;
      this.problem = null;
    } catch (err) {
      if (this.#ask === ask) this.problem = problemOf(err);
    } finally {
      if (this.#ask === ask) this.loading = false;
    }
  }
}
