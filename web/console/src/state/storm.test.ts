import { expect, it } from 'vitest';
import type { Interruption } from '../api/shapes';
import { timeline } from './storm';

const at = (minute: number) => new Date(minute * 60_000).toISOString();
const cut = (id: string, start: number, end: number | null, more: Partial<Interruption> = {}): Interruption => ({ id, meter: `M${id}`, start: at(start), end: end === null ? null : at(end), ...more });

it('counts who is without supply at the end of each step, who went and who came back', () => {
  const list = [cut('1', 0, 25), cut('2', 5, null), cut('3', 12, 14), cut('4', 1, 9, { planned: true }), cut('5', 1, null, { retracted: true }), cut('6', 1, null, { opened: true })];
  expect(timeline(list, 0, 30 * 60_000, 3)).toEqual([
    { start: 0, out: 2, went: 2, back: 0 },
    { start: 600_000, out: 2, went: 1, back: 1 },
    { start: 1_200_000, out: 1, went: 0, back: 1 },
  ]);
  expect(timeline(list, 0, 0, 3)).toEqual([]);
});
