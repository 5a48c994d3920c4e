// Roll-outs of firmware: their words, how far they are, and lists of them.
import type { RollOut } from '../api/firmware';
import type { Sign } from '../format/words';
import { t } from '../lang/lang';
import { upsert } from '../state/commands';

const ended = new Set(['done', 'cancelled', 'expired']);

export const isOpen = (r: RollOut): boolean => !ended.has(r.state);

const states: Record<string, Sign> = {
  'pending-approval': { label: 'Needs approval', icon: 'clock', tone: 'warn' },
  running: { label: 'Under way', icon: 'send', tone: 'busy' },
  paused: { label: 'Paused', icon: 'pause', tone: 'warn' },
  done: { label: 'Done', icon: 'check', tone: 'ok' },
  cancelled: { label: 'Cancelled', icon: 'cross', tone: 'none' },
  expired: { label: 'Expired', icon: 'clock', tone: 'warn' },
};

/** A meter's way through a roll-out; what may follow each is in docs/firmware.md. */
const updates: Record<string, Sign> = {
  activated: { label: 'Activated', icon: 'check', tone: 'ok' },
  verified: { label: 'Verified', icon: 'clock', tone: 'ok' },
  receiving: { label: 'Downloading', icon: 'profile', tone: 'busy' },
  offered: { label: 'Offered', icon: 'send', tone: 'busy' },
  waiting: { label: 'Not offered yet', icon: 'clock', tone: 'none' },
  refused: { label: 'Refused', icon: 'refuse', tone: 'bad' },
  failed: { label: 'Failed', icon: 'cross', tone: 'bad' },
  cancelled: { label: 'Cancelled', icon: 'minus', tone: 'none' },
  expired: { label: 'Expired', icon: 'clock', tone: 'warn' },
};

const final = ['activated', 'refused', 'failed', 'cancelled', 'expired'];

/** In the order of the bar: what has ended first, then from the end of the way to its beginning. */
const order = [...final, 'verified', 'receiving', 'offered', 'waiting'];

/** Which meters somebody wants to see first. */
const looked = ['failed', 'refused', 'expired', 'offered', 'receiving', 'waiting', 'verified', 'cancelled', 'activated'];

function said(table: Record<string, Sign>, word: string): Sign {
  const s = table[word];
  return s ? { ...s, label: t(s.label) } : { label: word, icon: 'unknown', tone: 'none' };
}

export const rollOutSign = (state: string): Sign => said(states, state);

/** What a meter's state is called. One that has the image and waits for a time or a command is scheduled. */
export function updateSign(state: string, r: RollOut): Sign {
  if (state === 'verified' && (r.activateAt || r.onCommand)) return { label: t('Scheduled'), icon: 'clock', tone: 'sleep' };
  return said(updates, state);
}

const reasons: Record<string, string> = {
  unsupported: 'takes no firmware',
  signature: 'no key of the meter signed it',
  model: 'it is for another model',
  version: 'a newer version runs',
  room: 'no room for it',
  memory: 'its memory lost it',
  hash: 'what it got was not the image',
  'did-not-start': 'the new firmware did not start',
  'not-activated': 'it could not be activated',
  expired: 'its time was over',
};
export const reasonText = (reason: string): string => t(reasons[reason] ?? reason);

export interface Part {
  state: string;
  n: number;
  ended: boolean;
}

/** How many meters are in which state, how many have ended, and how many lag: have not got it while others have. */
export function progress(r: RollOut): { total: number; ended: number; lagging: number; parts: Part[] } {
  const all = r.progress.states ?? {};
  const names = [...order.filter((s) => s in all), ...Object.keys(all).filter((s) => !order.includes(s))];
  const parts = names.map((state) => ({ state, n: all[state] ?? 0, ended: final.includes(state) })).filter((p) => p.n > 0);
  const sum = (of: (p: Part) => boolean) => parts.reduce((n, p) => n + (of(p) ? p.n : 0), 0);
  const there = sum((p) => p.ended || p.state === 'verified');
  return { total: r.progress.total, ended: sum((p) => p.ended), lagging: there > 0 ? sum((p) => p.state === 'offered' || p.state === 'receiving') : 0, parts };
}

/** The state whose meters are listed where none was chosen: those that give the most to do. */
export const firstLooked = (r: RollOut): string => looked.find((s) => (r.progress.states?.[s] ?? 0) > 0) ?? '';

/** An answer may be older than an event that overtook it: more history wins. */
export function later(a: RollOut | undefined, b: RollOut): RollOut {
  return a && (a.history?.length ?? 0) > (b.history?.length ?? 0) ? a : b;
}

/** A list of roll-outs with an answer or events put in, newest first. */
export function rollOutsWith(old: readonly RollOut[], changed: readonly RollOut[], most?: number): RollOut[] {
  const byId = new Map(old.map((r) => [r.id, r]));
  return upsert(old, changed.map((r) => later(byId.get(r.id), r)), most);
}
