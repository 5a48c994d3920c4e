// Times as people read them: in the browser's zone, with UTC at hand.
import { dash } from './number';

const clockOf = (seconds: boolean) =>
  new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}), hourCycle: 'h23' });
const hm = clockOf(false);
const hms = clockOf(true);
const dayMonth = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const weekday = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short' });
const full = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });

/** Whether a time says anything: Go's zero time stands for "not known". */
export function known(t: string | undefined | null): t is string {
  return !!t && !t.startsWith('0001-') && !t.startsWith('1970-01-01T00:00:00');
}

export const clock = (ms: number): string => hm.format(ms);
export const clockSeconds = (ms: number): string => hms.format(ms);
export const day = (ms: number): string => weekday.format(ms);
export const date = (ms: number): string => full.format(ms);

/** The time of day, and the day too when it is not the day of now. */
export function short(ms: number, now: number): string {
  return new Date(ms).toDateString() === new Date(now).toDateString() ? hm.format(ms) : `${dayMonth.format(ms)} ${hm.format(ms)}`;
}

export function utc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** A span of time in its two largest units. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return dash;
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return s % 60 && m < 10 ? `${m} min ${s % 60} s` : `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 48) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
  const d = Math.floor(h / 24);
  return h % 24 && d < 10 ? `${d} d ${h % 24} h` : `${d} d`;
}

/** A short span, as between the steps of a command. */
export function brief(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return duration(ms);
}

/** The browser's time zone, such as "Europe/Zurich". */
export function zone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'local time';
}
