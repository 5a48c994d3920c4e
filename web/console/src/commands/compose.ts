// What can be asked of many meters, and what is wrong with a request before it is sent.
import type { CommandRequest, Params, Target } from '../api/shapes';
import { count } from '../format/number';
import { t } from '../lang/lang';
import { idsIn } from '../state/commands';

export type Kind = 'meter' | 'list' | 'path' | 'group' | 'query';
export const kinds: { kind: Kind; label: string }[] = [
  { kind: 'meter', label: 'Meter' },
  { kind: 'list', label: 'List' },
  { kind: 'path', label: 'Below a concentrator' },
  { kind: 'group', label: 'Group' },
  { kind: 'query', label: 'By place' },
];

export const mostListed = 20_000; // meters in a list; the centre takes no more

/** What a person has filled in. */
export interface Draft {
  kind: Kind;
  meter: string;
  list: string;
  path: string;
  group: string;
  substation: string;
  feeder: string;
  transformer: string;
  tag: string;
  type: string;
  hours: number; // profile: how far back
  minutes: number; // interval
  arm: boolean; // reconnect
  expiresIn: number; // seconds
  at: string; // of a datetime-local field; '': at once
  priority: string; // '': as it comes
}

export const types = ['read', 'profile', 'disconnect', 'reconnect', 'interval', 'clock', 'ping'];
export const breaker = (type: string): boolean => type === 'disconnect' || type === 'reconnect';

export function draftOf(query: Record<string, string>): Draft {
  const kind = kinds.find((k) => k.kind === query.to)?.kind ?? (query.path ? 'path' : query.group ? 'group' : query.feeder || query.transformer || query.substation ? 'query' : 'meter');
  return {
    kind, meter: query.meter ?? '', list: (query.list ?? '').replaceAll(',', '\n'), path: query.path ?? '', group: query.group ?? '',
    substation: query.substation ?? '', feeder: query.feeder ?? '', transformer: query.transformer ?? '', tag: query.tag ?? '',
    type: types.find((x) => x === query.type) ?? 'read', hours: 24, minutes: 30, arm: false, expiresIn: 3600, at: '', priority: '',
  };
}

export function targetOf(d: Draft): Target {
  switch (d.kind) {
    case 'meter':
      return { meter: d.meter.trim() };
    case 'list': {
      const ids = idsIn(d.list);
      return ids.length === 1 ? { meter: ids[0]! } : { meters: ids };
    }
    case 'path':
      return { path: d.path.trim() };
    case 'group':
      return { group: Number(d.group) };
    case 'query': {
      const set = (['substation', 'feeder', 'transformer', 'tag'] as const).map((name) => [name, d[name].trim()] as const).filter(([, v]) => v);
      return { query: Object.fromEntries(set) };
    }
  }
}

/** What is lacking, or ''. */
export function lack(d: Draft): string {
  const to = targetOf(d);
  if (d.kind === 'meter' && !to.meter) return t('Which meter?');
  if (d.kind === 'list') {
    const n = idsIn(d.list).length;
    if (n === 0) return t('Which meters? One id a line.');
    if (n > mostListed) return t('{n} meters are too many for one command: at most {most}.', { n: count(n), most: count(mostListed) });
  }
  if (d.kind === 'path' && !to.path) return t('Below which concentrator?');
  if (d.kind === 'group' && !/^\d+$/.test(d.group.trim())) return t('Which group? Its number.');
  if (d.kind === 'query' && Object.keys(to.query ?? {}).length === 0) return t('Which place? At least one of them.');
  return '';
}

export function requestOf(d: Draft, now: number): CommandRequest {
  const params: Params = {};
  if (d.type === 'profile' && now) {
    const to = Math.floor(now / 1000) * 1000;
    params.from = new Date(to - d.hours * 3_600_000).toISOString();
    params.to = new Date(to).toISOString();
  }
  if (d.type === 'reconnect' && d.arm) params.arm = true;
  if (d.type === 'interval') params.minutes = d.minutes;
  return {
    target: targetOf(d), type: d.type, expiresIn: d.expiresIn,
    ...(Object.keys(params).length > 0 ? { params } : {}),
    ...(d.at ? { at: new Date(d.at).toISOString() } : {}),
    ...(d.priority ? { priority: d.priority } : {}),
  };
}

/** What will happen, in a sentence. */
export function consequence(d: Draft, n: number | null): string {
  const one = n === 1;
  switch (d.type) {
    case 'disconnect':
      return one ? t('The breaker opens and the supply of this household stops at once.') : t('The breakers open and the supply of all these households stops at once.');
    case 'reconnect':
      if (d.arm) return t('The breakers get ready. A person closes each at the meter; until then the supply stays off.');
      return t('The breakers close and the supply is back at once, whoever is there. Make sure that this is safe.');
    case 'profile':
      return t('The meters send the intervals that they keep. What is there already stays as it is.');
    case 'interval':
      return t('The meters tell a reading every {n} minutes from now on.', { n: d.minutes });
    case 'clock':
      return t("The meters' clocks are set to the centre's time.");
    case 'ping':
      return t('The meters answer that they are there. Nothing changes.');
    default:
      return t('The meters tell their registers. Nothing changes.');
  }
}
