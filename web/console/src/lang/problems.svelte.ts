// What the centre says that is said as it comes in English. Its Japanese is loaded when the first such sentence is to be said.
import { language } from './lang';

let texts = $state.raw<Record<string, string>>(); // by code
let asked = false;

/** Gets the texts, where the page has another language. Where they cannot be had, the centre's English is said. */
export async function loadProblems(): Promise<void> {
  asked = true;
  texts = await import('./problems').then((m) => m.problems, () => undefined);
  asked = texts !== undefined;
}

/** What the centre says by a code, in the language of the page; undefined where it is said as it comes. */
export function centreText(code: string): string | undefined {
  if (language() !== 'ja') return undefined;
  if (!asked) void loadProblems();
  return texts?.[code];
}
