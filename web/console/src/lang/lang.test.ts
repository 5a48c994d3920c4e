import { describe, expect, it } from 'vitest';
import { count } from '../format/number';
import { duration, short } from '../format/time';
import { ja } from './ja';
import { loadTexts, setLanguage, t } from './lang';
import { bareIn, keysIn, sources } from './texts';

const all = sources(new URL('..', import.meta.url).pathname);
const keys = new Set(all.flatMap(keysIn));
const bare = all.flatMap((s) => bareIn(s).map((text) => `${s.file}: ${text}`)); // here, and not in a test, which has a time limit

describe('texts', () => {
  it('are many', () => expect(keys.size).toBeGreaterThan(400));

  it('are all there in Japanese', () => expect([...keys].filter((k) => !(k in ja)).sort()).toEqual([]));

  it('are in Japanese only where they are said', () => expect(Object.keys(ja).filter((k) => !keys.has(k)).sort()).toEqual([]));

  it('keep their places', () => {
    const places = (s: string) => [...new Set(s.match(/\{\w+\}/g))].sort().join();
    expect(Object.entries(ja).filter(([en, text]) => text.trim() === '' || places(en) !== places(text))).toEqual([]);
  });

  it('go through t() in every component', () => expect(bare).toEqual([]));

  it('find what does not', () => {
    expect(bareIn({ file: 'x.svelte', text: '<script lang="ts">const no = "x" as string;</script><p title="Bare">Also bare {x ? \'and this\' : t(\'not this\')}</p>' })).toEqual(['Bare', 'Also bare', 'and this']);
  });
});

describe('Japanese', () => {
  it('says numbers, times and states', async () => {
    setLanguage('ja');
    await loadTexts();
    try {
      expect(t('Power lost')).toBe('停電');
      expect(count(1234567)).toBe('1,234,567');
      expect(duration(247 * 60_000)).toBe('4時間7分');
      expect(short(new Date(2018, 11, 12, 9, 5).getTime(), new Date(2018, 11, 13).getTime())).toBe('12月12日 09:05');
    } finally {
      setLanguage('en');
      await loadTexts();
    }
  });
});
