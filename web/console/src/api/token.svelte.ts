// The bearer token, where the server asks for one. It is kept for this tab only.

const key = 'wattbus-token';

function kept(): string {
  try {
    return sessionStorage.getItem(key) ?? '';
  } catch {
    return ''; // storage may be forbidden
  }
}

const state = $state({ token: kept(), wanted: false });

export const token = (): string => state.token;
export const tokenWanted = (): boolean => state.wanted;

export function askForToken(): void {
  state.wanted = true;
}

export function setToken(value: string): void {
  state.token = value;
  state.wanted = false;
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // then it lasts until the page is loaded again
  }
}
