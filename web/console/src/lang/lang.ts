// The language of the page. English is written where it is shown, t('Meters'), and is the key of its own text; ja.ts has the
// Japanese, a file of its own that only those load who read it. It is chosen once, when the page is loaded: as it was set here, else as
// the browser has it.
import { chosenLanguage, languageKey, type Language } from './chosen';

export type { Language };

let chosen = chosenLanguage();
let texts: Record<string, string> | undefined; // by their English; undefined: English itself

export const language = (): Language => chosen;

/** Gets the texts of the language, before anything is shown. Where they cannot be had, the page is English. */
export async function loadTexts(): Promise<void> {
  texts = undefined;
  if (chosen === 'ja') texts = await import('./ja').then((m) => m.ja, () => undefined);
}

/** Sets the language, of tests too. A page has to be loaded again to show it everywhere. */
export function setLanguage(next: Language): void {
  chosen = next;
  try {
    localStorage.setItem(languageKey, next);
  } catch {
    // then it lasts as long as the page
  }
}

/** The locale for numbers and times. British English: days come before months, and hours go to 23. */
export const locale = (): string => (chosen === 'ja' ? 'ja-JP' : 'en-GB');

/** The text in the language of the page, with {name} replaced by what values has under that name. */
export function t(text: string, values?: Record<string, string | number>): string {
  return filled(texts?.[text] ?? text, values);
}

/** A text with {name} replaced by what values has under that name. */
export function filled(text: string, values?: Record<string, string | number>): string {
  return values ? text.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place)) : text;
}
