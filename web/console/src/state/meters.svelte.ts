// The list of meters that is being looked at, page by page.
import { get, problemOf } from '../api/http';
import type { Meter, Page, Problem } from '../api/shapes';
import { listPage } from './first';
import { applyMeters, find, mergePage, type MeterFilter } from './meters';

export const maxRows = 20_000; // kept in the tab; beyond it a search finds what scrolling would not

/** Where a page began. */
interface PageStart {
  cursor: string | undefined;
  first: string; // id
}

export class MeterList {
  rows = $state.raw<readonly Meter[]>([]);
  whole = $state(false); // all that fit the filter are here
  loading = $state(false);
  old = $state(false); // the rows are those of the filter before: the answer is on its way
  problem = $state.raw<Problem | null>(null);
  filter = $state.raw<MeterFilter>({ path: '', state: '', q: '' });
  #next: string | undefined;
  #pages: PageStart[] = [];
  #ask: AbortController | null = null;
  #refreshing = false;

  /** Looks everything that was loaded up anew, up to 20 pages, so that nothing moves under the reader. */
  reload(): Promise<void> {
    return this.load(this.filter, Math.min(this.rows.length, 20 * listPage));
  }

  /** Shows what fits the filter, at least so many if there are. What was there stays until the answer is. */
  async load(filter: MeterFilter, atLeast = 0): Promise<void> {
    this.old = this.rows.length > 0 && (this.old || filter.path !== this.filter.path || filter.state !== this.filter.state || filter.q !== this.filter.q);
    this.filter = filter;
    this.#ask?.abort();
    const ask = new AbortController();
    this.#ask = ask;
    this.loading = true;
    try {
      let rows: Meter[] = [];
      const pages: PageStart[] = [];
      let cursor: string | undefined;
      do {
        const page: Page<Meter> = await this.#page(cursor, ask.signal);
        pages.push({ cursor, first: page.items?.[0]?.id ?? '' });
        rows = mergePage(rows, page.items ?? []);
        cursor = page.next;
      } while (cursor && rows.length < atLeast);
      this.rows = rows;
      this.old = false;
      this.#pages = pages;
      this.#next = cursor;
      this.whole = !cursor;
      this.problem = null;
    } catch (err) {
      if (this.#ask === ask) this.problem = problemOf(err);
    } finally {
      if (this.#ask === ask) this.loading = false;
    }
  }

  /** Goes on with the next page; the list calls it when its end comes into view. */
  async more(): Promise<void> {
    if (this.loading || this.whole || !this.#next || this.problem || this.rows.length >= maxRows) return;
    const ask = new AbortController();
    this.#ask = ask;
    const cursor = this.#next;
    this.loading = true;
    try {
      const page = await this.#page(cursor, ask.signal);
      this.rows = mergePage(this.rows, page.items ?? []);
      this.#pages.push({ cursor, first: page.items?.[0]?.id ?? '' });
      this.#next = page.next;
      this.whole = !page.next;
    } catch (err) {
      if (this.#ask === ask) this.problem = problemOf(err);
    } finally {
      if (this.#ask === ask) this.loading = false;
    }
  }

  retry(): void {
    this.problem = null;
    if (this.rows.length === 0) void this.load(this.filter);
    else void this.more();
  }

  apply(changed: readonly Meter[]): void {
    this.rows = applyMeters(this.rows, this.filter, this.whole, changed);
  }

  /** Looks the pages of the rows [from, to) up anew: readings came, and the registers in view are old; or other meters fit by now. */
  async refresh(from: number, to: number): Promise<void> {
    if (this.rows.length === 0 && !this.loading && !this.problem) return this.load(this.filter);
    const first = this.rows[from]?.id;
    const last = this.rows[Math.min(to, this.rows.length) - 1]?.id;
    if (this.#refreshing || this.loading || !first || !last) return;
    this.#refreshing = true;
    const filter = this.filter;
    try {
      const begin = Math.max(0, this.#pages.findLastIndex((p) => p.first <= first));
      for (const p of this.#pages.slice(begin).filter((p, i) => i === 0 || p.first <= last)) {
        const page = await this.#page(p.cursor, undefined);
        if (this.filter !== filter) return;
        this.apply(page.items ?? []);
        this.#forget(page.items ?? []);
        if (this.whole && page.next && p === this.#pages.at(-1)) {
          this.whole = false; // it has grown by more than this page holds
          this.#next = page.next;
        }
      }
    } catch {
      // the next readings bring the next try; the header tells when there is no link
    } finally {
      this.#refreshing = false;
    }
  }

  /** Takes out rows between the page's first and last that the server does not list any more. */
  #forget(page: readonly Meter[]): void {
    const first = page[0]?.id;
    const last = page.at(-1)?.id;
    if (!first || !last) return;
    const listed = new Set(page.map((m) => m.id));
    const from = find(this.rows, first);
    const gone = this.rows.slice(from, find(this.rows, last)).filter((m) => !listed.has(m.id));
    if (gone.length > 0) this.rows = this.rows.filter((m) => !gone.includes(m));
  }

  #page(cursor: string | undefined, signal: AbortSignal | undefined): Promise<Page<Meter>> {
    return get<Page<Meter>>('v1/meters', { ...this.filter, limit: listPage, cursor }, signal);
  }
}
