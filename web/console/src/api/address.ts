// Addresses of the API.

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>; // of a list each is a parameter of its own

/** The address of a call, relative to where the page was loaded from. */
export function address(path: string, query: Query = {}): URL {
  const url = new URL(path, document.baseURI);
  url.hash = '';
  for (const [name, value] of Object.entries(query)) {
    if (Array.isArray(value)) for (const v of value) url.searchParams.append(name, String(v));
    else if (value !== undefined && value !== '' && value !== false) url.searchParams.set(name, String(value));
  }
  return url;
}
