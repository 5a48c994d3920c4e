// The bearer token, where the server asks for one. It is kept for this tab only.
import { keptToken, tokenKey } from './kepttoken';

const state = $state({ token: keptToken(), wanted: false });

export const token = (): string => state.token;
export const tokenWanted = (): boolean => state.wanted;

export function askForToken(): void {
  state.wanted = true;
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
