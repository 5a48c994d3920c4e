// The token that this tab keeps, over reloads of the page.

export const tokenKey = 'wattbus-token';

/** Reports whether a text may be a token: others cannot be sent in a header as the centre would read it. */
export const sendable = (token: string): boolean => /^[\x20-\x7e]*$/.test(token);

export function keptToken(): string {
  try {
    const kept = sessionStorage.getItem(tokenKey) ?? '';
    return sendable(kept) ? kept : '';
  } catch {
    return ''; // storage may be forbidden
  }
}

/** The subprotocols of a WebSocket with the token: encoded, where it has what the name of a subprotocol may not have. */
export function protocolsOf(token: string): string[] {
  if (!token) return ['wattbus.v1'];
  if (/^[\w!#$%&'*+.^`|~-]+$/.test(token)) return ['wattbus.v1', `bearer.${token}`];
  return ['wattbus.v1', `bearer64.${btoa(token).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`];
}
