/** The models that paint, and what each can do. */
import { get, type ListPage } from '../lib/api';

export interface Painter {
  id: string;
  /** The model behind it, where that is told. */
  model: string | null;
  /** WIDTHxHEIGHT each; empty where the painter has not told them yet. */
  sizes: readonly string[];
  edits: boolean;
  variations: boolean;
  /** Whether it shows unfinished states. */
  states: boolean;
  /** Whether it is the one to begin with. */
  first: boolean;
}

interface Listed {
  id: string;
  details?: {
    model?: string | null;
    task?: string;
    default?: boolean;
    operations?: string[];
    sizes?: string[];
    partial_images?: boolean;
  };
}

/** The painter of the smallest home, which paints a few dozen things. */
export const STARTER = 'starter-painter';

class Painters {
  all = $state<readonly Painter[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  error: unknown = $state();
  #begun = false;

  /** Find out which there are, once. */
  open(): void {
    if (this.#begun) return;
    this.#begun = true;
    void this.again();
  }

  /** Find out anew: a painter tells its sizes when it has started. */
  async again(): Promise<void> {
    try {
      const { data } = await get<ListPage<Listed>>('/v1/models', { details: true });
      this.all = paintersIn(data);
      this.state = 'ready';
    } catch (error) {
      this.error = error;
      this.state = 'failed';
    }
  }

  /** The painter of that name, or the one to begin with; null where there is none. */
  find(id: string | null): Painter | null {
    return this.all.find((each) => each.id === id) ?? this.all[0] ?? null;
  }
}

/** The painters among models, the one to begin with first. */
export function paintersIn(models: readonly Listed[]): Painter[] {
  return models
    .filter((each) => each.details?.task === 'images')
    .map(({ id, details = {} }) => ({
      id,
      model: details.model ?? null,
      sizes: details.sizes ?? [],
      edits: can(details.operations, 'images.edits'),
      variations: can(details.operations, 'images.variations'),
      states: details.partial_images ?? true,
      first: details.default ?? false,
    }))
    .sort((one, other) => Number(other.first) - Number(one.first));
}

/** Whether an operation is among those that are told; a painter that tells none yet may well do it. */
function can(operations: readonly string[] | undefined, operation: string): boolean {
  return !operations?.length || operations.includes(operation);
}

export const painters = new Painters();
