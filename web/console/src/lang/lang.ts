// The language of the page. English is written where it is shown, t('Meters'), and is the key of its own text: a second language
// would be a table from the English texts to its own, looked up here and nowhere else.
export const language = (): string => 'en';

/** The locale for numbers and times. British: days come before months, and hours go to 23. */
export const locale = (): string => 'en-GB';

/** The text in the language of the page, with {name} replaced by what values has under that name. */
export function t(text: string, values?: Record<string, string | number>): string {
  return values ? text.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place)) : text;
}
