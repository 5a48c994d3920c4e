// What the page asked for while its scripts were on the way (src/first.ts): each answer is for the one who asks the same first.

interface Early {
  answer: Promise<Response>;
  end: AbortController;
}

declare global {
  // Those that nobody has taken yet, by their address.
  var wattbusEarly: Map<string, Early> | undefined;
}

/** Asks ahead, with the token that is kept. */
export function askEarly(urls: Iterable<URL>, token: string): void {
  globalThis.wattbusEarly = new Map(
    [...urls].map((url) => {
      const end = new AbortController();
      const answer = fetch(url, { headers: { Accept: 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) }, signal: end.signal });
      answer.catch(() => {}); // it is for those who take it
      return [url.href, { answer, end }];
    }),
  );
}

/** The answer that was asked for early, if it was and nobody has it yet. */
export function takeAnswer(url: URL, signal: AbortSignal): Promise<Response> | undefined {
  const early = globalThis.wattbusEarly?.get(url.href);
  if (!early) return undefined;
  globalThis.wattbusEarly?.delete(url.href);
  const end = () => early.end.abort(signal.reason);
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
  return early.answer;
}

/** From now on everything is asked for anew: the page is there, or the token is another. */
export function forgetEarly(): void {
  globalThis.wattbusEarly = undefined;
}
