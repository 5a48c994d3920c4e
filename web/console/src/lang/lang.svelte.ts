// The language of the page. English is written where it is shown, t('Meters'), and is its own key; another language is a table from
// the English text to its own. A test looks that no table lacks a text and that each keeps the {places} of the English one.
import { ja } from './ja';

export type Language = 'en' | 'ja';

const tables: Record<Language, Readonly<Record<string, string>> | null> = { en: null, ja };
export const languages: { language: Language; name: string }[] = [
  { language: 'en', name: 'English' },
  { language: 'ja', name: '日本語' },
];

const key = 'wattbus-language';

function first(): Language {
  try {
    const kept = localStorage.getItem(key);
    if (kept === 'en' || kept === 'ja') return kept;
  } catch {
    // storage may be forbidden: the browser's language then
  }
  return typeof navigator !== 'undefined' && navigator.language?.startsWith('ja') ? 'ja' : 'en';
}

const state = $state({ language: typeof document === 'undefined' ? ('en' as Language) : first() });

export const language = (): Language => state.language;

/** The locale for numbers and times. British for English: days come before months, and hours go to 23. */
export const locale = (): string => (state.language === 'ja' ? 'ja-JP' : 'en-GB');

export function setLanguage(language: Language): void {
  state.language = language;
  try {
    localStorage.setItem(key, language);
  } catch {
    // then it lasts until the page is loaded again
  }
}

/** The text in the language of the page, with {name} replaced by what values has under that name. */
export function t(text: string, values?: Record<string, string | number>): string {
  const said = tables[state.language]?.[text] ?? text;
  return values ? said.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place)) : said;
}
