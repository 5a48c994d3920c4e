// Server-sent events (HTML, 9.2.6) read with fetch, because EventSource can carry no Authorization header.

export interface SseMessage {
  event: string;
  data: string;
}

/** A parser that takes the stream piece by piece and calls back for each whole message. */
export function sseParser(onMessage: (m: SseMessage) => void): (chunk: string) => void {
  let rest = '';
  let event = '';
  let data: string[] = [];
  return (chunk) => {
    rest += chunk;
    for (;;) {
      const end = rest.search(/\r\n|\n|\r(?!$)/); // a lone CR at the end may be half of a CRLF
      if (end < 0) return;
      const line = rest.slice(0, end);
      rest = rest.slice(end + (rest.startsWith('\r\n', end) ? 2 : 1));
      if (line === '') {
        if (data.length > 0) onMessage({ event: event || 'message', data: data.join('\n') });
        event = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'event') event = value;
      else if (field === 'data') data.push(value);
    }
  };
}

/** Follows a stream until it ends or is aborted; rejects when it cannot be opened or breaks. */
export async function followSse(
  url: URL,
  headers: Record<string, string>,
  signal: AbortSignal,
  onOpen: () => void,
  onMessage: (m: SseMessage) => void,
): Promise<void> {
  const answer = await fetch(url, { headers: { ...headers, Accept: 'text/event-stream' }, signal });
  if (!answer.ok || !answer.body) throw new Error(`status ${answer.status}`);
  onOpen();
  const feed = sseParser(onMessage);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    feed(value);
  }
}
