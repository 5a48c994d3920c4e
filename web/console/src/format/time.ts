// Times as people read them: in the browser's zone, with UTC at hand.
import { language, locale, t } from '../lang/lang';
import { dash } from './number';

interface Formats {
  hm: Intl.DateTimeFormat;
  hms: Intl.DateTimeFormat;
  dayMonth: Intl.DateTimeFormat;
  weekday: Intl.DateTimeFormat;
  dated: Intl.DateTimeFormat;
  full: Intl.DateTimeFormat;
}

const made = new Map<string, Formats>(); // making one takes longer than using it a thousand times

function formats(): Formats {
  let f = made.get(language());
  if (!f) {
    const of = (o: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(locale(), o);
    f = {
      hm: of({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
      hms: of({ hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }),
      dayMonth: of({ day: 'numeric', month: 'short' }),
      weekday: of({ weekday: 'short', day: 'numeric', month: 'short' }),
      dated: of({ day: 'numeric', month: 'short', year: 'numeric' }),
      full: of({ weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' }),
    };
    made.set(language(), f);
  }
  return f;
}

/** Whether a time says anything: Go's zero time stands for "not known". */
export function known(t: string | undefined | null): t is string {
  return !!t && !t.startsWith('0001-') && !t.startsWith('1970-01-01T00:00:00');
}

export const clock = (ms: number): string => formats().hm.format(ms);
export const clockSeconds = (ms: number): string => formats().hms.format(ms);
export const day = (ms: number): string => formats().weekday.format(ms);
/** A time to the second, with its date. */
export const stamp = (ms: number): string => `${formats().dated.format(ms)} ${formats().hms.format(ms)}`;
export const date = (ms: number): string => formats().full.format(ms);

/** The time of day, and the day too when it is not the day of now. */
export function short(ms: number, now: number): string {
  const f = formats();
  return new Date(ms).toDateString() === new Date(now).toDateString() ? f.hm.format(ms) : `${f.dayMonth.format(ms)} ${f.hm.format(ms)}`;
}

export function utc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** A time for the API: UTC, whole seconds. */
export const iso = (ms: number): string => new Date(Math.floor(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');

/** A span of time in its two largest units. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return dash;
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return t('{n} s', { n: s });
  const m = Math.floor(s / 60);
  if (m < 60) return s % 60 && m < 10 ? t('{m} min {s} s', { m, s: s % 60 }) : t('{n} min', { n: m });
  const h = Math.floor(m / 60);
  if (h < 48) return m % 60 ? t('{h} h {m} min', { h, m: m % 60 }) : t('{n} h', { n: h });
  const d = Math.floor(h / 24);
  return h % 24 && d < 10 ? t('{d} d {h} h', { d, h: h % 24 }) : t('{n} d', { n: d });
}

/** A short span, as between the steps of a command. */
export function brief(ms: number): string {
  if (ms < 1000) return t('{n} ms', { n: Math.max(0, Math.round(ms)) });
  if (ms < 60_000) return t('{n} s', { n: (ms / 1000).toFixed(1) });
  return duration(ms);
}

/** The browser's time zone, such as "Europe/Zurich". */
export function zone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || t('local time');
}
