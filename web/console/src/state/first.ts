// What each page shows first, and so is asked for first: while the scripts are still on the way (src/first.ts), before all else that the
// console keeps true.
import { address, type Query } from '../api/address';
import type { Page, Route } from './route';

export const listPage = 100; // meters

/** The lists of the centre that a page shows by itself; the others come once the page is there. */
export type Shown = 'concentrators' | 'commands' | 'waiting' | 'outages' | 'storm';

const shown: Partial<Record<Page, readonly Shown[]>> = {
  overview: ['concentrators'],
  network: ['concentrators'],
  commands: ['commands', 'waiting'],
  outages: ['outages', 'storm'],
};

export const shownFirst = (page: Page): readonly Shown[] => shown[page] ?? [];

/** Where each comes from, page by page or at once. */
export const listPath = {
  concentrators: 'v1/concentrators',
  commands: 'v1/commands?origin=asked',
  waiting: 'v1/commands?open=true&origin=asked',
  outages: 'v1/outages',
  storm: 'v1/storm',
};
const listLimit: Record<Shown, number | undefined> = { concentrators: 1000, commands: 100, waiting: 1000, outages: 100, storm: undefined };

/** Whose entries of the audit trail an address asks for: those of people, where it names nobody. */
export const auditOrigin = (q: Route['query']): string => q.origin || (q.actor || q.subject ? 'all' : 'people');

export const auditQuery = (q: Route['query']): Query => ({ actor: q.actor, action: q.action, subject: q.subject, meter: q.meter, origin: { people: 'asked', centre: 'centre' }[auditOrigin(q)] });

/** The addresses that the page of a route will ask for first. What is missing here costs time, nothing else. */
export function firstAsked({ page, id, query: q }: Route): URL[] {
  const own: Partial<Record<Page, () => URL>> = {
    overview: () => address('v1/meters', { path: q.path, state: q.state, q: q.q, limit: listPage }),
    meter: () => address(`v1/meters/${encodeURIComponent(id)}`),
    command: () => address(`v1/commands/${encodeURIComponent(id)}`),
    'roll-out': () => address(`v1/roll-outs/${encodeURIComponent(id)}`),
    audit: () => address('v1/audit', { limit: listPage, ...auditQuery(q) }),
  };
  const grid = page === 'network' && q.view === 'grid';
  const lists = grid ? [address('v1/sums', { by: 'substation', limit: 200 })] : shownFirst(page).map((s) => address(listPath[s], { limit: listLimit[s] }));
  return [address('v1/totals'), ...(own[page] ? [own[page]()] : []), ...lists];
}
