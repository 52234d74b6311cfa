/**
 * What a page shows of the server: asked for once, again when what it depends on changes, and every so often.
 *
 *     const keys = watch((signal) => get<ListPage<Key>>('/admin/keys', {}, { signal }), { everyMs: () => 5000 });
 *
 * To be made while a component is set up. What the question reads of the state before it first waits is what it
 * depends on. Nothing is asked while the page is hidden. What was shown stays while it is asked for again.
 */
import { untrack } from 'svelte';

export class Watched<T> {
  value = $state.raw<T>();
  error = $state.raw<unknown>();
  /** Whether an answer is awaited. */
  pending = $state(true);
  turn = $state(0);

  /** Ask again, now. */
  again = (): void => {
    this.turn += 1;
  };
}

interface Options<T> {
  /** After how many milliseconds it is asked for again, by what was found last; null: not by itself. */
  everyMs?: (found: T | undefined) => number | null;
}

export function watch<T>(ask: (signal: AbortSignal) => Promise<T>, options: Options<T> = {}): Watched<T> {
  const watched = new Watched<T>();
  $effect(() => {
    void watched.turn;
    // What the interval reads of the state counts too, such as a switch; what was found last does not.
    options.everyMs?.(untrack(() => watched.value));
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let late = false;

    const settle = (ended: Promise<T>): void => {
      watched.pending = true;
      ended
        .then(
          (value) => {
            if (stop.signal.aborted) return;
            watched.value = value;
            watched.error = undefined;
          },
          (error: unknown) => {
            if (!stop.signal.aborted) watched.error = error;
          },
        )
        .finally(() => {
          if (stop.signal.aborted) return;
          watched.pending = false;
          const everyMs = options.everyMs?.(watched.value) ?? null;
          if (everyMs !== null) timer = setTimeout(next, everyMs);
        });
    };
    const next = (): void => {
      late = document.visibilityState === 'hidden';
      if (!late) settle(ask(stop.signal));
    };
    const seen = (): void => {
      if (late && document.visibilityState === 'visible') next();
    };

    settle(ask(stop.signal));
    document.addEventListener('visibilitychange', seen);
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  });
  return watched;
}
