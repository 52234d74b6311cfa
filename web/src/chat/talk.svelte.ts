/** One conversation as it is shown: what was said, what is being said, and what can be done with it. */
import { get, post, type ListPage } from '../lib/api';
import { toastError } from '../lib/toasts.svelte';
import { variantsAfter, type Variants } from './branches';
import { draft, keepDraft } from './drafts';
import { follow } from './follow';
import { talks } from './list.svelte';
import { DONE, newAnswer, take, type LiveAnswer } from './live';
import { rootOf, settingsOf, withSettings } from './metadata';
import { models } from './models.svelte';
import { bodyOf } from './request';
import { cutOf, failureOf, troubleOf, type Trouble } from './trouble';
import { textOf, titleOf, turnsOf, type Turn } from './turns';
import { PLAIN, type Answer, type Conversation, type Item, type Part, type Settings, type Share } from './types';

const PAGE = 50;

export class Talk {
  id = $state<string | null>(null);
  temporary = $state(false);
  conversation = $state.raw<Conversation | null>(null);
  items = $state.raw<Item[]>([]);
  /** Whether there are older items than those here. */
  more = $state(false);
  loading = $state(false);
  failure = $state.raw<unknown>(null);
  share = $state.raw<Share | null>(null);
  settings = $state.raw<Settings>(PLAIN);
  /** Whether the next message asks for a picture. */
  pictures = $state(false);

  /** What was sent and is not among the items yet. */
  asked = $state.raw<Item | null>(null);
  live = $state<LiveAnswer | null>(null);
  trouble = $state.raw<Trouble | null>(null);
  connected = $state(true);

  /** The key of the turn that is being made; it keeps it when its items have come. */
  liveKey = '';
  #keys: Record<string, string> = {};
  #stop = new AbortController();
  #made = 0;
  /** What a conversation gets its title from, and who is told when there is one. */
  #text = '';
  #begun: (id: string) => void = () => undefined;
  /** Whether the answer is to be stopped as soon as it has an id. */
  #stopping = false;

  readonly mine = $derived(this.share?.mine ?? true);
  /** Until the items have come: what is said before would be taken for what they answer. */
  readonly answering = $derived(this.live !== null && this.trouble === null);
  readonly turns = $derived<Turn[]>(turnsOf(this.items, this.#keys));
  readonly family = $derived(
    this.conversation === null ? [] : withThis(talks.family(rootOf(this.conversation)), this.conversation),
  );
  readonly empty = $derived(this.items.length === 0 && this.asked === null && this.live === null);
  readonly title = $derived(
    (this.id === null ? undefined : talks.get(this.id)?.metadata.title) ?? this.conversation?.metadata.title ?? '',
  );

  variants(after: string | null): Variants | null {
    return this.conversation === null ? null : variantsAfter(this.conversation, this.family, after);
  }

  /** Fetch the conversation, its newest items, and what is being said in it. */
  async open(id: string): Promise<void> {
    this.id = id;
    this.loading = true;
    this.failure = null;
    try {
      const [conversation, page] = await Promise.all([
        get<Conversation>(`/v1/conversations/${id}`),
        this.#page(id, undefined),
      ]);
      this.conversation = conversation;
      this.settings = settingsOf(conversation.metadata);
      this.items = page.data.reverse();
      this.more = page.has_more;
      get<Share>(`/v1/conversations/${id}/share`).then(
        (share) => (this.share = share),
        // Without an answer it is the reader's own, as conversations are.
        () => undefined,
      );
      if (conversation.metadata.response) void this.#resume(conversation.metadata.response);
    } catch (error) {
      this.failure = error;
    } finally {
      this.loading = false;
    }
  }

  /** Fetch older items. What is returned puts them before the others, when whoever asked is ready; null if there are none. */
  async older(): Promise<(() => void) | null> {
    const first = this.items[0];
    if (!this.more || this.id === null || first === undefined) return null;
    const page = await this.#page(this.id, first.id);
    if (this.items[0] !== first) return null;
    return () => {
      this.items = [...page.data.reverse(), ...this.items];
      this.more = page.has_more;
    };
  }

  /** Say something. Resolves when the answer has ended; `begun` is called when there is a conversation. */
  async say(content: Part[], text: string, begun: (id: string) => void): Promise<void> {
    const key = `said-${this.#made++}`;
    this.asked = { id: key, type: 'message', role: 'user', content };
    this.#text = text;
    this.#begun = begun;
    await this.again();
  }

  /** Ask the same again, in a conversation that is made if that failed before. */
  async again(): Promise<void> {
    if (!this.temporary && this.asked && draft(this.id) === textOf(this.asked)) keepDraft(this.id, '');
    this.#begin();
    try {
      if (!this.temporary && this.id === null) {
        const metadata = withSettings({ title: titleOf(this.#text) }, this.settings);
        this.conversation = await talks.create(metadata);
        this.id = this.conversation.id;
        this.share = null;
        this.#begun(this.id);
      }
    } catch (error) {
      this.#failed(error);
      return;
    }
    await this.#follow(this.#body());
  }

  /** Have what was said last answered anew; the items end with it. */
  async answerLast(): Promise<void> {
    this.asked = null;
    await this.again();
  }

  /** In a temporary chat: go back to before an item. */
  dropAfter(after: string | null): void {
    const place = after === null ? -1 : this.items.findIndex((item) => item.id === after);
    this.items = this.items.slice(0, place + 1);
    this.forget();
  }

  /** Take back what was sent and not answered. */
  forget(): void {
    this.asked = null;
    this.live = null;
    this.trouble = null;
  }

  /** Stop the answer; what was said of it stays. */
  async stop(): Promise<void> {
    const { id = null, status = 'queued' } = this.live ?? {};
    if (this.temporary) this.#stop.abort();
    else if (id === null) this.#stopping = true;
    else if (!DONE.includes(status)) await post(`/v1/responses/${id}/cancel`);
  }

  async change(settings: Settings): Promise<void> {
    this.settings = settings;
    if (this.id !== null) await talks.change(this.id, (before) => withSettings(before, settings));
  }

  #page(id: string, after: string | undefined): Promise<ListPage<Item>> {
    return get<ListPage<Item>>(`/v1/conversations/${id}/items`, { limit: PAGE, order: 'desc', after });
  }

  #body(): Record<string, unknown> {
    return bodyOf(this, models.chosen?.id, this.pictures ? models.painter : null);
  }

  #begin(): void {
    this.trouble = null;
    this.#stopping = false;
    this.live = newAnswer();
    this.liveKey = `answer-${this.#made++}`;
  }

  async #follow(body: Record<string, unknown> | undefined): Promise<void> {
    const stop = new AbortController();
    this.#stop = stop;
    this.connected = true;
    try {
      await follow(body, this.#follower(), stop.signal);
    } catch (error) {
      if (!stop.signal.aborted) {
        this.#failed(error);
        return;
      }
      if (this.live) this.live.status = 'cancelled';
    }
    await this.#settle();
  }

  /** What was said is kept as a draft, because the page may be left before it is said again. */
  #failed(error: unknown): void {
    this.trouble = troubleOf(error);
    if (!this.temporary && this.asked && draft(this.id) === '') keepDraft(this.id, textOf(this.asked));
  }

  #follower() {
    let noted = false;
    return {
      progress: () => this.live ?? newAnswer(),
      connected: (yes: boolean) => (this.connected = yes),
      take: (event: Parameters<typeof take>[1]) => {
        if (this.live === null) return;
        take(this.live, event);
        if (noted || this.live.id === null) return;
        noted = true;
        this.#note(this.live.id);
        if (this.#stopping) void this.stop().catch(toastError);
      },
    };
  }

  /** Note which response is being made, so that it is found after the page was closed. */
  #note(response: string | null): void {
    if (this.temporary || this.id === null) return;
    const values = { response, updated: String(Math.round(Date.now() / 1000)), root: this.#root() };
    talks.change(this.id, values).catch(() => undefined);
  }

  #root(): string {
    return this.conversation === null ? (this.id ?? '') : rootOf(this.conversation);
  }

  /** The answer has ended: its items take the place of what was shown meanwhile. */
  async #settle(): Promise<void> {
    const live = this.live;
    if (live === null) return;
    if (live.status === 'failed') {
      this.trouble = failureOf(live.error);
      return;
    }
    const said = this.asked === null ? [] : [this.asked];
    const local = [...said, ...$state.snapshot(live.items)];
    const first = live.items[0];
    if (first) this.#keys[first.id] = this.liveKey;
    if (this.temporary || this.id === null) this.items = [...this.items, ...local.map(named)];
    else await this.#newest(local);
    this.live = null;
    this.asked = null;
    this.trouble = cutOf(live.reason);
    this.#note(null);
  }

  async #newest(local: Item[]): Promise<void> {
    const known = this.items.map((item) => item.id);
    try {
      const page = await this.#page(this.id ?? '', undefined);
      const fresh = page.data.reverse().filter((item) => !known.includes(item.id));
      const user = fresh.find((item) => item.role === 'user');
      if (user && this.asked) this.#keys[user.id] = this.asked.id;
      this.items = [...this.items, ...fresh];
    } catch {
      // They are there all the same; what was shown stays until the conversation is opened again.
      this.items = [...this.items, ...local.map(named)];
    }
  }

  /** A response was being made when the conversation was left. */
  async #resume(id: string): Promise<void> {
    const [response, input] = await Promise.all([
      get<Answer>(`/v1/responses/${id}`),
      get<ListPage<Item>>(`/v1/responses/${id}/input_items`, { limit: 1 }),
    ]).catch(() => [null, null]);
    if (response === null || input === null || this.live !== null) return;
    const there = response.output.some((item) => this.items.some((other) => other.id === item.id));
    // One that has ended may have done so after the items were asked for; its stream ends when they are there.
    if (there) return;
    const asked = input.data[0];
    const known = asked === undefined || this.items.some((item) => item.id === asked.id);
    this.asked = known ? null : asked;
    this.#begin();
    this.live = { ...newAnswer(), id };
    if (response.status === 'failed') {
      this.live.items = response.output;
      this.trouble = failureOf(response.error);
    } else await this.#follow(undefined);
  }
}

function withThis(family: Conversation[], talk: Conversation): Conversation[] {
  return family.some((each) => each.id === talk.id) ? family : [...family, talk];
}

let named_ = 0;

function named(item: Item): Item {
  return { ...item, id: item.id || `local-${named_++}` };
}
