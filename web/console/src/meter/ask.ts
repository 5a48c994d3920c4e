// The commands that an operator can give to one meter, and what each would do.
import type { CommandRequest, Meter } from '../api/shapes';
import { t } from '../lang/lang';
import type { IconName } from '../parts/icons';

export type Ask = 'read' | 'profile' | 'disconnect' | 'reconnect';

export const asks: { ask: Ask; label: string; icon: IconName; danger: boolean }[] = [
  { ask: 'read', label: 'Read now', icon: 'read', danger: false },
  { ask: 'profile', label: 'Load profile', icon: 'profile', danger: false },
  { ask: 'disconnect', label: 'Disconnect', icon: 'breaker-open', danger: true },
  { ask: 'reconnect', label: 'Reconnect', icon: 'breaker-closed', danger: false },
];

/** Why a command cannot be given now, or ''. */
export function hindrance(ask: Ask, m: Meter): string {
  if (ask !== 'disconnect' && ask !== 'reconnect') return '';
  if (!m.capabilities?.includes('breaker')) return t('This meter has no breaker');
  return '';
}

/** What should be thought of before, or ''. */
export function caution(ask: Ask, m: Meter): string {
  if (m.state === 'power-lost') return t('The meter has no power: the command waits for it until it expires.');
  if (m.state === 'unreachable' || m.state === 'comm-lost') return t('The meter cannot be reached now: the command waits for it until it expires.');
  if (ask === 'disconnect' && m.breaker.state === 'open') return t('The breaker is open already.');
  if (ask === 'reconnect' && m.breaker.state === 'closed') return t('The breaker is closed already.');
  return '';
}

/** Seconds of the centre's time after which a command is given up. */
export const expiries = [
  { seconds: 300, label: '5 minutes' },
  { seconds: 3600, label: '1 hour' },
  { seconds: 86_400, label: '1 day' },
];

export const profileSpans = [
  { hours: 6, label: 'Last 6 hours' },
  { hours: 24, label: 'Last 24 hours' },
  { hours: 168, label: 'Last 7 days' },
];

export function request(ask: Ask, meter: string, expiresIn: number, opt: { arm?: boolean; hours?: number; now?: number } = {}): CommandRequest {
  const base: CommandRequest = { target: { meter }, type: ask, expiresIn };
  if (ask === 'reconnect' && opt.arm) return { ...base, params: { arm: true } };
  // Without a span a meter sends the last 6 hours by its own clock.
  if (ask === 'profile' && opt.hours && opt.hours !== 6 && opt.now) {
    const to = Math.floor(opt.now / 1000) * 1000;
    return { ...base, params: { from: new Date(to - opt.hours * 3_600_000).toISOString(), to: new Date(to).toISOString() } };
  }
  return base;
}
