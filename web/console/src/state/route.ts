// Addresses of the console: everything that is shown can be linked to. `#/meter/M1?span=week`

/** The pages without an id in their address. */
const plain = ['network', 'commands', 'outages', 'quality', 'dead-letters', 'audit', 'settings', 'about'] as const;

export const pages = ['overview', 'meter', 'command', 'roll-out', ...plain, 'unknown'] as const;

export type Page = (typeof pages)[number];

export interface Route {
  page: Page;
  id: string; // of the meter or the command
  query: Record<string, string>;
}

export function parseRoute(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#/, '').split('?', 2);
  const query = Object.fromEntries(new URLSearchParams(search));
  const parts = path.split('/').filter(Boolean).map(decode);
  const [first, second] = parts;
  if (parts.length === 0) return { page: 'overview', id: '', query };
  if (first === 'meter' && second && parts.length === 2) return { page: 'meter', id: second, query };
  if (first === 'commands' && second && parts.length === 2) return { page: 'command', id: second, query };
  if (first === 'roll-outs' && second && parts.length === 2) return { page: 'roll-out', id: second, query };
  const page = plain.find((p) => p === first);
  if (page && parts.length === 1) return { page, id: '', query };
  return { page: 'unknown', id: '', query };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a page; empty parts of the query are left out. */
export function link(path: string, query: Record<string, string | undefined> = {}): string {
  const set = Object.entries(query).filter((e): e is [string, string] => !!e[1]);
  const search = new URLSearchParams(set).toString().replaceAll('%2F', '/');
  return `#/${path}${search ? `?${search}` : ''}`;
}

export const meterLink = (id: string): string => link(`meter/${encodeURIComponent(id)}`);
export const rollOutLink = (id: string, query: Record<string, string> = {}): string => link(`roll-outs/${encodeURIComponent(id)}`, query);
export const commandLink = (id: string): string => link(`commands/${encodeURIComponent(id)}`);
