// The JSON shapes about values: findings, explanations, edits, sums, completeness, the registry. As internal/api declares them.

import type { Said } from './shapes';

export interface NamedNumber {
  name: string;
  value: number;
}

export interface Finding {
  id: string;
  meter: string;
  path: string;
  channel: string;
  rule: string;
  severity: string; // info, warning, suspect, failed
  from: string;
  to: string;
  readingQuality: string;
  text: string;
  said?: Said;
  numbers?: NamedNumber[];
  recorded: string;
  superseded?: string;
}

export interface Explanation {
  meter: string;
  channel: string;
  start: string;
  end: string;
  value: number | null;
  quality: string;
  readingQuality: string;
  versions: ValueVersion[] | null;
  findings: Finding[] | null;
}

export interface ValueVersion {
  kind: string; // raw, validated, estimated, edited, missing
  version: number;
  value: number | null;
  readingQuality: string;
  recorded: string | null; // null: in the books, not yet sealed
  by?: string;
  rules?: string;
  method?: string;
  numbers?: NamedNumber[];
  register?: number;
  edit?: string;
  reason?: string;
  comment?: string;
  text: string;
  said?: Said[];
}

export interface EditRequest {
  meter: string;
  channel?: string;
  from: string;
  to: string;
  action: string; // set, estimate, accept
  values?: number[];
  reason: string;
  comment?: string;
}

export interface Edit {
  id: string;
  meter: string;
  channel: string;
  from: string;
  to: string;
  action: string;
  reason: string;
  comment?: string;
  state: string; // proposed, approved, rejected
  by: string;
  created: string; // wall time
  decided?: string;
  decider?: string;
  decision?: string;
  values: { start: string; original: number | null; quality: string; value: number | null }[];
}

/** The reason codes of an edit; "other" needs a comment. */
export const editReasons = ['meter-fault', 'clock-fault', 'communication-fault', 'meter-exchange', 'master-data', 'customer-reading', 'site-visit', 'estimation', 'other'];

export interface KeyCounts {
  key: string;
  meters: number;
  expected: number;
  there: number;
  missing: number;
  percent: number;
}

export interface DeadlineCounts {
  deadline: string;
  expected: number;
  inTime: number;
  late: number;
  missing: number;
  pending: number;
  unknown: number;
  percent: number;
}

export interface ServiceLevel {
  from: string;
  to: string;
  deadlines: DeadlineCounts[];
  days: { day: string; deadlines: DeadlineCounts[] }[];
}

export interface MissingMeter {
  id: string;
  path: string;
  usagePoint?: string;
  feeder?: string;
  transformer?: string;
  state: string;
  missing: number;
}

export interface TopMeter extends Omit<MissingMeter, 'state'> {
  wh: number;
}

export interface Sum {
  key: string;
  meters: number;
  values: number;
  missing: number;
  wh: number;
}

export interface Sums {
  from: string;
  to: string;
  total: Sum;
  items: Sum[];
  next?: string;
}

export interface UsagePoint {
  id: string;
  validFrom?: string;
  timeZone: string;
  substation?: string;
  feeder?: string;
  lateral?: string;
  transformer?: string;
  phases?: string;
  fuse?: number;
  factor: number;
  tariff?: string;
  pv: boolean;
  protected: boolean;
  contract: string;
  customer?: string;
  tags: string[] | null;
  meter?: string;
}

export interface DeadLetter {
  id: string;
  topic: string;
  reason: string;
  detail?: string;
  said?: Said[];
  client?: string;
  received: string; // wall time
  size: number;
  payload: string; // base64
}

export interface AuditRecord {
  sequence: number;
  hash: string;
  entry: { time: string; actor: string; action: string; subject?: string; meter?: string; detail?: unknown };
}

/** Of one key, by step. */
export interface HourCounts {
  key: string;
  meters: number;
  expected: number[];
  missing: number[];
}

/** Completeness by key and step of time. */
export interface CompleteHours {
  from: string;
  to: string;
  minutes: number;
  items: HourCounts[];
  next?: string;
}
