/** What is being painted: requests under way, and those that failed until somebody has read why. */
import { t } from '../lib/i18n.svelte';
import { toast } from '../lib/toasts.svelte';
import { lookAt } from './files';
import { library } from './library.svelte';
import { painters } from './painters.svelte';
import { type Order, paint } from './painting';
import { type Picture } from './picture';
import { type Trouble, troubleOf } from './trouble';

/** Where an order comes from. */
export interface Source {
  /** The pictures that the new ones are made from. */
  parents: readonly string[];
  /** The page of the picture on which it was asked for; null for the gallery. */
  page: string | null;
}

/** The place of one picture that is being painted. */
export class Slot {
  /** What there is to see of it: an unfinished state or the picture. */
  file = $state.raw<Blob | null>(null);
  /** How many states were shown. */
  shown = $state(0);
  done = $state(false);
  picture = $state.raw<Picture | null>(null);

  constructor(readonly index: number) {}
}

export class Work {
  readonly slots: readonly Slot[];
  /** Seconds since the epoch. */
  readonly created = Math.round(Date.now()) / 1000;
  /** Whether the server has begun with it. */
  taken = $state(false);
  active = $state(true);
  trouble = $state.raw<Trouble | null>(null);
  readonly #stopping = new AbortController();
  #requestId: string | null = null;

  constructor(
    readonly id: number,
    readonly order: Order,
    readonly source: Source,
  ) {
    this.slots = Array.from({ length: order.count }, (_, index) => new Slot(index));
  }

  /** The places that are still empty. */
  get waiting(): readonly Slot[] {
    return this.slots.filter((each) => each.picture === null);
  }

  /** The place that is painted at the moment. */
  get current(): Slot | undefined {
    return this.slots.find((each) => !each.done);
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** Paint; true when every picture is there. */
  async run(): Promise<boolean> {
    try {
      void library.prepare();
      for await (const each of paint(this.order, this.#stopping.signal)) {
        this.taken = true;
        if (each.kind === 'taken') {
          this.#requestId = each.requestId;
          continue;
        }
        const slot = this.slots[each.index];
        if (!slot) continue;
        slot.file = each.file;
        if (each.kind === 'state') slot.shown = each.state;
        else await this.#finish(slot, each.file);
      }
      return true;
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.trouble = troubleOf(error);
      return this.#stopping.signal.aborted;
    } finally {
      this.active = false;
    }
  }

  async #finish(slot: Slot, file: Blob): Promise<void> {
    slot.done = true;
    const { operation, model, prompt, seed } = this.order;
    const { size, thumbnail } = await lookAt(file);
    const { picture, failure } = await library.add(
      {
        operation,
        prompt,
        model,
        size,
        thumbnail,
        seed: seed + slot.index,
        parents: this.source.parents,
        index: slot.index,
        requestId: this.#requestId,
        created: this.created,
        name: '',
      },
      file,
    );
    slot.picture = picture;
    if (failure) toast(t('studio:notKept'), { kind: 'error' });
  }
}

class Works {
  all = $state<Work[]>([]);
  /** What happened last, for those who hear the page. */
  said = $state('');
  #count = 0;

  /** Begin to paint. */
  start(order: Order, source: Source): Work {
    this.#count += 1;
    const work = new Work(this.#count, order, source);
    this.all.unshift(work);
    void this.#run(work);
    return work;
  }

  /** Ask once more for what is missing of a request that failed. */
  retry(work: Work): Work {
    this.dismiss(work);
    const first = work.waiting[0]?.index ?? 0;
    const order = { ...work.order, count: work.waiting.length || 1, seed: work.order.seed + first };
    return this.start(order, work.source);
  }

  dismiss(work: Work): void {
    this.all = this.all.filter((each) => each.id !== work.id);
  }

  async #run(work: Work): Promise<void> {
    const done = await work.run();
    if (done) this.dismiss(work);
    const count = work.slots.length - work.waiting.length;
    if (work.trouble) this.said = t('studio:failed');
    else this.said = work.waiting.length > 0 ? t('studio:stopped') : t('studio:painted', { count });
    const painter = painters.find(work.order.model);
    if (painter?.sizes.length === 0) void painters.again();
  }
}

export const works = new Works();
