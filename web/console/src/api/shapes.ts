// The JSON shapes of the HTTP API and of the live events: what internal/api declares in Go, field by field.
// Times are RFC 3339 strings, energy is Wh.

export interface Problem {
  type?: string;
  title: string;
  status: number; // 0: no answer at all
  detail?: string;
  field?: string;
  errors?: { field: string; detail: string; said?: Said[] }[];
  said?: Said[];
}

export interface Page<T> {
  items: T[];
  next?: string;
}

export interface Fact {
  state: string;
  since: string;
}

export interface Register {
  import: number;
  export: number;
  time: string;
  power: number; // W
  voltage: number; // V
}

export type MeterState =
  | 'never-seen'
  | 'power-lost'
  | 'unreachable'
  | 'comm-lost'
  | 'sleeping'
  | 'disconnected'
  | 'online';

export interface Meter {
  id: string;
  kind: string;
  path: string;
  state: MeterState;
  link: Fact;
  power: Fact;
  breaker: Fact;
  firstSeen?: string;
  lastSeen?: string;
  register?: Register;
  flags: string[] | null;
  capabilities: string[] | null;
  interval: number; // minutes
  firmware?: string;
  registration: number;
  wakesAt?: string; // of a meter that sleeps, at the latest
  oldest?: string;
  missing: number;
  lost?: number; // of the missing ones, lost for good
  groups?: number[];
  life?: string; // what the registry says
  verdict?: Verdict;
  usagePoint?: string;
  substation?: string;
  feeder?: string;
  transformer?: string;
}

export interface Reading {
  start: string;
  end: string;
  import: number | null;
  export?: number | null;
  quality: string; // raw, validated, estimated, edited, missing
  register?: number;
  readingQuality?: string; // IEC 61968-9 code of the import value
  raw?: number | null; // the value as it came, where another is used
}

export interface Concentrator {
  id: string;
  path: string; // its parents and then its own id
  state: string; // online, lost, offline, unknown
  since: string;
  meters: number;
  below: number;
  states: Record<string, number> | null;
}

export interface Evidence {
  time: string;
  what: string;
}

/** What a verdict or a cause rests on. */
/** A sentence of the centre by its code. */
export interface Said {
  code: string;
  params?: Record<string, string>;
}

export interface Ground {
  what: string;
  time?: string;
  weight: number; // log-odds; above 0 it speaks for a lost supply
  detail: string;
  said?: Said;
}

export interface Outage {
  id: string;
  kind: string; // power-lost, comm-lost, unreachable
  meter?: string;
  concentrator?: string;
  path: string;
  start: string;
  end: string | null;
  affected: number;
  evidence: Evidence[] | null;
  // Of outages of supply:
  scope?: string; // meter, transformer, lateral, feeder
  element?: string;
  grid?: GridPlace;
  cause?: string; // what opened or failed, as far as the facts tell
  grounds?: Ground[]; // what that rests on
  stated?: { category: string; comment?: string; by?: string; time?: string }; // why, as a person says
  confidence?: number; // 0 to 1
  class?: string; // momentary, sustained
  restored?: number;
  inferred?: number; // of the affected meters, those that sent no last gasp
  partial?: boolean;
  signs?: Signs;
  merged?: string;
  retracted?: boolean;
  maintenance?: string; // the window
}

export interface GridPlace {
  substation?: string;
  feeder?: string;
  lateral?: string;
  transformer?: string;
}

/** What the meters of an outage's element show. */
export interface Signs {
  meters: number;
  lastGasps: number;
  wills: number;
  silences: number;
  noAnswers: number;
  alive: number;
  back: number;
  unreachable: number;
}

/** What is thought of a meter's supply; unlike the facts an inference. */
export interface Verdict {
  state: string; // supplied, power-lost, comm-lost, opened, maintenance, unreachable, unknown
  confidence: number;
  since?: string;
  case?: string;
  evidence?: Ground[];
}

export interface Interruption {
  id: string;
  meter: string;
  case?: string;
  start: string;
  end: string | null;
  class?: string;
  inferred?: boolean;
  planned?: boolean;
  retracted?: boolean;
  opened?: boolean;
  assumedEnd?: boolean;
}

export interface Storm {
  active: boolean;
  since?: string;
  alarmsPerMinute: number;
  peak: number;
  interruptions: number;
  count: number;
  shed?: Record<string, number>;
}

export interface Indices {
  feeder: string;
  customers: number;
  sustained: number;
  momentary: number;
  minutes: number;
  saidi: number;
  saifi: number;
  caidi: number;
  maifi: number;
  planned: number;
  plannedMinutes: number;
  open: number;
}

export interface Maintenance {
  id: string;
  state?: string; // planned, active
  scope: string;
  name?: string;
  feeder?: string;
  from: string;
  to: string;
  reason?: string;
  by?: string;
  endedBy?: string;
}

/** A time during which a meter hung on one path. */
export interface PathEpoch {
  path: string;
  from: string;
  to: string | null;
}

/** An operator or feeder whose disconnections are stopped. */
export interface Quarantine {
  name: string;
  since: string; // wall time
  why: string;
  said?: Said;
  command: string;
  by?: string;
}

export interface Budget {
  kind: 'disconnect' | 'operator' | 'feeder' | 'reconnect';
  name?: string;
  meters: number;
  seconds: number;
  left?: number;
  held?: boolean;
}

export interface Budgets {
  approveFrom: number; // 0: never
  breakers: Budget[] | null;
  backfill: { off?: boolean; perConcentrator: number; total: number; partsPerSecond?: number; inFlight: number; waiting: number };
  registrations?: { atOnce: number; perSecond: number; waiting: number; mostWaiting: number };
  calls: { perSecond?: number; atOnce?: number; streams: number };
}

export interface Counts {
  expected: number;
  received: number;
  recovered: number;
  missing: number;
  percent: number;
}

export interface Totals {
  time: string;
  speed: number;
  paused: boolean;
  meters: number;
  concentrators: number;
  states: Record<string, number> | null;
  completeness: Counts;
  readingsPerSecond: number;
  power: number; // W
  commandsOpen: number;
  outagesOpen: number;
  backfill: { waiting: number; inFlight: number };
  deadLetters: number;
  store?: Storage;
}

export interface Storage {
  bytes: number;
  blockBytes: number;
  blockIntervals: number;
  chunkBytes: number;
  chunkIntervals: number;
}

export interface Target {
  meter?: string;
  meters?: string[];
  path?: string;
  group?: number;
  query?: TargetQuery;
  listed?: number; // how many meters a list names, where the list itself is left out
}

/** Meters by what the registry and the centre know of them when the command is made: all that is set has to fit. */
export interface TargetQuery {
  path?: string;
  substation?: string;
  feeder?: string;
  transformer?: string;
  tag?: string;
  contract?: string;
  state?: string;
}

export interface Group {
  group: number;
  members: { id: string; confirmed: string | null }[] | null;
}

export interface Params {
  from?: string;
  to?: string;
  channel?: string;
  arm?: boolean;
  minutes?: number;
  groups?: number[];
}

export interface CommandRequest {
  target: Target;
  type: string;
  params?: Params;
  expiresIn?: number; // seconds
  at?: string; // wall time; at once when absent
  priority?: string; // low, normal, high
}

export interface Transition {
  state: string;
  time: string; // wall time
  detail?: string;
  said?: Said;
}

export interface CommandResult {
  outcome: string;
  breaker?: string;
  detail: number;
  reason?: string;
  said?: Said;
  register?: Register;
  readings?: Reading[];
  time: string; // the device's clock
}

export interface Command {
  id: string;
  type: string;
  target: Target;
  params?: Params;
  by?: string;
  state: string;
  created: string; // wall time
  at?: string; // of one that goes out later, wall time
  priority?: string;
  expires?: string;
  sends: number;
  queuedUntil?: string; // of a meter that sleeps: when it fetches the command, wall time
  approval?: Approval;
  history: Transition[] | null;
  result?: CommandResult;
  bulk?: { total: number; states: Record<string, number> | null; stragglers: string[] | null };
}

/** Why a command has to be approved by another person, and what became of that. */
export interface Approval {
  why: string;
  said?: Said;
  by?: string;
  time?: string;
  rejected?: boolean;
  comment?: string;
}

export interface Principal {
  name: string;
  rights: string[];
}

export interface ReadingEvent {
  meter: string;
  path: string;
  register: Register;
  interval?: Reading; // none for a read on demand
  flags: string[] | null;
  received: string;
}

/** A CloudEvent 1.0 as it comes over /v1/events. */
export interface CloudEvent {
  specversion: string;
  id: string;
  type: string; // wattbus.<name>.v1
  source: string;
  subject: string;
  time: string;
  data: unknown;
}

export interface EventFilter {
  id?: string;
  types?: string[];
  meter?: string;
  path?: string;
}

/** What the server sends besides events; one member is set. */
export interface LiveControl {
  subscribed?: EventFilter;
  unsubscribed?: EventFilter;
  gap?: { coalesced: number; dropped: number };
  heartbeat?: { time: string };
  error?: Problem;
}
