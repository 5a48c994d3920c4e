// A tree of the network whose levels are asked for when they are opened: a million meters are never in the tab at once.
import { get, problemOf } from '../api/http';
import type { Meter, Page, Problem } from '../api/shapes';
import type { Sum, Sums, UsagePoint } from '../api/values';
import { centre } from '../state/centre.svelte';
import { buildTree, type Node as Hung } from '../state/tree';

export type View = 'bus' | 'grid';
export type Sort = 'centre' | 'concentrator' | 'meter' | 'substation' | 'feeder' | 'transformer' | 'point';

/** One thing in the tree. Its key is its way from the root, and so unique. */
export interface Item {
  key: string;
  sort: Sort;
  label: string;
  total: number; // meters below
  leaf: boolean;
  states?: Record<string, number> | null;
  state?: string; // of a concentrator or a meter
  meter?: Meter;
  point?: UsagePoint;
  sum?: Sum; // of the last slot
}

export interface Row {
  item: Item;
  level: number; // from 1
  open: boolean;
  index: number; // among its siblings, from 0
  siblings: number;
  more: boolean; // stands for the siblings that have not been asked for yet
}

/** What has been asked for below one item. */
interface Below {
  items: readonly Item[];
  next: string | undefined;
  whole: boolean;
  loading: boolean;
  problem: Problem | null;
}

const pageSize = 200;
const nothing: Below = { items: [], next: undefined, whole: false, loading: false, problem: null };

export class NetworkTree {
  readonly view: View;
  open = $state.raw<ReadonlySet<string>>(new Set(['']));
  #below = $state.raw<ReadonlyMap<string, Below>>(new Map());
  problem = $state.raw<Problem | null>(null);

  constructor(view: View) {
    this.view = view;
  }

  /** The rows that show, outer before inner. */
  rows = $derived.by<Row[]>(() => {
    const out: Row[] = [];
    const root: Item = { key: '', sort: 'centre', label: '', total: centre.totals?.meters ?? 0, leaf: false, states: centre.totals?.states ?? null };
    const add = (item: Item, level: number, index: number, siblings: number): void => {
      const open = this.open.has(item.key);
      out.push({ item, level, open, index, siblings, more: false });
      if (!open || item.leaf) return;
      const b = this.#below.get(item.key) ?? nothing;
      const hung = this.view === 'bus' ? this.#concentrators(item.key) : [];
      const all = [...hung, ...b.items];
      const lacks = this.#asks(item) && !b.whole;
      all.forEach((x, i) => add(x, level + 1, i, all.length + (lacks ? 1 : 0)));
      if (lacks) out.push({ item: { ...item, key: `${item.key}\n`, leaf: true }, level: level + 1, open: false, index: all.length, siblings: all.length + 1, more: true });
    };
    add(root, 1, 0, 1);
    return out;
  });

  #hung = $derived.by(() => {
    const byPath = new Map<string, Hung[]>();
    const take = (path: string, nodes: Hung[]): void => {
      byPath.set(path, nodes);
      for (const n of nodes) take(n.concentrator.path, n.children);
    };
    take('', buildTree(centre.concentrators.items));
    return byPath;
  });

  #concentrators(path: string): Item[] {
    return (this.#hung.get(path) ?? []).map(({ concentrator: c }) => ({ key: c.path, sort: 'concentrator', label: c.id, total: c.below, leaf: c.below === 0, states: c.states, state: c.state }));
  }

  /** Whether there may be something below that the list of concentrators does not have. */
  #asks(item: Item): boolean {
    if (this.view === 'grid') return !item.leaf;
    return (centre.concentrators.items.find((c) => c.path === item.key)?.meters ?? 0) > 0;
  }

  toggle(key: string, open: boolean): void {
    const next = new Set(this.open);
    if (open) next.add(key);
    else next.delete(key);
    this.open = next;
  }

  /** Closes everything but the root, and forgets what was below. */
  collapse(): void {
    this.open = new Set(['']);
    this.#below = new Map([...this.#below].filter(([key]) => key === ''));
  }

  /** Asks for the next page below an item. */
  async more(item: Item): Promise<void> {
    const key = item.key.replace(/\n$/, '');
    const b = this.#below.get(key) ?? nothing;
    if (b.loading || b.whole || b.problem) return;
    this.#set(key, { ...b, loading: true });
    try {
      const { items, next } = await this.#page(key, b.next);
      const known = new Set(b.items.map((x) => x.key));
      this.#set(key, { items: [...b.items, ...items.filter((x) => !known.has(x.key))], next, whole: !next, loading: false, problem: null });
      this.problem = null;
    } catch (err) {
      const problem = problemOf(err);
      this.#set(key, { ...b, loading: false, problem });
      this.problem = problem;
    }
  }

  /** Forgets the failures, so that what is in view is asked for again. */
  retry(): void {
    this.problem = null;
    this.#below = new Map([...this.#below].map(([key, b]) => [key, { ...b, problem: null }]));
  }

  /** The concentrators that are open and list meters. */
  get listed(): string[] {
    if (this.view !== 'bus') return [];
    return [...this.#below].filter(([key, b]) => key !== '' && this.open.has(key) && b.items.length > 0).map(([key]) => key);
  }

  /** Looks the listed meters up anew: their states are followed from now on, and may have changed before. */
  async look(): Promise<void> {
    for (const key of this.listed) {
      let cursor: string | undefined;
      for (let left = this.#below.get(key)?.items.length ?? 0; left > 0; left -= pageSize) {
        try {
          const page: Page<Meter> = await get<Page<Meter>>('v1/meters', { path: key, limit: pageSize, cursor });
          this.apply(page.items ?? []);
          cursor = page.next;
        } catch {
          return; // what is shown is as old as before; the header tells when there is no link
        }
        if (!cursor) break;
      }
    }
  }

  /** Takes in the new state of meters that are listed. */
  apply(changed: readonly Meter[]): void {
    const byId = new Map(changed.map((m) => [m.id, m]));
    let touched = false;
    const next = new Map(this.#below);
    for (const [key, b] of next) {
      if (!b.items.some((x) => x.meter && byId.has(x.meter.id))) continue;
      touched = true;
      next.set(key, { ...b, items: b.items.map((x) => (x.meter && byId.has(x.meter.id) ? meterItem(key, byId.get(x.meter.id)!) : x)) });
    }
    if (touched) this.#below = next;
  }

  #set(key: string, b: Below): void {
    this.#below = new Map(this.#below).set(key, b);
  }

  async #page(key: string, cursor: string | undefined): Promise<{ items: Item[]; next: string | undefined }> {
    if (this.view === 'bus') {
      const page = await get<Page<Meter>>('v1/meters', { path: key, limit: pageSize, cursor });
      return { items: (page.items ?? []).filter((m) => m.path === key).map((m) => meterItem(key, m)), next: page.next };
    }
    const [substation, feeder, transformer] = key === '' ? [] : key.split('/');
    if (transformer !== undefined) {
      const page = await get<Page<UsagePoint>>('v1/usage-points', { substation, feeder, transformer, limit: pageSize, cursor });
      return { items: (page.items ?? []).map((p) => ({ key: `${key}/${p.id}`, sort: 'point', label: p.id, total: p.meter ? 1 : 0, leaf: true, point: p })), next: page.next };
    }
    const by = feeder !== undefined ? 'transformer' : substation !== undefined ? 'feeder' : 'substation';
    const sums = await get<Sums>('v1/sums', { by, substation, feeder, limit: pageSize, cursor });
    return {
      items: (sums.items ?? []).filter((s) => s.key !== '').map((s) => ({ key: key ? `${key}/${s.key}` : s.key, sort: by, label: s.key, total: s.meters, leaf: false, sum: s })),
      next: sums.next,
    };
  }
}

function meterItem(key: string, m: Meter): Item {
  return { key: `${key}/${m.id}`, sort: 'meter', label: m.id, total: 1, leaf: true, state: m.state, meter: m };
}
