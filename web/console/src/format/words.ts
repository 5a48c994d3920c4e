// The words and signs for what the API names.
import { t } from '../lang/lang';
import type { IconName } from '../parts/icons';
import { duration } from './time';

export interface Sign {
  label: string;
  icon: IconName;
  tone: Tone;
}

/** A colour by meaning. It never stands alone: icon and word say the same. */
export type Tone = 'ok' | 'open' | 'warn' | 'bad' | 'cut' | 'sleep' | 'none' | 'busy';

/** Meter states in the order in which people should look at them. */
export const meterStates = ['power-lost', 'unreachable', 'comm-lost', 'disconnected', 'sleeping', 'never-seen', 'online'] as const;

const meters: Record<string, Sign> = {
  online: { label: 'Online', icon: 'check', tone: 'ok' },
  disconnected: { label: 'Disconnected', icon: 'breaker-open', tone: 'open' },
  'comm-lost': { label: 'Comm lost', icon: 'link-off', tone: 'warn' },
  unreachable: { label: 'Unreachable', icon: 'node-off', tone: 'cut' },
  'power-lost': { label: 'Power lost', icon: 'bolt-off', tone: 'bad' },
  sleeping: { label: 'Sleeping', icon: 'moon', tone: 'sleep' },
  'never-seen': { label: 'Never seen', icon: 'unknown', tone: 'none' },
};

const concentrators: Record<string, Sign> = {
  online: { label: 'Online', icon: 'check', tone: 'ok' },
  lost: { label: 'Lost', icon: 'link-off', tone: 'bad' },
  offline: { label: 'Offline', icon: 'off', tone: 'warn' },
  unknown: { label: 'Unknown', icon: 'unknown', tone: 'none' },
};

const commands: Record<string, Sign> = {
  'pending-approval': { label: 'Needs approval', icon: 'clock', tone: 'warn' },
  queued: { label: 'Queued', icon: 'clock', tone: 'busy' },
  sent: { label: 'Sent', icon: 'send', tone: 'busy' },
  delivered: { label: 'Delivered', icon: 'send', tone: 'busy' },
  done: { label: 'Done', icon: 'check', tone: 'ok' },
  refused: { label: 'Refused', icon: 'refuse', tone: 'bad' },
  failed: { label: 'Failed', icon: 'cross', tone: 'bad' },
  expired: { label: 'Expired', icon: 'clock', tone: 'warn' },
  cancelled: { label: 'Cancelled', icon: 'cross', tone: 'none' },
};

const severities: Record<string, Sign> = {
  info: { label: 'Info', icon: 'info', tone: 'none' },
  warning: { label: 'Warning', icon: 'warning', tone: 'warn' },
  suspect: { label: 'Suspect', icon: 'unknown', tone: 'cut' },
  failed: { label: 'Failed', icon: 'cross', tone: 'bad' },
};

const editStates: Record<string, Sign> = {
  proposed: { label: 'Needs approval', icon: 'clock', tone: 'warn' },
  approved: { label: 'Approved', icon: 'check', tone: 'ok' },
  rejected: { label: 'Rejected', icon: 'refuse', tone: 'none' },
};

/** What a value is, in the order in which a day's mark is chosen. */
const qualities: Record<string, Sign> = {
  raw: { label: 'Raw', icon: 'circle', tone: 'none' },
  validated: { label: 'Validated', icon: 'check', tone: 'ok' },
  suspect: { label: 'Suspect', icon: 'unknown', tone: 'cut' },
  estimated: { label: 'Estimated', icon: 'triangle', tone: 'open' },
  edited: { label: 'Edited', icon: 'diamond', tone: 'sleep' },
  missing: { label: 'Missing', icon: 'hatched', tone: 'warn' },
  mixed: { label: 'Mixed', icon: 'minus', tone: 'none' },
};

const facts: Record<string, Record<string, Sign>> = {
  link: {
    up: { label: 'Up', icon: 'link', tone: 'ok' },
    lost: { label: 'Lost', icon: 'link-off', tone: 'warn' },
    unreachable: { label: 'Unreachable', icon: 'node-off', tone: 'cut' },
    sleeping: { label: 'Sleeping', icon: 'moon', tone: 'sleep' },
    'never-seen': { label: 'Never seen', icon: 'unknown', tone: 'none' },
  },
  power: {
    on: { label: 'On', icon: 'bolt', tone: 'ok' },
    lost: { label: 'Lost', icon: 'bolt-off', tone: 'bad' },
    unknown: { label: 'Unknown', icon: 'unknown', tone: 'none' },
  },
  breaker: {
    closed: { label: 'Closed', icon: 'breaker-closed', tone: 'ok' },
    open: { label: 'Open', icon: 'breaker-open', tone: 'open' },
    ready: { label: 'Ready to close', icon: 'breaker-open', tone: 'warn' },
    none: { label: 'None', icon: 'minus', tone: 'none' },
    unknown: { label: 'Unknown', icon: 'unknown', tone: 'none' },
  },
};

/** A sign also for a word that this console does not know yet. */
function sign(table: Record<string, Sign> | undefined, word: string): Sign {
  const found = table?.[word];
  return found ? { ...found, label: t(found.label) } : { label: word || t('Unknown'), icon: 'unknown', tone: 'none' };
}

export const meterSign = (state: string): Sign => sign(meters, state);
export const concentratorSign = (state: string): Sign => sign(concentrators, state);
export const commandSign = (state: string): Sign => sign(commands, state);
export const factSign = (fact: string, state: string): Sign => sign(facts[fact], state);
export const editSign = (state: string): Sign => sign(editStates, state);
export const severitySign = (severity: string): Sign => sign(severities, severity);
export const qualitySign = (quality: string): Sign => sign(qualities, quality);
export const outageSign = (kind: string): Sign => sign(verdicts, kind);

const types: Record<string, string> = {
  read: 'Read now',
  profile: 'Load profile',
  disconnect: 'Disconnect',
  reconnect: 'Reconnect',
  interval: 'Reading interval',
  clock: 'Set clock',
  ping: 'Ping',
  groups: 'Groups',
};
export const commandType = (type: string): string => t(types[type] ?? type);

const givers: Record<string, string> = { centre: 'the centre', 'outage-verification': 'outage verification' };
export const giver = (by: string): string => t(givers[by] ?? by);

const scopes: Record<string, string> = {
  meter: 'Meter',
  transformer: 'Transformer',
  lateral: 'Lateral',
  feeder: 'Feeder',
  concentrator: 'Concentrator',
  all: 'All meters',
};

export const scopeWord = (scope: string): string => t(scopes[scope] ?? scope);

const classes: Record<string, string> = { momentary: 'momentary', sustained: 'sustained' };

export const className = (c: string): string => t(classes[c] ?? c);

const verdicts: Record<string, Sign> = {
  supplied: { label: 'Supplied', icon: 'bolt', tone: 'ok' },
  'power-lost': { label: 'Power lost', icon: 'bolt-off', tone: 'bad' },
  'comm-lost': { label: 'Comm lost', icon: 'link-off', tone: 'warn' },
  opened: { label: 'Breaker open', icon: 'breaker-open', tone: 'open' },
  maintenance: { label: 'Planned work', icon: 'clock', tone: 'busy' },
  unreachable: { label: 'Unreachable', icon: 'node-off', tone: 'cut' },
  unknown: { label: 'Unknown', icon: 'unknown', tone: 'none' },
};

export const verdictSign = (state: string): Sign => sign(verdicts, state);

const evidence: Record<string, string> = {
  'last-gasp': 'last gasp',
  will: 'connection dropped',
  silence: 'silence',
  'concentrator-lost': 'concentrator lost',
  'concentrator-offline': 'concentrator switched off',
  'concentrator-online': 'concentrator is back',
  'concentrator-empty': 'nothing hangs on the concentrator any more',
  restored: 'power restored',
  reading: 'reading arrived',
  registration: 'registered again',
  'no-last-gasp': 'no last gasp, though it has a battery',
  heard: 'heard',
  'no-answer': 'no answer to pings',
  'concentrator-mains': 'concentrator lost its mains',
  'concentrator-unknown': 'concentrator unknown',
  'breaker-open': 'breaker open',
  'breaker-ready': 'breaker ready to close at the meter',
  restart: 'restart announced',
  maintenance: 'planned work',
  'siblings-gasped': 'neighbours sent last gasps',
  'siblings-gone': 'neighbours went without one',
  'siblings-silent': 'neighbours do not answer',
  'siblings-alive': 'neighbours were there all the time',
  'siblings-back': 'neighbours are back',
  'transformer-out': 'its transformer is out',
  'lateral-out': 'its lateral is out',
  'feeder-out': 'its feeder is out',
};
export const evidenceWord = (what: string): string => t(evidence[what] ?? what);

const causes: Record<string, string> = {
  transformer: 'A transformer',
  'partial-transformer': 'A part of a transformer: a phase or a branch',
  lateral: 'A lateral',
  feeder: 'A feeder',
  service: 'A service drop, or its fuse',
  disconnected: 'A breaker that was open already',
  planned: 'Planned work',
  mains: 'The mains of the concentrator',
  stopped: 'A concentrator that was stopped',
  'concentrator-radio': 'The radio of the concentrator',
  link: 'The link of one meter',
  unknown: 'Unknown',
};
export const causeWord = (cause: string): string => t(causes[cause] ?? cause);

/** The categories of IEEE 1782. */
const causeCategories: Record<string, string> = {
  equipment: 'Equipment',
  lightning: 'Lightning',
  planned: 'Planned',
  'power-supply': 'Power supply',
  public: 'Public',
  vegetation: 'Vegetation',
  weather: 'Weather',
  wildlife: 'Wildlife',
  unknown: 'Unknown',
  other: 'Other',
};
export const categories = Object.keys(causeCategories);
export const categoryWord = (category: string): string => t(causeCategories[category] ?? category);

/** The rules of validation and estimation (docs/vee.md). */
const rules: Record<string, string> = {
  duplicate: 'Duplicate',
  clock: 'Clock',
  alignment: 'Alignment',
  gap: 'Gap',
  lost: 'Lost for good',
  partial: 'Short or long interval',
  unit: 'Unit',
  sum: 'Sum against register',
  increase: 'Implausible increase',
  rollover: 'Roll-over',
  spike: 'Spike',
  highlow: 'High or low use',
  limit: 'Above the limit',
  zero: 'Zero on end',
  stuck: 'Same value on end',
  negative: 'Negative',
  inactive: 'Use while inactive',
  reactive: 'Reactive',
  export: 'Unexpected export',
  status: 'Flags of the meter',
  prolonged: 'Prolonged estimation',
  unfilled: 'Not estimated',
  superseded: 'Superseded',
};
export const ruleWord = (rule: string): string => t(rules[rule] ?? rule);

/** By when values should have come, as the centre's --deadlines have it: 30m, 3d, 06:00@Europe/Zurich. */
export function deadline(word: string): string {
  const [at = '', zone] = word.split('@', 2);
  if (zone) return t('by {time} of the next day ({zone})', { time: at, zone });
  const [, n, unit] = /^(\d+)(m|h|d)$/.exec(at) ?? [];
  return n && unit ? t('within {time}', { time: duration(Number(n) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[unit as 'm' | 'h' | 'd']) }) : word;
}

/** Why messages become dead letters. */
const letterReasons: Record<string, string> = {
  topic: 'Topic not understood',
  direction: 'Wrong direction',
  status: 'Unknown status',
  kind: 'Wrong kind of device',
  table_full: 'Too many devices',
  format: 'Unknown format',
  version: 'Unknown version',
  type: 'Unknown type',
  length: 'Wrong length',
  opcode: 'Unknown opcode',
  value: 'Value out of range',
  event: 'Type and event differ',
  syntax: 'Not well-formed',
  checksum: 'Check sum wrong',
  unit: 'Unknown unit',
  missing: 'Something missing',
  key: 'No key for it',
  seal: 'Seal wrong',
  replay: 'Came before',
  counter: 'Too old',
  plain: 'Not sealed',
  batch: 'Batch not readable',
  command: 'Command refused',
  refused: 'Refused by the other side',
  unreadable: 'Not readable',
  other: 'Something else',
};
export const letterReason = (reason: string): string => t(letterReasons[reason] ?? reason);

const flags: Record<string, string> = {
  'clock-unsynchronised': 'Clock not synchronised',
  battery: 'Running on battery',
  'breaker-open': 'Breaker open',
  tamper: 'Tamper',
  estimated: 'Value estimated',
};
export const flagWord = (flag: string): string => t(flags[flag] ?? flag);

const reasons: Record<string, string> = {
  'meter-fault': 'Meter fault',
  'clock-fault': 'Clock fault',
  'communication-fault': 'Communication fault',
  'meter-exchange': 'Meter exchange',
  'master-data': 'Master data',
  'customer-reading': 'Customer reading',
  'site-visit': 'Site visit',
  estimation: 'Estimation',
  other: 'Other',
};
export const editReason = (reason: string): string => t(reasons[reason] ?? reason);

/** What a storm is too much for. */
const shed: Record<string, string> = { 'communication-cases': 'cases of lost communication' };
export const shedWord = (what: string): string => t(shed[what] ?? what);

/** Words of the API that are said as they come where the language is English. */
export const spoken = [
  'lost for good', 'up to 30 min', 'up to 6 h', 'up to 1 d', 'up to 3 d', 'older', 'path', 'substation', 'feeder', 'transformer', 'tag', 'contract', 'state',
  'normal', 'pings', 'refused', 'failed', 'expired', 'not supported',
];
