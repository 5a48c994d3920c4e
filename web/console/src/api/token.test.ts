import { afterEach, describe, expect, it, vi } from 'vitest';
import { keptToken, protocolsOf, sendable, tokenKey } from './kepttoken';
import { askForToken, setToken, tokenDismissed, tokenRefused, tokenWanted } from './token.svelte';

afterEach(() => vi.unstubAllGlobals());

describe('a token', () => {
  it('goes to a WebSocket as it is, or encoded where it is no name of a subprotocol', () => {
    expect(protocolsOf('')).toEqual(['wattbus.v1']);
    expect(protocolsOf('7K1xeyrQ_j-C')).toEqual(['wattbus.v1', 'bearer.7K1xeyrQ_j-C']);
    expect(protocolsOf('q3x/k+Zz0w==')).toEqual(['wattbus.v1', 'bearer64.cTN4L2srWnowdz09']);
    for (let c = 0x20; c < 0x7f; c++) expect(protocolsOf(`a${String.fromCharCode(c)}`)[1]).toMatch(/^[\w!#$%&'*+.^`|~-]+$/);
  });

  it('that no header can carry is none, and none that was kept', () => {
    expect(['a b/=~', 'é', '☃', 'a\nb'].map(sendable)).toEqual([true, false, false, false]);
    for (const [kept, want] of [['abc', 'abc'], ['wr☃ng', '']]) {
      vi.stubGlobal('sessionStorage', { getItem: (key: string) => (key === tokenKey ? kept : null) });
      expect(keptToken()).toBe(want);
    }
  });

  it('is asked for again after the question was closed, and it is told that the last one was refused', () => {
    askForToken();
    expect([tokenWanted(), tokenRefused()]).toEqual([true, false]);
    tokenDismissed();
    expect(tokenWanted()).toBe(false);
    setToken('old');
    setToken('new');
    askForToken('old'); // a late answer
    expect(tokenWanted()).toBe(false);
    askForToken('new');
    expect([tokenWanted(), tokenRefused()]).toEqual([true, true]);
  });
});
