// Of a million meters some hundred change their state in a second, and few of them are in view. What is in view is followed by the
// concentrators that it is behind.
import type { EventFilter } from '../api/shapes';

export const mostPaths = 32; // beyond that all states are followed: each path is looked at for each event

export class Follow {
  readonly #owner: string;
  readonly #start: (filter: EventFilter & { id: string }) => () => void;
  #followed = new Map<string, () => void>(); // by path, what ends it
  #n = 0;

  constructor(owner: string, start: (filter: EventFilter & { id: string }) => () => void) {
    this.#owner = owner;
    this.#start = start;
  }

  /** Follows the states of meters right behind or below these paths, and those only. What is directly at the centre takes in all. */
  set(paths: Iterable<string>): void {
    let want = new Set(paths);
    if (want.has('') || want.size > mostPaths) want = new Set(['']);
    for (const path of want) {
      if (this.#followed.has(path)) continue;
      // Ids are short on the wire, and paths are not.
      this.#followed.set(path, this.#start({ id: `${this.#owner}-${this.#n++}`, types: ['state'], ...(path ? { path } : {}) }));
    }
    for (const [path, end] of this.#followed) {
      if (want.has(path)) continue;
      this.#followed.delete(path);
      end();
    }
  }

  stop(): void {
    this.set([]);
  }
}
