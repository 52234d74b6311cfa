/** Log probabilities as something to look at. */
import type { Token } from './answer';

/** How likely, in five steps: 0 is the least. */
export type Level = 0 | 1 | 2 | 3 | 4;
/** From which probability a step begins, the highest first. */
export const STEPS = [0.9, 0.6, 0.3, 0.1, 0] as const;

export function probability(logprob: number): number {
  return Math.min(1, Math.exp(logprob));
}

export function level(logprob: number): Level {
  const found = STEPS.findIndex((least) => probability(logprob) >= least);
  return (4 - Math.max(0, found)) as Level;
}

/** A token as it can be read: what cannot be seen is written. */
export function visible(token: string): string {
  if (token === '') return '∅';
  return token.replaceAll('\n', '↵').replaceAll('\t', '⇥').replaceAll(/^ | $/g, '␣');
}

/** exp of the mean negative log probability; null without tokens. 1 is certainty. */
export function perplexity(tokens: readonly Token[]): number | null {
  if (tokens.length === 0) return null;
  const sum = tokens.reduce((total, each) => total + Math.max(each.logprob, -100), 0);
  return Math.exp(-sum / tokens.length);
}

/** Where the next token lies in a direction, staying within. */
export function moved(key: string, place: number, count: number): number | null {
  const to: Record<string, number> = {
    ArrowRight: place + 1,
    ArrowLeft: place - 1,
    Home: 0,
    End: count - 1,
  };
  const found = to[key];
  return found === undefined ? null : Math.max(0, Math.min(count - 1, found));
}
