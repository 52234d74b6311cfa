/** What somebody is about to ask for. It survives a reload, and can be filled from a picture. */
import { keepJson, keptJson } from '../lib/kept';
import { type Painter } from './painters.svelte';
import { anySeed, MAX_COUNT, MAX_SEED, type Order, STATES } from './painting';
import type { Picture } from './picture';

interface Kept {
  prompt?: string;
  model?: string | null;
  size?: string;
  count?: number;
  seed?: string;
}

const NAME = 'studio.wish';

class Wish {
  prompt = $state('');
  model = $state<string | null>(null);
  size = $state('');
  count = $state(1);
  /** As it is typed; empty for one that nobody chose. */
  seed = $state('');

  constructor() {
    const last = keptJson<Kept>(NAME, {});
    this.prompt = String(last.prompt ?? '');
    this.model = last.model ?? null;
    this.size = String(last.size ?? '');
    this.count = countOf(last.count);
    this.seed = String(last.seed ?? '');
  }

  keep(): void {
    const { prompt, model, size, count } = this;
    const seed = seedOf(this.seed) === null ? '' : this.seed;
    keepJson(NAME, { prompt, model, size, count, seed } satisfies Kept);
  }

  /** Ask for what a picture was asked for, with its seed. */
  fill(picture: Picture): void {
    this.prompt = picture.prompt;
    this.model = picture.model;
    this.size = picture.size;
    this.count = 1;
    this.seed = picture.seed === null ? '' : String(picture.seed);
    this.keep();
  }

  order(painter: Painter): Order {
    return {
      operation: 'generation',
      model: painter.id,
      prompt: this.prompt.trim(),
      count: countOf(this.count),
      size: sizeOf(painter, this.size),
      seed: seedOf(this.seed) ?? anySeed(countOf(this.count)),
      states: painter.states ? STATES : 0,
    };
  }
}

/** A size that the painter paints: the wished one, or its first. */
export function sizeOf(painter: Painter, wished: string): string {
  return painter.sizes.includes(wished) ? wished : (painter.sizes[0] ?? 'auto');
}

/** The seed that was typed; null where none was, or none that there is. */
export function seedOf(text: string): number | null {
  const typed = text.trim();
  return /^\d{1,10}$/.test(typed) && Number(typed) <= MAX_SEED ? Number(typed) : null;
}

export function countOf(count: unknown): number {
  const found = Math.round(Number(count));
  return found >= 1 ? Math.min(found, MAX_COUNT) : 1;
}

export const wish = new Wish();
