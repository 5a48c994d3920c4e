import { describe, expect, it } from 'vitest';
import type { RollOut } from '../api/firmware';
import { firstLooked, later, progress, rollOutSign, rollOutsWith, updateSign } from './rollouts';

const rollOut = (id: string, states: Record<string, number>, more: Partial<RollOut> = {}): RollOut => ({
  id, image: '5f1d3c2b4a596877', version: '1.3.0', model: 'ACE-1', target: { path: 'C1' }, state: 'running', created: '2026-11-30T08:00:00Z', expires: '2026-12-14T08:00:00Z',
  blockSize: 512, rate: 8192, history: [{ state: 'running', time: '2026-11-30T08:00:00Z' }],
  progress: { total: Object.values(states).reduce((a, b) => a + b, 0), states, received: 0, blocks: 0, bytes: 0 }, ...more,
});

describe('a roll-out', () => {
  it('adds up its meters, those that have ended first', () => {
    const p = progress(rollOut('1', { waiting: 5, offered: 4, receiving: 3, verified: 2, activated: 1, failed: 6, new: 7 }));
    expect(p.parts.map((x) => x.state)).toEqual(['activated', 'failed', 'verified', 'receiving', 'offered', 'waiting', 'new']);
    expect([p.total, p.ended, p.lagging]).toEqual([28, 7, 7]);
    expect(progress(rollOut('1', { offered: 4, receiving: 3 })).lagging).toBe(0);
  });
  it('lists first what gives the most to do', () => {
    expect(firstLooked(rollOut('1', { activated: 9, refused: 1, offered: 3 }))).toBe('refused');
    expect(firstLooked(rollOut('1', { activated: 9, receiving: 3 }))).toBe('receiving');
    expect(firstLooked(rollOut('1', {}))).toBe('');
  });
  it('calls who waits for its time scheduled', () => {
    expect(updateSign('verified', rollOut('1', {})).label).toBe('Verified');
    expect(updateSign('verified', rollOut('1', {}, { onCommand: true })).label).toBe('Scheduled');
    expect(updateSign('new', rollOut('1', {})).label).toBe('new');
    expect(rollOutSign('paused').label).toBe('Paused');
  });
});

describe('lists of roll-outs', () => {
  it('keep the longer history', () => {
    const paused = rollOut('2', {}, { state: 'paused', history: [{ state: 'running', time: '' }, { state: 'paused', time: '' }] });
    expect(later(paused, rollOut('2', {})).state).toBe('paused');
    expect(later(undefined, paused)).toBe(paused);
    expect(rollOutsWith([paused], [rollOut('2', {}), rollOut('10', {})]).map((r) => `${r.id} ${r.state}`)).toEqual(['10 running', '2 paused']);
  });
  it('take newer counts of the same history', () => {
    expect(rollOutsWith([rollOut('2', { offered: 2 })], [rollOut('2', { activated: 2 })])[0]?.progress.states).toEqual({ activated: 2 });
  });
});
