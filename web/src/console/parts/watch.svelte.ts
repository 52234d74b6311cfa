/**
 * What a page shows of the server: asked for once, again when what it depends on changes, and every so often.
 *
 *     const keys = watch((signal) => get<ListPage<Key>>('/admin/keys', {}, { signal }), { everyMs: () => 5000 });
 *
 * To be made while a component is set up. What the question reads of the state before it first waits is what it
 * depends on. Nothing is asked while the page is hidden. What was shown stays while it is asked for again.
 */
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

interface Options {
  /** How often it is asked for again, in milliseconds; null: not by itself. */
  everyMs?: () => number | null;
}

export function watch<T>(ask: (signal: AbortSignal) => Promise<T>, options: Options = {}): Watched<T> {
  const watched = new Watched<T>();
  $effect(() => {
    void watched.turn;
    const everyMs = options.everyMs?.() ?? null;
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
