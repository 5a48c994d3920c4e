// The live stream: a WebSocket to /v1/events or, where none can be had, server-sent events. It reconnects by itself.
//
//   connecting --open--> live --closed or silent--> reconnecting --10 s--> stale --open--> live
//
// Server and network may say nothing for 15 s (a heartbeat); twice that and a bit means that the stream is dead.
import { coalesce } from './coalesce';
import { address } from './address';
import { protocolsOf } from './kepttoken';
import type { CloudEvent, EventFilter, LiveControl } from './shapes';
import { followSse } from './sse';
import { askForToken, token } from './token.svelte';

export type Link = 'connecting' | 'live' | 'reconnecting' | 'stale';
export type Way = 'websocket' | 'sse';

const silentMs = 35_000;
const staleMs = 10_000;
const batchMs = 80; // events are handed on together
const batchesMs = 250; // from one batch to the next, so that a storm costs few renderings
const takenBack = 1008; // how the server closes a stream whose token is not known any more
const maxBatch = 5_000; // beyond it a batch is handed on at once: bounds what a hidden tab keeps

export interface LiveOptions {
  types: string[];
  onEvents(events: CloudEvent[]): void;
  onLink(link: Link, way: Way): void;
  onOpen(again: boolean): void; // again: what happened in between is to be looked up
  onGap(): void; // events were lost
}

/** How long to wait before attempt n (from 0), ms; jitter in [0, 1) spreads the tabs after a restart of the server. */
export function backoff(n: number, jitter: number): number {
  return Math.min(15_000, 500 * 2 ** n) * (0.5 + jitter / 2);
}

export class Live {
  #opt: LiveOptions;
  #way: Way = 'websocket';
  #everOpen = { websocket: false, any: false };
  #attempt = 0;
  #close: (() => void) | null = null;
  #send: ((text: string) => void) | null = null;
  #filters = new Map<string, { filter: EventFilter; followed?: (() => void) | undefined; stop?: () => void }>();
  #awaited = new Set<string>(); // subscriptions that a reopened stream has not confirmed yet
  #batch: CloudEvent[] = [];
  #flushed = -Infinity; // when the last batch was handed on, by performance.now()
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #silentTimer: ReturnType<typeof setTimeout> | undefined;
  #staleTimer: ReturnType<typeof setTimeout> | undefined;
  #link: Link = 'connecting';
  #wake = () => {
    if (this.#link !== 'live' && document.visibilityState === 'visible') this.#retry(0);
  };

  constructor(opt: LiveOptions) {
    this.#opt = opt;
  }

  start(): void {
    addEventListener('online', this.#wake);
    document.addEventListener('visibilitychange', this.#wake);
    this.#staleTimer = setTimeout(() => this.#set('stale'), staleMs);
    this.#open();
  }

  stop(): void {
    removeEventListener('online', this.#wake);
    document.removeEventListener('visibilitychange', this.#wake);
    for (const t of [this.#flushTimer, this.#retryTimer, this.#silentTimer, this.#staleTimer]) clearTimeout(t);
    this.#close?.();
    this.#close = null;
  }

  /** Closes and opens anew, as after a change of the token. */
  restart(): void {
    this.#close?.();
    this.#retry(0);
  }

  /**
   * Follows more events, over every reconnection, until the returned function is called. followed is called once the server has said that
   * it does: what happened before that is to be looked up.
   */
  follow(filter: EventFilter & { id: string }, followed?: () => void): () => void {
    this.#filters.set(filter.id, { filter, followed });
    this.#subscribe(filter.id);
    return () => {
      this.#filters.get(filter.id)?.stop?.();
      this.#filters.delete(filter.id);
      this.#send?.(JSON.stringify({ unsubscribe: filter }));
    };
  }

  #subscribe(id: string): void {
    const entry = this.#filters.get(id);
    if (!entry || !this.#close) return;
    if (this.#send) {
      this.#send(JSON.stringify({ subscribe: entry.filter }));
    } else if (this.#way === 'sse' && this.#link === 'live') {
      entry.stop?.();
      const end = new AbortController();
      entry.stop = () => end.abort();
      const { types, meter, path } = entry.filter;
      // Each would be a connection of its own, of which a browser has few: states come by the main stream, all of them.
      if (types?.every((type) => type === 'state')) return entry.followed?.();
      // When it breaks, so does the main stream, and both are opened again.
      followSse(address('v1/events', { type: types?.join(','), meter, path, stream: 'sse' }), this.#headers(), end.signal, () => {}, (m) => this.#take(m.data)).catch(() => {});
    }
  }

  #headers(): Record<string, string> {
    return token() ? { Authorization: `Bearer ${token()}` } : {};
  }

  #open(): void {
    clearTimeout(this.#retryTimer);
    this.#close?.();
    if (this.#way === 'websocket') this.#openWebSocket();
    else this.#openSse();
  }

  #openWebSocket(): void {
    const url = address('v1/events', { type: this.#opt.types.join(',') });
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const ws = new WebSocket(url, protocolsOf(token()));
    const ended = () => {
      if (this.#close !== close) return; // an older one
      this.#closed();
    };
    const close = () => {
      this.#close = null;
      this.#send = null;
      ws.onopen = ws.onmessage = ws.onclose = ws.onerror = null;
      ws.close();
    };
    this.#close = close;
    ws.onopen = () => {
      this.#everOpen.websocket = true;
      this.#send = (text) => ws.send(text);
      this.#opened();
    };
    ws.onmessage = (m) => this.#take(String(m.data));
    ws.onclose = (e) => {
      if (e.code === takenBack) askForToken(token());
      ended();
    };
    this.#alive();
  }

  #openSse(): void {
    const end = new AbortController();
    const close = () => {
      this.#close = null;
      end.abort();
      for (const f of this.#filters.values()) f.stop?.();
    };
    const ended = () => {
      if (this.#close === close) this.#closed();
    };
    this.#close = close;
    const url = address('v1/events', { type: [...this.#opt.types, 'state'].join(','), stream: 'sse' });
    followSse(url, this.#headers(), end.signal, () => this.#opened(), (m) => this.#take(m.data)).then(ended, ended);
    this.#alive();
  }

  #opened(): void {
    const again = this.#everOpen.any;
    this.#everOpen.any = true;
    this.#attempt = 0;
    clearTimeout(this.#staleTimer);
    this.#set('live');
    this.#alive();
    for (const id of this.#filters.keys()) this.#subscribe(id);
    // What happened in between is looked up once everything is followed again: no event falls between the two.
    this.#awaited = new Set(again && this.#send ? this.#filters.keys() : []);
    if (this.#awaited.size === 0) this.#opt.onOpen(again);
  }

  #closed(): void {
    this.#close?.();
    clearTimeout(this.#silentTimer);
    if (this.#link === 'live') {
      this.#set('reconnecting');
      clearTimeout(this.#staleTimer);
      this.#staleTimer = setTimeout(() => this.#set('stale'), staleMs);
    }
    this.#attempt++;
    // A proxy may let no WebSocket through: try the other way then, and this one again later.
    if (this.#way === 'sse') this.#way = this.#everOpen.websocket || this.#attempt % 2 === 0 ? 'websocket' : 'sse';
    else if (!this.#everOpen.websocket && this.#attempt >= 2) this.#way = 'sse';
    this.#retry(backoff(this.#attempt - 1, Math.random()));
  }

  #retry(ms: number): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#open(), ms);
  }

  /** Something came, or the attempt began: the stream is given up when nothing comes for long. */
  #alive(): void {
    clearTimeout(this.#silentTimer);
    this.#silentTimer = setTimeout(() => this.#closed(), silentMs);
  }

  #take(text: string): void {
    this.#alive();
    let message: CloudEvent | LiveControl;
    try {
      message = JSON.parse(text) as CloudEvent | LiveControl;
    } catch {
      console.warn('wattbus: a live message is no JSON', text.slice(0, 200));
      return;
    }
    if ('specversion' in message) {
      this.#batch.push(message);
      if (this.#batch.length >= maxBatch) this.#flush();
      else this.#flushTimer ??= setTimeout(() => this.#flush(), Math.max(batchMs, this.#flushed + batchesMs - performance.now()));
      return;
    }
    const id = message.subscribed?.id;
    if (id && this.#awaited.delete(id)) {
      if (this.#awaited.size === 0) this.#opt.onOpen(true); // who looks everything up
    } else if (id) this.#filters.get(id)?.followed?.();
    if (message.gap && message.gap.dropped > 0) this.#opt.onGap();
    if (message.error) console.warn('wattbus: the live stream refused', message.error);
  }

  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    this.#flushed = performance.now();
    const events = coalesce(this.#batch);
    this.#batch = [];
    this.#opt.onEvents(events);
  }

  #set(link: Link): void {
    if (link === 'stale' && this.#link === 'live') return;
    this.#link = link;
    this.#opt.onLink(link, this.#way);
  }
}
