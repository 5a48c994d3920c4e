// The bearer token, where the server asks for one. It is kept for this tab only.
import { keptToken, tokenKey } from './kepttoken';

const state = $state({ token: keptToken(), wanted: false, refused: false });

export const token = (): string => state.token;
export const tokenWanted = (): boolean => state.wanted;
export const tokenRefused = (): boolean => state.refused;

/** Has the token asked for; with the one that the server does not know, if there is one. */
export function askForToken(refused = ''): void {
  if (refused && refused !== state.token) return; // a late answer: there is another one by now
  state.wanted = true;
  state.refused = refused !== '';
}

/** Whoever looks does not want to say one now. What wants it asks anew. */
export function tokenDismissed(): void {
  state.wanted = false;
}

export function setToken(value: string): void {
  state.token = value;
  state.wanted = false;
  try {
    sessionStorage.setItem(tokenKey, value);
  } catch {
    // then it lasts until the page is loaded again
  }
}
