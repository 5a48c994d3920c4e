import { describe, expect, it } from 'vitest';
import { Follow, mostPaths } from './follow';

describe('the states of what is in view', () => {
  const rig = () => {
    const open = new Set<string>();
    const follow = new Follow('list', (f) => {
      expect(f.types).toEqual(['state']);
      expect(f.id.length).toBeLessThan(64);
      open.add(f.path ?? 'all');
      return () => open.delete(f.path ?? 'all');
    });
    return { open, follow };
  };

  it('are followed by path, each once, and only as long as it is in view', () => {
    const { open, follow } = rig();
    follow.set(['C1', 'C1/C7', 'C1']);
    expect([...open]).toEqual(['C1', 'C1/C7']);
    follow.set(['C1/C7', 'C2']);
    expect([...open]).toEqual(['C1/C7', 'C2']);
    follow.stop();
    expect([...open]).toEqual([]);
  });

  it('are all followed where a meter is at the centre itself, or very many concentrators are in view', () => {
    const { open, follow } = rig();
    follow.set(['C1', '']);
    expect([...open]).toEqual(['all']);
    follow.set(Array.from({ length: mostPaths }, (_, i) => `C${i}`));
    expect(open.size).toBe(mostPaths);
    follow.set(Array.from({ length: mostPaths + 1 }, (_, i) => `C${i}`));
    expect([...open]).toEqual(['all']);
  });
});
