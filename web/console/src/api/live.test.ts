import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { coalesce, eventName } from './coalesce';
import type { CloudEvent } from './shapes';
import { sseParser, type SseMessage } from './sse';

const tokens = vi.hoisted(() => ({ asked: [] as string[] }));
vi.mock('./token.svelte', () => ({ token: () => '', askForToken: (refused: string) => tokens.asked.push(refused) })); // runes need a compiler

const event = (name: string, subject: string, data: unknown = {}): CloudEvent => ({
  specversion: '1.0', id: '1', type: `wattbus.${name}.v1`, source: `/meter/${subject}`, subject, time: '', data,
});

describe('events', () => {
  it('are named by the middle of their type', () => {
    expect(eventName('wattbus.state.v1')).toBe('state');
    expect(eventName('odd')).toBe('');
  });
  it('keep the newest of each thing and all readings', () => {
    const kept = coalesce([
      event('state', 'M1', { id: 'M1', n: 1 }),
      event('reading', 'M1', { n: 2 }),
      event('state', 'M2', { id: 'M2', n: 3 }),
      event('state', 'M1', { id: 'M1', n: 4 }),
      event('reading', 'M1', { n: 5 }),
      event('command', 'M1', { id: '7', n: 6 }),
      event('command', 'M1', { id: '8', n: 7 }),
    ]);
    expect(kept.map((e) => (e.data as { n: number }).n)).toEqual([2, 3, 4, 5, 6, 7]);
  });
});

describe('server-sent events', () => {
  const feed = (...chunks: string[]) => {
    const got: SseMessage[] = [];
    const take = sseParser((m) => got.push(m));
    chunks.forEach(take);
    return got;
  };
  it('are read however they are cut', () => {
    const text = 'retry: 2000\n: following\n\nevent: state\nid: 4\ndata: {"a":1}\n\ndata: x\ndata:y\n\n';
    const want = [{ event: 'state', data: '{"a":1}' }, { event: 'message', data: 'x\ny' }];
    expect(feed(text)).toEqual(want);
    expect(feed(...text)).toEqual(want);
    expect(feed(...text.replaceAll('\n', '\r\n'))).toEqual(want);
  });
});

class FakeSocket {
  static all: FakeSocket[] = [];
  onopen?: () => void;
  onclose?: (e: { code: number }) => void;
  onmessage?: (m: { data: string }) => void;
  sent: unknown[] = [];
  closed = false;
  constructor(readonly url: URL) {
    FakeSocket.all.push(this);
  }
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.closed = true;
  }
}

describe('the live stream', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    FakeSocket.all = [];
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.stubGlobal('document', { baseURI: 'http://127.0.0.1:8080/', visibilityState: 'visible', addEventListener() {}, removeEventListener() {} });
    vi.stubGlobal('addEventListener', () => {});
    vi.stubGlobal('removeEventListener', () => {});
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  async function start() {
    const { Live } = await import('./live');
    const seen = { links: [] as string[], opens: [] as boolean[], events: 0, gaps: 0 };
    const live = new Live({
      types: ['command', 'totals'],
      onEvents: (e) => (seen.events += e.length),
      onLink: (l) => seen.links.push(l),
      onOpen: (again) => seen.opens.push(again),
      onGap: () => seen.gaps++,
    });
    live.start();
    return { live, seen, last: () => FakeSocket.all.at(-1)! };
  }

  it('opens, breaks, gets stale, and subscribes again to what is followed', async () => {
    const { live, seen, last } = await start();
    expect(String(last().url)).toBe('ws://127.0.0.1:8080/v1/events?type=command%2Ctotals');
    last().onopen!();
    const filter = { id: 'page', types: ['reading'], meter: 'M1' };
    const end = live.follow(filter);
    expect(last().sent).toEqual([{ subscribe: filter }]);
    last().onmessage!({ data: JSON.stringify(event('state', 'M1')) });
    last().onmessage!({ data: 'no json' });
    vi.advanceTimersByTime(100);
    expect(seen.events).toBe(1);

    last().onclose!({ code: 1006 });
    expect(seen.links).toEqual(['live', 'reconnecting']);
    vi.advanceTimersByTime(600);
    expect(FakeSocket.all).toHaveLength(2);
    vi.advanceTimersByTime(10_000);
    expect(seen.links.at(-1)).toBe('stale');
    last().onopen!();
    expect(seen.links.at(-1)).toBe('live');
    expect(last().sent).toEqual([{ subscribe: filter }]);
    expect(seen.opens).toEqual([false]); // nothing is looked up before everything is followed again
    last().onmessage!({ data: JSON.stringify({ subscribed: filter }) });
    expect(seen.opens).toEqual([false, true]);
    end();
    expect(last().sent.at(-1)).toEqual({ unsubscribe: filter });
    live.stop();
    expect(last().closed).toBe(true);
  });

  it('hands a storm on in few batches, and a single event soon', async () => {
    const { live, seen, last } = await start();
    last().onopen!();
    const batches: number[] = [];
    for (let ms = 0; ms < 1000; ms += 10) {
      last().onmessage!({ data: JSON.stringify(event('state', `M${ms}`)) });
      vi.advanceTimersByTime(10);
      if (seen.events > (batches.at(-1) ?? 0)) batches.push(seen.events);
    }
    expect(batches).toHaveLength(4);
    vi.advanceTimersByTime(1000);
    const before = seen.events;
    last().onmessage!({ data: JSON.stringify(event('state', 'M1')) });
    vi.advanceTimersByTime(80);
    expect(seen.events).toBe(before + 1);
    live.stop();
  });

  it('gives a silent connection up, but not one with heartbeats', async () => {
    const { live, seen, last } = await start();
    last().onopen!();
    for (let i = 0; i < 10; i++) {
      vi.advanceTimersByTime(15_000);
      last().onmessage!({ data: '{"heartbeat":{"time":"2018-12-13T00:00:00Z"}}' });
    }
    expect(seen.links).toEqual(['live']);
    vi.advanceTimersByTime(36_000);
    expect(seen.links.at(1)).toBe('reconnecting');
    live.stop();
  });

  it('asks for a token when the one it was opened with was taken back', async () => {
    const { live, last } = await start();
    last().onopen!();
    last().onclose!({ code: 1001 });
    expect(tokens.asked).toEqual([]);
    vi.advanceTimersByTime(600);
    last().onopen!();
    last().onclose!({ code: 1008 });
    expect(tokens.asked).toEqual(['']); // the token of these tests
    live.stop();
  });

  it('tells of a gap only when something was lost', async () => {
    const { live, seen, last } = await start();
    last().onopen!();
    last().onmessage!({ data: '{"gap":{"coalesced":9,"dropped":0}}' });
    expect(seen.gaps).toBe(0);
    last().onmessage!({ data: '{"gap":{"coalesced":0,"dropped":2}}' });
    expect(seen.gaps).toBe(1);
    live.stop();
  });

  it('turns to server-sent events where no WebSocket opens', async () => {
    const asked: string[] = [];
    vi.stubGlobal('fetch', (url: URL) => {
      asked.push(String(url));
      return new Promise(() => {});
    });
    const { live, last } = await start();
    last().onclose!({ code: 1006 });
    vi.advanceTimersByTime(600);
    last().onclose!({ code: 1006 });
    vi.advanceTimersByTime(1_100);
    expect(asked).toEqual(['http://127.0.0.1:8080/v1/events?type=command%2Ctotals%2Cstate&stream=sse']);
    live.stop();
  });

  it('waits longer from try to try, and not for ever', async () => {
    const { backoff } = await import('./live');
    expect(backoff(0, 0)).toBe(250);
    expect(backoff(3, 1)).toBe(4000);
    expect(backoff(50, 1)).toBe(15_000);
  });
});
