import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Ask } from './ask.svelte';
import { Centre } from './centre.svelte';

class FakeSocket {
  static last: FakeSocket;
  onopen?: () => void;
  onmessage?: (m: { data: string }) => void;
  constructor() {
    FakeSocket.last = this;
  }
  send() {}
  close() {}
}

const totals = { time: '2018-12-13T00:00:00Z', completeness: { missing: 0 }, readingsPerSecond: 1, power: 2 };
let ready = false;

beforeEach(() => {
  vi.useFakeTimers();
  ready = false;
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('document', { baseURI: 'http://localhost/', visibilityState: 'visible', addEventListener() {}, removeEventListener() {} });
  vi.stubGlobal('addEventListener', () => {});
  vi.stubGlobal('removeEventListener', () => {});
  vi.stubGlobal('fetch', async (url: URL) => {
    if (!ready) return Response.json({ title: 'Service Unavailable', status: 503 }, { status: 503 });
    return Response.json(url.pathname === '/v1/totals' ? totals : { items: [] });
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

// A centre that starts opens its stream before it can answer.
it('asks again for what the centre could not answer yet when its totals come', async () => {
  const centre = new Centre();
  const audit = new Ask<{ items: unknown[] }>();
  centre.start('audit');
  FakeSocket.last.onopen!();
  centre.lookAll();
  await audit.load('v1/audit');
  await vi.waitFor(() => expect([centre.problem?.status, centre.outages.problem?.status, audit.problem?.status]).toEqual([503, 503, 503]));
  ready = true;
  FakeSocket.last.onmessage!({ data: JSON.stringify({ specversion: '1.0', id: '1', type: 'wattbus.totals.v1', source: '/centre', time: '', data: totals }) });
  await vi.advanceTimersByTimeAsync(1000);
  expect([centre.problem, centre.outages.problem, audit.problem]).toEqual([null, null, null]);
  expect(audit.value).toEqual({ items: [] });
  centre.stop();
});
