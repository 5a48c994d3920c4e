// Numbers as people read them. Groups of thousands, a unit that keeps the figure short, never more digits than are known.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 }); // thousands are grouped alike in Japanese

export const dash = '–';

export function count(n: number | undefined | null): string {
  return n === undefined || n === null || !Number.isFinite(n) ? dash : whole.format(n);
}

function fixed(n: number, digits: number): string {
  return new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(n);
}

/** A number with so many decimals. */
export const decimals = (n: number, digits: number): string => fixed(n, digits);

/** About three significant digits. */
function three(n: number): string {
  const size = Math.abs(n);
  return fixed(n, size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

export interface Quantity {
  value: string;
  unit: string;
}

/** Power, W. */
export function watts(w: number): Quantity {
  const size = Math.abs(w);
  if (size >= 1e9) return { value: three(w / 1e9), unit: 'GW' };
  if (size >= 1e6) return { value: three(w / 1e6), unit: 'MW' };
  if (size >= 1e3) return { value: three(w / 1e3), unit: 'kW' };
  return { value: whole.format(w), unit: 'W' };
}

/** Energy, Wh. */
export function wattHours(wh: number): Quantity {
  const size = Math.abs(wh);
  if (size >= 1e9) return { value: three(wh / 1e9), unit: 'GWh' };
  if (size >= 1e6) return { value: three(wh / 1e6), unit: 'MWh' };
  if (size >= 1e3) return { value: three(wh / 1e3), unit: 'kWh' };
  return { value: whole.format(wh), unit: 'Wh' };
}

/** A register: kWh with all three decimals, as on the meter's own display. */
export function register(wh: number): string {
  return fixed(wh / 1000, 3);
}

/** A share in percent. 100 only when it is all: 99.999 must not look complete. */
export function percent(p: number): string {
  if (p >= 100) return '100';
  if (p > 99.99) return '99.99';
  return fixed(Math.floor(p * 100) / 100, 2);
}

/** A rate per second. */
export function rate(n: number): string {
  return n < 10 ? fixed(n, 1) : whole.format(n);
}

export function text(q: Quantity): string {
  return `${q.value} ${q.unit}`;
}
