// One question to the API and how the asking goes: what a page shows while it loads, when it failed, and when it is old.
import type { Query } from '../api/address';
import { get, problemOf } from '../api/http';
import type { Page, Problem } from '../api/shapes';

// Questions without an answer, or with one that may be another when the centre is back or the token is another.
const open = new Set<() => Promise<void>>();

/** Reports whether a refusal is not about the question itself. Others are not kept: who asked may be long gone from the page. */
const passing = (p: Problem): boolean => p.status < 400 || [401, 403, 408, 429].includes(p.status) || p.status >= 500;

/** Asks them again, as when the centre is back or the token is another. */
export function askAgain(): void {
  const all = [...open];
  open.clear();
  for (const ask of all) void ask();
}

export class Ask<T> {
  value = $state.raw<T | null>(null);
  problem = $state.raw<Problem | null>(null);
  loading = $state(false);
  at = $state(0); // wall, ms: when the answer came; 0: never
  #ask: AbortController | null = null;
  #again: () => Promise<void> = async () => {};

  /** Asks; what was there stays until the answer is. A newer question takes the place of an older one. */
  async load(path: string, query: Query = {}): Promise<void> {
    this.#ask?.abort();
    const ask = new AbortController();
    this.#ask = ask;
    open.delete(this.#again);
    this.#again = () => this.load(path, query);
    this.loading = true;
    try {
      const value = await get<T>(path, query, ask.signal);
      if (this.#ask !== ask) return;
      this.value = value;
      this.problem = null;
      this.at = Date.now();
    } catch (err) {
      if (this.#ask === ask) this.problem = problemOf(err);
      if (this.#ask === ask && this.problem && passing(this.problem)) open.add(this.#again);
    } finally {
      if (this.#ask === ask) this.loading = false;
    }
  }

  /** Forgets the answer, as before a question about something else. */
  clear(): void {
    this.#ask?.abort();
    this.#ask = null;
    open.delete(this.#again);
    this.value = null;
    this.problem = null;
    this.loading = false;
    this.at = 0;
  }
}

export const maxPaged = 20_000; // rows that a list keeps in the tab

/** A list that comes page by page, as far as it is scrolled. */
export class Paged<T> {
  rows = $state.raw<readonly T[]>([]);
  whole = $state(false);
  loading = $state(false);
  loaded = $state(false);
  problem = $state.raw<Problem | null>(null);
  #path = '';
  #query: Query = {};
  #next: string | undefined;
  #ask: AbortController | null = null;
  readonly #again = (): Promise<void> => this.#page(this.#next === undefined);

  load(path: string, query: Query = {}): Promise<void> {
    this.#path = path;
    this.#query = query;
    this.#next = undefined;
    return this.#page(true);
  }

  async more(): Promise<void> {
    if (this.loading || this.whole || this.problem || !this.#next || this.rows.length >= maxPaged) return;
    await this.#page(false);
  }

  retry(): Promise<void> {
    this.problem = null;
    return this.#again();
  }

  async #page(first: boolean): Promise<void> {
    this.#ask?.abort();
    const ask = new AbortController();
    this.#ask = ask;
    open.delete(this.#again);
    this.loading = true;
    try {
      let rows: readonly T[] = first ? [] : this.rows;
      let cursor = first ? undefined : this.#next;
      let got: Page<T>;
      do {
        got = await get<Page<T>>(this.#path, { limit: 100, ...this.#query, cursor }, ask.signal);
        rows = [...rows, ...(got.items ?? [])];
        cursor = got.next;
      } while (cursor && (got.items ?? []).length === 0); // pages of a search may be empty and not the last
      if (this.#ask !== ask) return;
      this.rows = rows;
      this.#next = cursor;
      this.whole = !cursor;
      this.problem = null;
      this.loaded = true;
    } catch (err) {
      if (this.#ask === ask) this.problem = problemOf(err);
      if (this.#ask === ask && this.problem && passing(this.problem)) open.add(this.#again);
    } finally {
      if (this.#ask === ask) this.loading = false;
    }
  }
}
