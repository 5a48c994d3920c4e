// Calls of the HTTP API. Every failure becomes a ProblemError, also that there was no answer.
import { t } from '../lang/lang';
import { address, type Query } from './address';
import { takeAnswer } from './early';
import { underWay } from './quiet';
import type { Problem } from './shapes';
import { askForToken, token } from './token.svelte';

const timeoutMs = 40_000; // longer than the server lets its roles take

export class ProblemError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
}

/** The problem that an error tells of; null for a call that was given up on purpose. */
export function problemOf(err: unknown): Problem | null {
  if (err instanceof ProblemError) return err.problem;
  if (err instanceof DOMException && err.name === 'AbortError') return null;
  return { title: t('Something went wrong in the console'), status: 0, detail: String(err) };
}

async function call<T>(url: URL, init: RequestInit): Promise<T> {
  return (await (await answerOf(url, init)).json()) as T;
}

async function answerOf(url: URL, init: RequestInit): Promise<Response> {
  const ended = underWay();
  try {
    return await answerTo(url, init);
  } finally {
    ended();
  }
}

async function answerTo(url: URL, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('Accept', 'application/json');
  const mine = token();
  if (mine) headers.set('Authorization', `Bearer ${mine}`);
  const limit = AbortSignal.timeout(timeoutMs);
  const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit;
  let answer: Response;
  try {
    answer = await ((init.method ? undefined : takeAnswer(url, signal)) ?? fetch(url, { ...init, headers, signal }));
  } catch (err) {
    if (init.signal?.aborted) throw err;
    throw new ProblemError({
      title: t('No answer'),
      status: 0,
      detail: limit.aborted
        ? t('The server did not answer within {n} s.', { n: timeoutMs / 1000 })
        : t('The server cannot be reached. Is the centre running, and the network up?'),
    });
  }
  if (answer.status === 401) askForToken(mine);
  if (!answer.ok) throw new ProblemError(await readProblem(answer));
  return answer;
}

async function readProblem(answer: Response): Promise<Problem> {
  const plain: Problem = { title: answer.statusText || `Status ${answer.status}`, status: answer.status };
  if (!answer.headers.get('Content-Type')?.includes('json')) return plain;
  try {
    return { ...plain, ...((await answer.json()) as Problem) };
  } catch {
    return plain;
  }
}

export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return call<T>(address(path, query), signal ? { signal } : {});
}

export function post<T>(path: string, body?: unknown): Promise<T> {
  return call<T>(address(path), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** What is there now, and the name of its state, with which it can be changed only as long as it is that. */
export async function tagged<T>(path: string): Promise<{ value: T; tag: string }> {
  const answer = await answerOf(address(path), { cache: 'no-store' });
  return { value: (await answer.json()) as T, tag: answer.headers.get('ETag') ?? '' };
}

export function patch<T>(path: string, body: unknown, tag: string): Promise<T> {
  return call<T>(address(path), {
    method: 'PATCH',
    headers: { 'Content-Type': 'application/json', ...(tag ? { 'If-Match': tag } : {}) },
    body: JSON.stringify(body),
  });
}
