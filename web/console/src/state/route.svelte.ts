import { parseRoute, type Route } from './route';

const state = $state<{ route: Route }>({ route: parseRoute(location.hash) });

addEventListener('hashchange', () => {
  state.route = parseRoute(location.hash);
});

export const route = (): Route => state.route;

/** Goes to an address without a new entry in the history, as while typing into a search. */
export function replace(address: string): void {
  history.replaceState(null, '', address);
  state.route = parseRoute(address);
}
