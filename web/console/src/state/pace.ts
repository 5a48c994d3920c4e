// Calls that follow changes, but no faster than a pace. The last change is always followed: later, if it came too early.

export class Pace {
  readonly #ms: number;
  #last = -Infinity; // ms, of performance.now()
  #later: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Calls f now or, if it was called within the pace, when that is over. */
  call(f: () => void): void {
    clearTimeout(this.#later);
    const wait = this.#last + this.#ms - performance.now();
    if (wait > 0) {
      this.#later = setTimeout(() => this.now(f), wait);
      return;
    }
    this.now(f);
  }

  /** Calls f now, whatever the pace. */
  now(f: () => void): void {
    clearTimeout(this.#later);
    this.#last = performance.now();
    f();
  }

  stop(): void {
    clearTimeout(this.#later);
  }
}
