/** The models that one can talk to, which of them is chosen, and which paint. */
import { get, type ListPage } from '../lib/api';
import { keep, kept } from '../lib/kept';
import type { Model } from './types';

const CHOICE = 'chat.model';

class Models {
  all = $state.raw<Model[]>([]);
  loading = $state(true);
  failure = $state.raw<unknown>(null);
  #chosen = $state<string | null>(kept(CHOICE));

  readonly talking = $derived(this.all.filter((each) => (each.details?.task ?? 'chat') === 'chat'));
  readonly painting = $derived(this.all.filter((each) => each.details?.task === 'images'));

  /** The model that the next message goes to: the one chosen, else the service's default, else the first. */
  readonly chosen = $derived(
    this.talking.find((each) => each.id === this.#chosen) ??
      this.talking.find((each) => each.details?.default) ??
      this.talking[0] ??
      null,
  );
  readonly painter = $derived(this.painting.find((each) => each.details?.default) ?? this.painting[0] ?? null);
  readonly sees = $derived(this.chosen?.details?.input.includes('image') ?? false);

  choose(id: string): void {
    this.#chosen = id;
    keep(CHOICE, id);
  }

  async load(): Promise<void> {
    this.failure = null;
    try {
      this.all = (await get<ListPage<Model>>('/v1/models', { details: true })).data;
    } catch (error) {
      this.failure = error;
    } finally {
      this.loading = false;
    }
  }
}

export const models = new Models();
