// Commands and outages as lists, newest first, and a command's way as steps.
import type { Command, Outage, Target, TargetQuery } from '../api/shapes';
import { told } from '../format/said';
import { t } from '../lang/lang';

export const kept = 500; // of a list that grows by events

const ended = new Set(['done', 'refused', 'failed', 'expired', 'cancelled']);

export const isOpen = (c: Command): boolean => !ended.has(c.state);

/** Under which names the centre gives commands by itself. */
const itself = new Set(['centre', 'outage-verification']);

export const asked = (c: Command): boolean => !itself.has(c.by ?? '');

/** Numbers as strings: the longer one is the larger one. */
export function newer(a: string, b: string): number {
  return b.length - a.length || (a < b ? 1 : a > b ? -1 : 0);
}

/** The list with changed things put in, newest first. */
export function upsert<T extends { id: string }>(list: readonly T[], changed: readonly T[], limit = kept): T[] {
  const byId = new Map(list.map((x) => [x.id, x]));
  for (const x of changed) byId.set(x.id, x);
  return [...byId.values()].sort((a, b) => newer(a.id, b.id)).slice(0, Math.max(limit, list.length));
}

/** An answer to a call may be older than an event that overtook it: more history wins. */
export function later(a: Command | undefined, b: Command): Command {
  if (!a) return b;
  const na = a.history?.length ?? 0;
  const nb = b.history?.length ?? 0;
  if (na !== nb) return na > nb ? a : b;
  return !isOpen(a) && isOpen(b) ? a : b;
}

/** A list of commands with an answer or events put in. */
export function commandsWith(old: readonly Command[], changed: readonly Command[], fits: (c: Command) => boolean, most?: number): Command[] {
  const byId = new Map(old.map((c) => [c.id, c]));
  return upsert(old, changed.filter(fits).map((c) => later(byId.get(c.id), c)), most);
}

export interface Step {
  state: string;
  reached: boolean;
  current: boolean; // where it is now
  at: number | null; // ms, wall
  after: number | null; // ms since it was created
  detail: string;
}

const way = ['queued', 'sent', 'done'];

/** The steps behind and the usual ones ahead. A step that was repeated counts once, at its first time. */
export function steps(c: Command): Step[] {
  const created = Date.parse(c.created);
  const out: Step[] = [];
  for (const step of c.history ?? []) {
    const before = out.find((s) => s.state === step.state);
    if (before) {
      if (step.detail) before.detail = told(step.detail, step.said);
      continue;
    }
    const at = Date.parse(step.time);
    out.push({ state: step.state, reached: true, current: false, at, after: Math.max(0, at - created), detail: told(step.detail, step.said) });
  }
  if (!out.some((s) => s.state === c.state)) {
    out.push({ state: c.state, reached: true, current: false, at: null, after: null, detail: '' });
  }
  for (const s of out) s.current = s.state === c.state;
  if (isOpen(c)) {
    const from = c.state === 'pending-approval' ? 0 : Math.max(way.indexOf(c.state === 'delivered' ? 'sent' : c.state), 0) + 1;
    for (const state of way.slice(from)) out.push({ state, reached: false, current: false, at: null, after: null, detail: '' });
  }
  return out;
}

/** How long it took, or null while it goes on. ms */
export function took(c: Command): number | null {
  const last = c.history?.at(-1);
  return isOpen(c) || !last ? null : Math.max(0, Date.parse(last.time) - Date.parse(c.created));
}

export function targetText(to: Target): string {
  if (to.meter) return to.meter;
  if (to.path) return t('all below {path}', { path: to.path });
  if (to.meters || to.listed) return t('{n} listed meters', { n: to.listed ?? to.meters?.length ?? 0 });
  if (to.query) return t('meters with {what}', { what: queryText(to.query) });
  return to.group === undefined ? '' : t('group {n}', { n: to.group });
}

function queryText(q: TargetQuery): string {
  return Object.entries(q).filter(([, v]) => v).map(([name, v]) => `${t(name)} ${v}`).join(', ');
}

/** The ids in a text: one a line, or with blanks, commas or semicolons between. Each once, in their order. */
export function idsIn(text: string): string[] {
  return [...new Set(text.split(/[\s,;]+/).filter(Boolean))];
}

/** How far a command for many has come: counts by state in the order of a life, and how many have ended. */
export function progress(c: Command): { total: number; ended: number; parts: { state: string; n: number }[] } {
  const order = ['done', 'refused', 'failed', 'expired', 'cancelled', 'delivered', 'sent', 'queued', 'pending-approval'];
  const states = c.bulk?.states ?? {};
  const names = [...order.filter((s) => s in states), ...Object.keys(states).filter((s) => !order.includes(s))];
  const parts = names.map((state) => ({ state, n: states[state] ?? 0 })).filter((p) => p.n > 0);
  return { total: c.bulk?.total ?? 0, ended: parts.reduce((sum, p) => sum + (ended.has(p.state) ? p.n : 0), 0), parts };
}

export const outageOpen = (o: Outage): boolean => !o.end;
