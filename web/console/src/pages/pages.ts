// The pages, each a file of its own that is loaded when it is opened first.
import type { Component } from 'svelte';
import type { Page } from '../state/route';

export interface Loaded {
  default: Component<{ id: string }>;
}

const files: Record<Page, () => Promise<unknown>> = {
  overview: () => import('./Overview.svelte'),
  network: () => import('./Network.svelte'),
  meter: () => import('./Meter.svelte'),
  commands: () => import('./Commands.svelte'),
  'roll-out': () => import('./RollOut.svelte'),
  command: () => import('./Command.svelte'),
  outages: () => import('./Outages.svelte'),
  quality: () => import('./Quality.svelte'),
  'dead-letters': () => import('./DeadLetters.svelte'),
  audit: () => import('./Audit.svelte'),
  settings: () => import('./Settings.svelte'),
  about: () => import('./About.svelte'),
  unknown: () => import('./Unknown.svelte'),
};

const loaded = new Map<Page, Promise<Loaded>>();

/** The page, the same promise for the same one. One that could not be loaded is tried again when it is opened next. */
export function pageOf(page: Page): Promise<Loaded> {
  let there = loaded.get(page);
  if (!there) {
    there = files[page]() as Promise<Loaded>;
    there.catch(() => loaded.delete(page));
    loaded.set(page, there);
  }
  return there;
}

/** Loads the other pages, one after the other while nothing else is to be done, so that to open one waits for no file. */
export function loadOthers(): void {
  const left = Object.keys(files) as Page[];
  const idle = (f: () => void) => ('requestIdleCallback' in globalThis ? requestIdleCallback(f) : setTimeout(f, 50));
  const next = (): void => {
    const page = left.shift();
    if (page) pageOf(page).then(() => idle(next), () => {}); // what is not there now is asked for when it is opened
  };
  idle(next);
}
