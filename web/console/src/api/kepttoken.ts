// The token that this tab keeps, over reloads of the page.

export const tokenKey = 'wattbus-token';

export function keptToken(): string {
  try {
    return sessionStorage.getItem(tokenKey) ?? '';
  } catch {
    return ''; // storage may be forbidden
  }
}
