// Which language is chosen: as it was set here, else as the browser has it.

export type Language = 'en' | 'ja';

export const languageKey = 'wattbus-language';

export function chosenLanguage(): Language {
  try {
    const kept = localStorage.getItem(languageKey);
    if (kept === 'en' || kept === 'ja') return kept;
  } catch {
    // storage may be forbidden, and is not there in tests: as the browser has it then
  }
  return typeof navigator !== 'undefined' && typeof document !== 'undefined' && navigator.language.toLowerCase().startsWith('ja') ? 'ja' : 'en';
}
