import { describe, expect, it, vi } from 'vitest';
import type { Command, Concentrator, Meter, Reading } from '../api/shapes';
import { businessTime, speedText } from './clock';
import { addSample, collectionRate, secondsLeft } from './collection';
import { idsIn, later, newer, progress, steps, targetText, took, upsert } from './commands';
import { applyMeters, find, matches, mergePage, windowOf } from './meters';
import { Pace } from './pace';
import { bytesOf, grade, hexDump } from './quality';
import { link, meterLink, parseRoute } from './route';
import { before, byDay, daysBefore, fillGaps, putSlot, slotOf, summary } from './series';
import { applyConcentrators, buildTree, visibleRows } from './tree';

const since = '2018-12-13T00:00:00Z';
const meter = (id: string, state: Meter['state'] = 'online', path = 'C1/C7'): Meter => ({
  id, kind: 'meter', path, state, link: { state: 'up', since }, power: { state: 'on', since }, breaker: { state: 'closed', since },
  flags: [], capabilities: [], interval: 30, registration: 1, missing: 0,
});
const everything = { path: '', state: '', q: '' };
const ids = (rows: readonly { id: string }[]) => rows.map((m) => m.id);

describe('the list of meters', () => {
  it('matches whole parts of a path, and ids whatever their case', () => {
    expect(matches({ ...everything, path: 'C1' }, meter('M1'))).toBe(true);
    expect(matches({ ...everything, path: 'C1/C7' }, meter('M1'))).toBe(true);
    expect(matches({ ...everything, path: 'C' }, meter('M1'))).toBe(false);
    expect(matches({ ...everything, q: 'm1' }, meter('M10'))).toBe(true);
    expect(matches({ ...everything, state: 'online' }, meter('M1', 'comm-lost'))).toBe(false);
  });
  it('sorts by bytes as the server does', () => {
    expect(find([meter('A'), meter('a')], 'B')).toBe(1);
  });
  it('appends pages and merges one that comes again', () => {
    const rows = mergePage([meter('M1')], [meter('M2'), meter('M3')]);
    expect(ids(rows)).toEqual(['M1', 'M2', 'M3']);
    const again = mergePage(rows, [meter('M2', 'comm-lost'), meter('M25')]);
    expect(ids(again)).toEqual(['M1', 'M2', 'M25', 'M3']);
    expect(again[1]!.state).toBe('comm-lost');
  });
  it('lets go what fits no longer and takes in what fits now', () => {
    const f = { ...everything, state: 'online' };
    const rows = [meter('M1'), meter('M3')];
    expect(ids(applyMeters(rows, f, true, [meter('M3', 'power-lost'), meter('M2'), meter('M4')]))).toEqual(['M1', 'M2', 'M4']);
  });
  it('leaves what lies behind the loaded part to the next page', () => {
    const rows = [meter('M1'), meter('M3')];
    expect(ids(applyMeters(rows, everything, false, [meter('M2'), meter('M9')]))).toEqual(['M1', 'M2', 'M3']);
  });
  it('is the same list when nothing of it changed', () => {
    const rows = [meter('M1')];
    expect(applyMeters(rows, { ...everything, path: 'C2' }, true, [meter('M5')])).toBe(rows);
  });
  it('draws the rows in view only', () => {
    expect(windowOf(0, 340, 34, 494)).toEqual({ from: 0, to: 18 });
    expect(windowOf(3400, 340, 34, 494)).toEqual({ from: 92, to: 118 });
    expect(windowOf(1e9, 340, 34, 10)).toEqual({ from: 2, to: 10 });
    expect(windowOf(0, 340, 34, 0)).toEqual({ from: 0, to: 0 });
  });
});

describe('the tree', () => {
  const c = (path: string, state = 'online'): Concentrator => ({ id: path.split('/').at(-1)!, path, state, since, meters: 1, below: 1, states: {} });
  it('hangs each below its parent, in the order of numbers', () => {
    const rows = visibleRows(buildTree([c('C10'), c('C2/C21'), c('C2'), c('C2/C21/C3')]), new Set());
    expect(rows.map((r) => `${r.level} ${r.concentrator.id}`)).toEqual(['1 C2', '2 C21', '3 C3', '1 C10']);
  });
  it('hangs one whose parent is unknown on the nearest known', () => {
    const rows = visibleRows(buildTree([c('C1'), c('C1/X/C9'), c('Y/C8')]), new Set());
    expect(rows.map((r) => `${r.level} ${r.concentrator.id}`)).toEqual(['1 C1', '2 C9', '1 C8']);
  });
  it('hides what is below a closed one', () => {
    const rows = visibleRows(buildTree([c('C1'), c('C1/C11')]), new Set(['C1']));
    expect(rows).toMatchObject([{ open: false, children: 1 }]);
  });
  it('replaces one that moved', () => {
    expect(applyConcentrators([c('C1'), c('C1/C7')], [c('C2/C7', 'lost')]).map((x) => x.path)).toEqual(['C1', 'C2/C7']);
  });
});

describe('commands', () => {
  const command = (id: string, state: string, ...history: [string, number][]): Command => ({
    id, type: 'read', target: { meter: 'M1' }, state, created: new Date(1000).toISOString(), sends: 1,
    history: history.map(([s, at]) => ({ state: s, time: new Date(at).toISOString() })),
  });
  it('compares ids as numbers of any size', () => {
    expect(['9', '10', '18446744073709551615', '2'].sort(newer)).toEqual(['18446744073709551615', '10', '9', '2']);
  });
  it('keeps the newest first and one of each', () => {
    const list = upsert([command('9', 'done')], [command('10', 'queued'), command('9', 'failed')]);
    expect(list.map((c) => `${c.id} ${c.state}`)).toEqual(['10 queued', '9 failed']);
  });
  it('is not put back by an answer that an event overtook', () => {
    const event = command('1', 'done', ['queued', 1000], ['sent', 1100], ['done', 1200]);
    const answer = command('1', 'queued', ['queued', 1000]);
    expect(later(event, answer)).toBe(event);
    expect(later(answer, event)).toBe(event);
    expect(later(undefined, answer)).toBe(answer);
  });
  it('shows the steps behind with their times and those ahead', () => {
    const way = steps(command('1', 'sent', ['queued', 1000], ['sent', 1180], ['sent', 3000]));
    expect(way.map((s) => [s.state, s.reached, s.after])).toEqual([['queued', true, 0], ['sent', true, 180], ['done', false, null]]);
    expect(way.filter((s) => s.current).map((s) => s.state)).toEqual(['sent']);
  });
  it('shows no steps ahead of an end', () => {
    expect(steps(command('1', 'refused', ['queued', 1000], ['sent', 1100], ['refused', 1200])).map((s) => s.state)).toEqual(['queued', 'sent', 'refused']);
    expect(steps({ ...command('1', 'queued'), history: null }).map((s) => s.state)).toEqual(['queued', 'sent', 'done']);
    expect(steps(command('1', 'delivered', ['queued', 1000], ['sent', 1001], ['delivered', 1002])).map((s) => s.state)).toEqual(['queued', 'sent', 'delivered', 'done']);
  });
  it('took until its last step', () => {
    expect(took(command('1', 'done', ['queued', 1000], ['done', 1700]))).toBe(700);
    expect(took(command('1', 'sent', ['queued', 1000]))).toBe(null);
  });
});

describe('the load profile', () => {
  const at = (slot: number) => new Date(2018, 11, 12, 0, 0).getTime() + slot * 1_800_000;
  const reading = (slot: number, wh: number | null, quality = 'raw'): Reading => ({
    start: new Date(at(slot)).toISOString(), end: new Date(at(slot + 1)).toISOString(), import: wh, quality: wh === null ? 'missing' : quality,
  });
  const slots = (...wh: (number | null)[]) => wh.map((w, i) => slotOf(reading(i, w)));
  it('takes zero for a value and null for none', () => {
    expect(slots(0, null).map((s) => s.missing)).toEqual([0, 1]);
  });
  it('makes holes visible', () => {
    const out = fillGaps([slotOf(reading(0, 5)), slotOf(reading(3, 6))], 1_800_000);
    expect(out.map((s) => s.wh)).toEqual([5, null, null, 6]);
    expect(out[1]!.start).toBe(at(1));
  });
  it('appends live values, fills gaps and keeps order', () => {
    let s = slots(1, null);
    s = putSlot(s, slotOf(reading(2, 3)));
    s = putSlot(s, slotOf(reading(1, 2)));
    expect(s.map((x) => x.wh)).toEqual([1, 2, 3]);
    expect(putSlot(s, slotOf(reading(-1, 9))).map((x) => x.wh)).toEqual([9, 1, 2, 3]);
  });
  it('sums up', () => {
    const sum = summary(slots(500, null, 1500));
    expect(sum).toMatchObject({ wh: 2000, missing: 1, count: 3, meanW: 2000 });
    expect(sum.peak?.wh).toBe(1500);
    expect(summary([]).meanW).toBe(null);
  });
  it('counts what is not simply read, by day and in all', () => {
    const some = [reading(0, 1), reading(1, 2, 'estimated'), reading(2, 3, 'edited'), { ...reading(3, 4), readingQuality: '3.5.258' }, reading(4, 5, 'validated')].map(slotOf);
    expect(some[3]!.quality).toBe('suspect');
    expect(byDay(some)[0]!.marks).toEqual({ raw: 1, suspect: 1, estimated: 1, edited: 1 });
    expect(summary(some).marks).toEqual({ raw: 1, suspect: 1, estimated: 1, edited: 1 });
  });
  it('compares with the same time some days before, where that is whole', () => {
    const now = slots(1, 2, 3);
    const then = now.map((s, i) => ({ ...s, start: daysBefore(s.start, 7), wh: 10 * (i + 1), missing: i === 1 ? 1 : 0 }));
    expect(before(now, then, 7)).toEqual([10, null, 30]);
  });
  it('sums by local day and says what a day lacks', () => {
    const days = byDay([...Array(50).keys()].map((i) => slotOf(reading(i, i === 3 ? null : 10))));
    expect(days.map((d) => [d.wh, d.missing, d.count])).toEqual([[470, 1, 48], [20, 0, 2]]);
    expect(days[0]!.end).toBe(days[1]!.start);
  });
});

describe('quality', () => {
  it('grades what is missing', () => {
    expect([grade(0, 0), grade(100, 0), grade(1000, 1), grade(100, 10), grade(100, 50), grade(100, 51)]).toEqual([-1, 0, 1, 2, 3, 4]);
  });
  it('dumps bytes, also of no base64', () => {
    expect(hexDump(bytesOf(btoa('ab\n'), 3))).toBe(`0000  61 62 0a${' '.repeat(41)}ab.`);
    expect(bytesOf('%%', 10).length).toBe(0);
  });
  it('follows the last change, at its pace', () => {
    vi.useFakeTimers();
    const pace = new Pace(1000);
    let n = 0;
    for (let i = 0; i < 5; i++) pace.call(() => n++);
    expect(n).toBe(1);
    vi.advanceTimersByTime(1100);
    expect(n).toBe(2);
    vi.useRealTimers();
  });
});

describe('commands for many', () => {
  it('counts what has ended, in the order of a life', () => {
    const c = { bulk: { total: 10, states: { queued: 3, done: 5, failed: 2, brandnew: 0 }, stragglers: [] } } as unknown as Command;
    expect(progress(c)).toEqual({ total: 10, ended: 7, parts: [{ state: 'done', n: 5 }, { state: 'failed', n: 2 }, { state: 'queued', n: 3 }] });
  });
  it('reads ids however they are parted', () => expect(idsIn(' M1, M2\nM3;M1\t')).toEqual(['M1', 'M2', 'M3']));
  it('names every target', () => {
    expect([targetText({ meter: 'M1' }), targetText({ path: 'C1' }), targetText({ meters: ['a', 'b'] }), targetText({ listed: 7 }), targetText({ query: { feeder: 'F1' } }), targetText({ group: 0 })])
      .toEqual(['M1', 'all below C1', '2 listed meters', '7 listed meters', 'meters with feeder F1', 'group 0']);
  });
});

describe('collection', () => {
  it('measures over the last seconds', () => {
    let s = addSample([], 1000, 0);
    expect(collectionRate(s)).toBe(0);
    for (let i = 1; i <= 10; i++) s = addSample(s, 1000 - i * 50, i * 1000);
    expect(collectionRate(s)).toBe(50);
    expect(s.length).toBeLessThan(8);
    expect(secondsLeft(500, collectionRate(s))).toBe(10);
    expect(secondsLeft(500, 0)).toBe(null);
  });
  it('promises nothing while the gap grows', () => {
    expect(collectionRate(addSample(addSample([], 10, 0), 900, 1000))).toBe(0);
  });
});

describe('time and addresses', () => {
  it('lets business time run on at its speed, or stand', () => {
    const t = { time: '2018-12-13T00:00:00Z', speed: 60, paused: false };
    expect(businessTime(t, 2000) - Date.parse(t.time)).toBe(120_000);
    expect(businessTime({ ...t, paused: true }, 2000)).toBe(Date.parse(t.time));
    expect([speedText(60), speedText(1), speedText(0.5)]).toEqual(['×60', '', '×0.5']);
  });
  it.each([
    ['', 'overview', ''],
    ['#/', 'overview', ''],
    ['#/dead-letters', 'dead-letters', ''],
    ['#/commands/77', 'command', '77'],
    ['#/roll-outs/78?state=failed', 'roll-out', '78'],
    ['#/meter/M1000317?span=week', 'meter', 'M1000317'],
    ['#/commands?open=1', 'commands', ''],
    ['#/outages', 'outages', ''],
    ['#/meter', 'unknown', ''],
    ['#/%E0%A4%A', 'unknown', ''],
  ])('%s', (hash, page, id) => expect(parseRoute(hash)).toMatchObject({ page, id }));
  it('writes addresses that it reads', () => {
    expect(link('', { path: 'C1/C7', state: '', q: undefined })).toBe('#/?path=C1/C7');
    expect(parseRoute(link('', { path: 'C1/C7', q: 'a&b' })).query).toEqual({ path: 'C1/C7', q: 'a&b' });
    expect(parseRoute(meterLink('M.1_x')).id).toBe('M.1_x');
  });
});
