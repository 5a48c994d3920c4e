import { describe, expect, it } from 'vitest';
import type { Command } from '../api/shapes';
import { count, dash, percent, rate, register, text, wattHours, watts } from './number';
import { resultText } from './result';
import { brief, duration, known, short, utc } from './time';
import { commandSign, concentratorSign, factSign, meterSign, meterStates } from './words';

describe('numbers', () => {
  it('groups thousands and says nothing where nothing is known', () => {
    expect(count(1066826)).toBe('1,066,826');
    expect(count(undefined)).toBe(dash);
    expect(count(NaN)).toBe(dash);
  });
  it.each([
    [0, '0 W'],
    [999, '999 W'],
    [1234, '1.23 kW'],
    [95_100, '95.1 kW'],
    [192_400, '192 kW'],
    [-2500, '-2.50 kW'],
    [3_210_000, '3.21 MW'],
    [2.5e9, '2.50 GW'],
  ])('%d W', (w, want) => expect(text(watts(w))).toBe(want));
  it.each([
    [550, '550 Wh'],
    [1660, '1.66 kWh'],
    [1_060_000, '1.06 MWh'],
  ])('%d Wh', (wh, want) => expect(text(wattHours(wh))).toBe(want));
  it('shows a register with every Wh', () => expect(register(37_231_813)).toBe('37,231.813'));
  it.each([
    [100, '100'],
    [99.9999, '99.99'],
    [99.986, '99.98'],
    [0, '0.00'],
  ])('%d percent never looks more complete than it is', (p, want) => expect(percent(p)).toBe(want));
  it('keeps a decimal of slow rates', () => {
    expect(rate(0.54)).toBe('0.5');
    expect(rate(33_912.4)).toBe('33,912');
  });
});

describe('times', () => {
  it.each([
    [0, '0 s'],
    [59_400, '59 s'],
    [60_000, '1 min'],
    [101_000, '1 min 41 s'],
    [45 * 60_000, '45 min'],
    [247 * 60_000, '4 h 7 min'],
    [48 * 3_600_000, '2 d'],
    [51 * 3_600_000, '2 d 3 h'],
    [15 * 86_400_000 + 1, '15 d'],
    [NaN, dash],
  ])('%d ms', (ms, want) => expect(duration(ms)).toBe(want));
  it('is exact to the ms where that matters', () => {
    expect(brief(183)).toBe('183 ms');
    expect(brief(2340)).toBe('2.3 s');
    expect(brief(-4)).toBe('0 ms');
  });
  it('takes the zero times of Go and of the wire for unknown', () => {
    expect(known('0001-01-01T00:00:00Z')).toBe(false);
    expect(known('1970-01-01T00:00:00Z')).toBe(false);
    expect(known(undefined)).toBe(false);
    expect(known('2018-10-29T00:00:00+01:00')).toBe(true);
  });
  it('leaves the day out today only', () => {
    const now = new Date(2018, 11, 13, 14, 0).getTime();
    expect(short(new Date(2018, 11, 13, 9, 5).getTime(), now)).toBe('09:05');
    expect(short(new Date(2018, 11, 12, 9, 5).getTime(), now)).toBe('12 Dec 09:05');
  });
  it('says UTC', () => expect(utc(0)).toBe('1970-01-01 00:00:00 UTC'));
});

describe('words', () => {
  it('gives every meter state an icon of its own', () => {
    expect(new Set(meterStates.map((s) => meterSign(s).icon)).size).toBe(meterStates.length);
  });
  it('shows words that it does not know', () => {
    for (const f of [meterSign, concentratorSign, commandSign]) expect(f('brand-new').label).toBe('brand-new');
    expect(factSign('breaker', '').label).toBe('Unknown');
  });
});

describe('results', () => {
  const base: Command = { id: '1', type: 'read', target: { meter: 'M1' }, state: 'done', created: '2026-01-01T00:00:00Z', sends: 1, history: [] };
  const result = { outcome: 'done', detail: 0, time: '2018-12-13T00:00:00Z' };
  it.each<[string, Partial<Command>, string]>([
    ['a read', { result: { ...result, register: { import: 1_234_567, export: 0, time: '', power: 420, voltage: 230 } } }, '1,234.567 kWh · 420 W · 230.0 V'],
    ['a profile', { type: 'profile', result: { ...result, detail: 12 } }, '12 intervals with values'],
    ['a disconnection', { type: 'disconnect', result: { ...result, breaker: 'open' } }, 'breaker open'],
    ['an armed reconnection', { type: 'reconnect', result: { ...result, breaker: 'ready' } }, 'breaker ready to close at the meter'],
    ['a refusal by number', { type: 'disconnect', state: 'refused', result: { ...result, outcome: 'refused', detail: 1 } }, "the meter's clock is not synchronised"],
    ['a refusal in words', { state: 'refused', result: { ...result, outcome: 'refused', reason: 'not now' } }, 'not now'],
    ['an expiry', { state: 'expired', history: [{ state: 'expired', time: '', detail: 'no answer' }] }, 'no answer'],
    ['many meters', { target: { path: 'C1' }, bulk: { total: 50, states: { done: 48 }, stragglers: [] } }, '48 of 50 meters done'],
    ['nothing yet', { state: 'queued' }, ''],
  ])('%s', (_name, change, want) => expect(resultText({ ...base, ...change })).toBe(want));
});
