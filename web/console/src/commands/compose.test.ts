import { expect, it } from 'vitest';
import { draftOf, lack, mostListed, targetOf } from './compose';

const listed = (n: number) => ({ ...draftOf({ to: 'list' }), list: Array.from({ length: n }, (_, i) => `M${i}`).join('\n') });

it('takes lists of as many meters as the centre does', () => {
  expect(lack(listed(0))).toBe('Which meters? One id a line.');
  expect(lack(listed(1))).toBe('');
  expect(lack(listed(mostListed))).toBe('');
  expect(lack(listed(mostListed + 1))).toBe('20,001 meters are too many for one command: at most 20,000.');
  expect(targetOf(listed(2))).toEqual({ meters: ['M0', 'M1'] });
});
