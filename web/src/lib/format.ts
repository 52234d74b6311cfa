/** Numbers, money, times and sizes, as the reader's language writes them. */
import { language } from './i18n.svelte';

const cache = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>();

export function number(value: number, options: Intl.NumberFormatOptions = {}): string {
  return made(`n${language()}${JSON.stringify(options)}`, () => new Intl.NumberFormat(language(), options)).format(
    value,
  );
}

/** 12.3k, 4.5M. */
export function compact(value: number): string {
  return number(value, { notation: 'compact', maximumFractionDigits: 1 });
}

/** A share of one as per cent. */
export function percent(share: number, digits = 1): string {
  return number(share, { style: 'percent', maximumFractionDigits: digits });
}

/** Money in millionths of a unit; small amounts keep the digits that say something. */
export function money(micro: number, currency = 'USD'): string {
  const value = micro / 1e6;
  const digits = value !== 0 && Math.abs(value) < 0.01 ? 6 : 2;
  return number(value, { style: 'currency', currency, minimumFractionDigits: 2, maximumFractionDigits: digits });
}

/** Seconds since the epoch. */
export function date(at: number, options: Intl.DateTimeFormatOptions = { dateStyle: 'medium' }): string {
  const key = `d${language()}${JSON.stringify(options)}`;
  return made(key, () => new Intl.DateTimeFormat(language(), options)).format(at * 1000);
}

/** Seconds since the epoch, with the time of day. */
export function moment(at: number): string {
  return date(at, { dateStyle: 'medium', timeStyle: 'short' });
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['week', 604_800],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

/** How long ago, or in how long: "3 hours ago". Seconds since the epoch. */
export function ago(at: number, now: number = Date.now() / 1000): string {
  const left = at - now;
  const [unit, size] = STEPS.find(([, each]) => Math.abs(left) >= each) ?? ['second', 1];
  const format = made(`r${language()}`, () => new Intl.RelativeTimeFormat(language(), { numeric: 'auto' }));
  return format.format(Math.trunc(left / size), unit);
}

/** 1.4 MB. */
export function bytes(size: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
  const step = Math.min(units.length - 1, size < 1 ? 0 : Math.floor(Math.log10(size) / 3));
  return number(size / 1000 ** step, {
    style: 'unit',
    unit: units[step] ?? 'byte',
    unitDisplay: 'short',
    maximumFractionDigits: step === 0 ? 0 : 1,
  });
}

/** 840 ms, 2.4 s, 3 min. */
export function duration(ms: number): string {
  const of = (value: number, unit: string, digits: number) =>
    number(value, { style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits: digits });
  if (ms < 1000) return of(ms, 'millisecond', 0);
  if (ms < 120_000) return of(ms / 1000, 'second', 1);
  if (ms < 7_200_000) return of(ms / 60_000, 'minute', 0);
  return of(ms / 3_600_000, 'hour', 1);
}

function made<T extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>(
  key: string,
  make: () => T,
): T {
  const found = cache.get(key) ?? make();
  cache.set(key, found);
  return found as T;
}

/**
 * Whether an amount may be meant in two ways: "1,000" is one to some and a thousand to others, and so is "1.000". With
 * money neither may be guessed.
 */
export function ambiguous(text: string): boolean {
  return /^[1-9]\d{0,2}([.,]\d{3})+$/.test(text.trim());
}
