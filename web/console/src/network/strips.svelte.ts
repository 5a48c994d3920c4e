// Completeness of the last hours for what is in view of the network: it is asked for by key, never for everything.
import { get } from '../api/http';
import type { CompleteHours, HourCounts } from '../api/values';
import type { Item } from './tree.svelte';

const mostKeys = 200; // of one question
const mostKept = 2_000; // strips; beyond, those that are out of view are forgotten
const settleMs = 60; // while it is scrolled, nothing is asked for

const byOf = (i: Item) => (i.sort === 'centre' ? 'concentrator' : i.sort);
const keyOf = (i: Item) => (byOf(i) === 'concentrator' ? i.key : i.label); // a concentrator is named by its path
const idOf = (i: Item) => `${byOf(i)} ${keyOf(i)}`;

export class Strips {
  #known = $state.raw<ReadonlyMap<string, HourCounts>>(new Map());
  #inView: readonly Item[] = [];
  #asked = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  of(i: Item): HourCounts | undefined {
    return this.#known.get(idOf(i));
  }

  /** Says what is in view: what is not known of it is asked for. */
  show(items: readonly Item[]): void {
    this.#inView = items;
    clearTimeout(this.#timer);
    const lacking = items.filter((i) => !this.#asked.has(idOf(i)));
    if (lacking.length > 0) this.#timer = setTimeout(() => void this.#ask(lacking), settleMs);
  }

  /** Looks up anew what is in view, and what comes into view again. */
  look(): void {
    this.#asked = new Set();
    void this.#ask(this.#inView);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async #ask(items: readonly Item[]): Promise<void> {
    const bys = new Map<string, string[]>();
    for (const i of items) {
      this.#asked.add(idOf(i));
      const keys = bys.get(byOf(i)) ?? [];
      if (keys.length < mostKeys) bys.set(byOf(i), [...keys, keyOf(i)]);
    }
    await Promise.all(
      [...bys].map(async ([by, keys]) => {
        try {
          const got = await get<CompleteHours>('v1/completeness/hours', { by, keys });
          const next = this.#known.size < mostKept ? new Map(this.#known) : new Map(this.#inView.map((i) => [idOf(i), this.of(i)] as const).filter((x): x is [string, HourCounts] => x[1] !== undefined));
          for (const k of got.items) next.set(`${by} ${k.key}`, k);
          this.#known = next;
        } catch {
          for (const k of keys) this.#asked.delete(`${by} ${k}`); // the next look asks again; the header tells when there is no link
        }
      }),
    );
  }
}
