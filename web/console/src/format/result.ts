// What a command brought, in one line.
import type { Command, CommandResult } from '../api/shapes';
import { t } from '../lang/lang';
import { count, register, text, watts } from './number';
import { told } from './said';

const breakers: Record<string, string> = { open: 'breaker open', closed: 'breaker closed', ready: 'breaker ready to close at the meter' };

export function resultText(c: Command): string {
  if (c.bulk) {
    const total = c.bulk.total;
    const done = c.bulk.states?.done ?? 0;
    return t('{n} of {total} meters done', { n: count(done), total: count(total) });
  }
  const r = c.result;
  if (!r) {
    const last = c.history?.at(-1);
    return told(last?.detail, last?.said);
  }
  if (c.state !== 'done') return told(r.reason, r.said) || reasonOf(r) || t(r.outcome);
  switch (c.type) {
    case 'read':
      return r.register ? `${register(r.register.import)} kWh · ${text(watts(r.register.power))} · ${r.register.voltage.toFixed(1)} V` : t('read');
    case 'profile':
      return t('{n} intervals with values', { n: count(r.detail) });
    case 'disconnect':
    case 'reconnect':
      return t(breakers[r.breaker ?? ''] ?? 'carried out');
    default:
      return t('carried out');
  }
}

/** Refusals that the contract numbers. */
function reasonOf(r: CommandResult): string {
  if (r.outcome !== 'refused') return '';
  return r.detail === 1 ? t("the meter's clock is not synchronised") : r.detail === 2 ? t('a breaker command needs an expiry') : '';
}
