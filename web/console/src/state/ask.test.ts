import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Ask, askAgain, Paged } from './ask.svelte';

/** The centre is away until it is back; then it has two pages of a list. */
let away = true;
let asked: string[] = [];

beforeEach(() => {
  away = true;
  asked = [];
  vi.stubGlobal('document', { baseURI: 'http://localhost/', visibilityState: 'visible' });
  vi.stubGlobal('fetch', async (url: URL) => {
    asked.push(url.pathname + url.search);
    if (away) throw new TypeError('Failed to fetch');
    const second = url.searchParams.get('cursor') === '2';
    return Response.json({ items: [second ? 'b' : 'a'], ...(second ? {} : { next: '2' }) });
  });
});
afterEach(() => vi.unstubAllGlobals());

describe('a question without an answer', () => {
  it('is asked again when the centre is back', async () => {
    const one = new Ask<{ items: string[] }>();
    const list = new Paged<string>();
    await Promise.all([one.load('v1/one', { x: 1 }), list.load('v1/list')]);
    expect([one.problem?.status, list.problem?.status]).toEqual([0, 0]);
    askAgain(); // and is still away
    await vi.waitFor(() => expect(asked.length).toBe(4));
    away = false;
    asked = [];
    await vi.waitFor(() => {
      askAgain();
      expect([one.problem, list.problem]).toEqual([null, null]);
    });
    expect(one.value?.items).toEqual(['a']);
    expect(list.rows).toEqual(['a']);
    expect(asked.sort()).toEqual(['/v1/list?limit=100', '/v1/one?x=1']);
    askAgain();
    expect(asked.length).toBe(2); // what was answered is not
  });

  it('goes on where the list ended', async () => {
    away = false;
    const list = new Paged<string>();
    await list.load('v1/list');
    away = true;
    await list.more();
    expect(list.problem?.status).toBe(0);
    away = false;
    askAgain();
    await vi.waitFor(() => expect(list.rows).toEqual(['a', 'b']));
    expect(list.whole).toBe(true);
  });

  it('is forgotten when another one takes its place', async () => {
    const one = new Ask<unknown>();
    await one.load('v1/one');
    one.clear();
    asked = [];
    askAgain();
    expect(asked).toEqual([]);
  });

  it('is forgotten when the answer is about the question itself', async () => {
    for (const [status, times] of [
      [404, 0],
      [400, 0],
      [401, 1],
      [503, 1],
    ] as const) {
      vi.stubGlobal('fetch', async (url: URL) => {
        asked.push(url.pathname);
        return Response.json({ title: 'No', status }, { status, headers: { 'Content-Type': 'application/problem+json' } });
      });
      const one = new Ask<unknown>();
      const list = new Paged<string>();
      await Promise.all([one.load('v1/one'), list.load('v1/list')]);
      expect(one.problem?.status).toBe(status);
      asked = [];
      askAgain();
      expect(asked.length).toBe(2 * times);
      one.clear();
      away = false;
      vi.stubGlobal('fetch', async () => Response.json({ items: [] }));
      await list.load('v1/list');
    }
  });
});
