import { describe, expect, it } from 'vitest';
import { loadTexts, setLanguage } from '../lang/lang';
import { loadProblems } from '../lang/problems.svelte';
import { span, told } from './said';

describe('what the centre says', () => {
  it('is said by its code, with what stands in its places', async () => {
    expect(told('nobody approved it in time', { code: 'command.unapproved' })).toBe('nobody approved it in time');
    expect(told('is missing', [{ code: 'problem.missing' }])).toBe('is missing');
    setLanguage('ja');
    await Promise.all([loadTexts(), loadProblems()]);
    try {
      expect(told('x', { code: 'approval.many', params: { n: '120', from: '100' } })).toBe('120台を開放する指令です。100台以上は別の担当者の承認が必要です');
      expect(told('x', { code: 'command.budget', params: { type: 'disconnect', budget: '100 in 1m' } })).toBe('開放の上限（1分に100台）により待機中');
      expect(told('x', { code: 'command.sum', params: { all: '5', states: '3 done, 2 expired' } })).toBe('全5台：3 完了, 2 期限切れ');
      expect(told('x', { code: 'ground.out', params: { scope: 'feeder', name: 'F1' } })).toBe('配電線F1が停電中');
      expect(told('x', [{ code: 'value.later' }, { code: 'value.open' }])).toBe('後から届きました。この日はまだ確定していません。');
      expect(told('as it came', { code: 'of.another.version' })).toBe('as it came');
      expect(told('x', [{ code: 'problem.bytes-most', params: { n: '9', most: '8' } }, { code: 'problem.unchanged' }])).toBe('9バイトあります（8バイト以内）。何も変更されていません');
      expect(told('x', [{ code: 'letter.at', params: { field: 'version', n: '0' } }, { code: 'letter.text', params: { text: 'odd' } }, { code: 'letter.version' }])).toBe('version（オフセット0）：odd。不明なバージョンです');
      expect(told('x', { code: 'finding.limit.0', params: { wh: '20070', limit: '9487' } })).toContain('20,070 Wh');
      expect(told('older', undefined)).toBe('older');
    } finally {
      setLanguage('en');
      await loadTexts();
    }
  });

  it('tells spans as people do', () => {
    expect(span('1h30m0s')).toBe(5_400_000);
    expect(span('250ms')).toBe(250);
  });
});
