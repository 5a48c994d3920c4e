import { parseRoute, type Page, type Route } from './route';

const first = parseRoute(location.hash);
let shown = $state.raw<Route>(first);
let asked = $state<Page>(first.page);

// A page takes longer to make than a frame: the frame that shows which one was asked for comes first, so that nobody clicks twice.
addEventListener('hashchange', () => {
  const next = parseRoute(location.hash);
  asked = next.page;
  if (next.page === shown.page || document.hidden) shown = next;
  else requestAnimationFrame(() => setTimeout(() => (shown = parseRoute(location.hash))));
});

export const route = (): Route => shown;

/** The page that was asked for: the one that is shown, or will be in a moment. */
export const going = (): Page => asked;

/** Goes to an address without a new entry in the history, as while typing into a search. */
export function replace(address: string): void {
  history.replaceState(null, '', address);
  shown = parseRoute(address);
  asked = shown.page;
}
