// What the console knows of the centre, kept true by the live stream. One object per page load.
import { eventName } from '../api/coalesce';
import { forgetEarly } from '../api/early';
import type { RollOut } from '../api/firmware';
import { get, problemOf } from '../api/http';
import { Live, type Link, type Way } from '../api/live';
import type { CloudEvent, Command, Concentrator, EventFilter, Meter, Outage, Page as Paged, Principal, Problem, Storm, Totals } from '../api/shapes';
import { askAgain, maxPaged } from './ask.svelte';
import { businessTime } from './clock';
import { addSample, collectionRate, type Sample } from './collection';
import { asked, commandsWith, upsert } from './commands';
import { listPath, shownFirst, type Shown } from './first';
import { Follow } from './follow';
import { Pace } from './pace';
import type { Page } from './route';
import { applyConcentrators } from './tree';

const gapMs = 5_000; // events that are lost are made up for at this pace: a tab that cannot keep up is not given more to do
const trendLength = 90; // points, one for each push of the totals

/** A list that was asked for: its items, and how the asking went. */
export class Listing<T extends { id: string }> {
  items = $state.raw<readonly T[]>([]);
  loaded = $state(false);
  problem = $state.raw<Problem | null>(null);
  next = $state('');
  loading = $state(false);
  readonly #path: string;
  readonly #merge: (old: readonly T[], page: readonly T[], most?: number) => readonly T[];

  constructor(path: string, merge: (old: readonly T[], page: readonly T[], most?: number) => readonly T[]) {
    this.#path = path;
    this.#merge = merge;
  }

  /** Asks for the first page; with all, for every page. */
  async load(all = false): Promise<void> {
    this.loading = true;
    try {
      let cursor: string | undefined;
      do {
        const page: Paged<T> = await get<Paged<T>>(this.#path, { limit: all ? 1000 : 100, cursor });
        this.items = this.#merge(this.items, page.items ?? []);
        cursor = page.next;
      } while (all && cursor);
      if (!this.loaded) this.next = cursor ?? '';
      this.loaded = true;
      this.problem = null;
    } catch (err) {
      this.problem = problemOf(err);
    } finally {
      this.loading = false;
    }
  }

  /** Asks for the page after those that are there. */
  async more(): Promise<void> {
    if (!this.next || this.loading || this.problem || this.items.length >= maxPaged) return;
    this.loading = true;
    try {
      const page = await get<Paged<T>>(this.#path, { limit: 100, cursor: this.next });
      this.items = this.#merge(this.items, page.items ?? [], maxPaged);
      this.next = page.next ?? '';
      this.problem = null;
    } catch (err) {
      this.problem = problemOf(err);
    } finally {
      this.loading = false;
    }
  }

  apply(changed: readonly T[]): void {
    this.items = this.#merge(this.items, changed);
  }
}

export const commandList = (path: string, fits: (c: Command) => boolean): Listing<Command> => new Listing<Command>(path, (a, b, most) => commandsWith(a, b, fits, most));

export class Centre {
  link = $state<Link>('connecting');
  way = $state<Way>('websocket');
  totals = $state.raw<Totals | null>(null);
  problem = $state.raw<Problem | null>(null); // of the last look at the totals
  storm = $state.raw<Storm | null>(null);
  me = $state.raw<Principal | null>(null); // who the token says that looks; null: not known yet
  now = $state(0); // business time, ms; 0: not known yet. It stands still while the link is down
  wall = $state(Date.now());
  beat = $state(false); // changes each time that totals come
  rates = $state.raw<number[]>([]);
  powers = $state.raw<number[]>([]);
  samples = $state.raw<Sample[]>([]);
  rate = $derived(collectionRate(this.samples));

  readonly concentrators = new Listing<Concentrator>(listPath.concentrators, (a, b) => applyConcentrators(a, b));
  /** What people and programs asked for. */
  readonly commands = commandList(listPath.commands, asked);
  /** Those that the centre gives by itself, and all: once a page has asked for them. */
  readonly own = commandList('v1/commands?origin=centre', (c) => !asked(c));
  readonly every = commandList('v1/commands', () => true);
  /** Those that wait for approval, however old they are. */
  readonly waiting = new Listing<Command>(listPath.waiting, (a, b) => commandsWith(a, b, asked).filter((c) => c.state === 'pending-approval'));
  readonly outages = new Listing<Outage>(listPath.outages, (a, b, most) => upsert(a, b, most));

  #at = 0; // performance.now() when the totals came
  #live: Live;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #onMeters = new Set<(meters: Meter[]) => void>();
  #onCommands = new Set<(commands: readonly Command[]) => void>();
  #onReadings = new Set<(events: CloudEvent[]) => void>();
  #onRollOuts = new Set<(rollOuts: readonly RollOut[]) => void>();
  #onResync = new Set<() => void>();
  #gaps = new Pace(gapMs);
  #looked = false; // everything has been asked for
  readonly #lists: Record<Shown | 'me', () => void> = {
    concentrators: () => void this.concentrators.load(true),
    commands: () => void this.commands.load(),
    waiting: () => void this.waiting.load(true),
    outages: () => void this.outages.load(),
    storm: () => void get<Storm>(listPath.storm).then((s) => (this.storm = s), () => {}), // the totals' problem says why
    me: () => void this.#lookMe(),
  };

  constructor() {
    this.#live = new Live({
      types: ['totals', 'command', 'outage', 'concentrator', 'storm'],
      onEvents: (events) => this.#take(events),
      onLink: (link, way) => {
        this.link = link;
        this.way = way;
        if (link === 'stale') void this.#lookTotals(); // a stream that cannot be opened does not tell why: perhaps the token is not known any more
      },
      onOpen: (again) => {
        if (again || this.#looked) this.resync();
      },
      onGap: () => this.#gaps.call(() => this.resync()),
    });
  }

  /** Begins with what the page shows. */
  start(page: Page): void {
    this.#live.start();
    this.#ticker = setInterval(() => this.#tick(), 1000);
    void this.#lookTotals();
    for (const list of shownFirst(page)) this.#lists[list]();
  }

  /** Goes on with all else, and once more with what was asked for before changes of it were followed. */
  lookAll(): void {
    forgetEarly();
    this.#looked = true;
    this.#look();
  }

  stop(): void {
    this.#live.stop();
    clearInterval(this.#ticker);
    this.#gaps.stop();
  }

  /** Everything may have changed: looks all of it up anew. */
  resync(): void {
    this.#look();
    askAgain();
    for (const f of this.#onResync) f();
  }

  /** The token changed. */
  reconnect(): void {
    forgetEarly();
    this.#live.restart();
    this.resync();
  }

  follow(filter: EventFilter & { id: string }, followed?: () => void): () => void {
    return this.#live.follow(filter, followed);
  }

  /** The states of what somebody has in view; see Follow. */
  followStates(owner: string, followed: () => void): Follow {
    return new Follow(owner, (filter) => this.#live.follow(filter, followed));
  }

  onMeters(f: (meters: Meter[]) => void): () => void {
    this.#onMeters.add(f);
    return () => this.#onMeters.delete(f);
  }

  onReadings(f: (events: CloudEvent[]) => void): () => void {
    this.#onReadings.add(f);
    return () => this.#onReadings.delete(f);
  }

  /** Those of whoever follows events of the type firmware. */
  onRollOuts(f: (rollOuts: readonly RollOut[]) => void): () => void {
    this.#onRollOuts.add(f);
    return () => this.#onRollOuts.delete(f);
  }

  onResync(f: () => void): () => void {
    this.#onResync.add(f);
    return () => this.#onResync.delete(f);
  }

  /** Takes in what an answer or an event says of commands. */
  applyCommands(changed: readonly Command[]): void {
    this.commands.apply(changed);
    for (const list of [this.own, this.every]) if (list.loaded) list.apply(changed);
    this.waiting.apply(changed);
    for (const f of this.#onCommands) f(changed);
  }

  onCommands(f: (commands: readonly Command[]) => void): () => void {
    this.#onCommands.add(f);
    return () => this.#onCommands.delete(f);
  }

  #look(): void {
    void this.#lookTotals();
    for (const look of Object.values(this.#lists)) look();
    for (const list of [this.own, this.every]) if (list.loaded) void list.load();
  }

  async #lookTotals(): Promise<void> {
    try {
      this.#setTotals(await get<Totals>('v1/totals'));
      this.problem = null;
    } catch (err) {
      this.problem = problemOf(err);
    }
  }

  async #lookMe(): Promise<void> {
    try {
      this.me = await get<Principal>('v1/me');
    } catch {
      this.me = null; // the totals' problem says why
    }
  }

  #setTotals(t: Totals): void {
    this.totals = t;
    this.beat = !this.beat;
    this.#at = performance.now();
    this.samples = addSample(this.samples, t.completeness.missing, this.#at);
    this.rates = [...this.rates, t.readingsPerSecond].slice(-trendLength);
    this.powers = [...this.powers, t.power].slice(-trendLength);
    this.now = businessTime(t, 0);
  }

  #tick(): void {
    this.wall = Date.now();
    if (this.totals && this.link === 'live') this.now = businessTime(this.totals, performance.now() - this.#at);
  }

  #take(events: CloudEvent[]): void {
    const meters: Meter[] = [];
    const readings: CloudEvent[] = [];
    const concentrators: Concentrator[] = [];
    const commands: Command[] = [];
    const outages: Outage[] = [];
    const rollOuts: RollOut[] = [];
    let again = false; // what was asked for while the centre could not answer yet, although its stream was open
    for (const e of events) {
      switch (eventName(e.type)) {
        case 'totals':
          this.#setTotals(e.data as Totals);
          again ||= this.problem !== null;
          this.problem = null;
          break;
        case 'state':
          meters.push(e.data as Meter);
          break;
        case 'reading':
          readings.push(e);
          break;
        case 'concentrator':
          concentrators.push(e.data as Concentrator);
          break;
        case 'command':
          commands.push(e.data as Command);
          break;
        case 'firmware':
          rollOuts.push(e.data as RollOut);
          break;
        case 'storm':
          this.storm = e.data as Storm;
          break;
        case 'outage':
          outages.push(e.data as Outage);
          break;
      }
    }
    if (concentrators.length > 0) this.concentrators.apply(concentrators);
    if (commands.length > 0) this.applyCommands(commands);
    if (outages.length > 0) this.outages.apply(outages);
    if (rollOuts.length > 0) for (const f of this.#onRollOuts) f(rollOuts);
    if (meters.length > 0) for (const f of this.#onMeters) f(meters);
    if (readings.length > 0) for (const f of this.#onReadings) f(readings);
    if (again) this.resync();
  }
}

export const centre = new Centre();
