import { describe, expect, it } from 'vitest';
import { sources } from '../lang/texts';

/** How wide a table's columns and what is between and beside them are at least, as Virtual.svelte lays them out. */
function narrowest(columns: string): number {
  const widths = [...columns.replace(/minmax\((\d+)px, [\d.]+fr\)/g, '$1px').matchAll(/(\d+)px/g)].map((m) => Number(m[1]));
  return widths.reduce((a, b) => a + b, 0) + 12 * (widths.length - 1) + 2 * 14;
}

// From --least on rows are lines. Were the columns wider, they would stick out between the two.
describe('tables', () => {
  const tables = sources(new URL('..', import.meta.url).pathname).flatMap((s) =>
    [...s.text.matchAll(/--columns: ([^;]+);[^\n]*\n\s*--least: (\d+)px;/g)].map((m) => ({ file: s.file, columns: m[1] ?? '', least: Number(m[2]) })),
  );

  it('are many', () => expect(tables.length).toBeGreaterThan(7));

  it('are as wide as their columns where they do not fold', () => expect(tables.filter((x) => x.least < narrowest(x.columns)).map((x) => `${x.file}: ${x.least} < ${narrowest(x.columns)}`)).toEqual([]));

  it('are measured', () => expect(narrowest('130px minmax(100px, 0.6fr) 20px')).toBe(130 + 100 + 20 + 24 + 28));
});
