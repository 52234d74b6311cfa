/** One sending of the request to one deployment: what comes back, how fast, and what it cost. */
import { ApiError, eventsOf, get, send } from '../lib/api';
import { addChunk, addEvent, chatAnswer, emptyAnswer, responseAnswer, snapshot, type Answer } from './answer';
import type { Json } from './draft';
import { PATHS, type Endpoint } from './parameters';

export type RunState = 'idle' | 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed';

/** What the service's receipt of a request says, as far as it is shown. */
export interface Receipt {
  request_id: string;
  deployment: string | null;
  prompt_tokens: number;
  completion_tokens: number;
  cost_micro: number;
  finish_reason: string | null;
  outcome: string;
}

/** Events that are kept for the view of what came, the newest of them. */
export const MOST_EVENTS = 2000;

export class Run {
  state = $state<RunState>('idle');
  answer = $state.raw<Answer>(emptyAnswer());
  error = $state.raw<unknown>(null);
  /** What was sent, and what came. */
  sent = $state.raw<{ path: string; body: Json } | null>(null);
  status = $state(0);
  headers = $state.raw<[string, string][]>([]);
  /** The events of the stream as JSON text, or the one body. */
  events = $state.raw<readonly string[]>([]);
  dropped = $state(0);
  firstTokenMs = $state<number | null>(null);
  totalMs = $state<number | null>(null);
  receipt = $state.raw<Receipt | null>(null);

  readonly busy = $derived(this.state === 'waiting' || this.state === 'streaming');
  readonly requestId = $derived(this.headers.find(([name]) => name === 'x-request-id')?.[1] ?? null);
  readonly outputTokens = $derived(this.answer.usage?.output ?? this.receipt?.completion_tokens ?? null);
  readonly inputTokens = $derived(this.answer.usage?.input ?? this.receipt?.prompt_tokens ?? null);
  readonly finish = $derived(this.answer.choices.find((each) => each.finish)?.finish ?? null);
  /** Tokens after the first in the time after the first; of an answer in one piece, all of them in all of the time. */
  readonly tokensPerSecond = $derived.by(() => {
    if (!this.outputTokens || this.totalMs === null) return null;
    if (this.firstTokenMs === null) return this.outputTokens / (this.totalMs / 1000);
    const [tokens, ms] = [this.outputTokens - 1, this.totalMs - this.firstTokenMs];
    return tokens > 0 && ms > 0 ? tokens / (ms / 1000) : null;
  });

  #abort: AbortController | null = null;
  #acc: Answer = emptyAnswer();
  #pending: string[] = [];
  #frame = 0;

  /** Send a request and follow its answer to its end. Never throws: what goes wrong is in `error`. */
  async start(endpoint: Endpoint, body: Json): Promise<void> {
    this.stop();
    const abort = new AbortController();
    this.#reset(PATHS[endpoint], body);
    this.#abort = abort;
    const began = performance.now();
    try {
      const answer = await send('POST', PATHS[endpoint], body, { signal: abort.signal });
      this.#arrived(answer.status, answer.headers);
      if (answer.headers.get('content-type')?.startsWith('text/event-stream')) {
        await this.#follow(answer, endpoint, began, abort.signal);
      } else {
        const whole = (await answer.json()) as Json;
        this.#acc = endpoint === 'chat' ? chatAnswer(whole) : responseAnswer(whole);
        this.#pending.push(JSON.stringify(whole, null, 2));
      }
      this.#finish(abort, this.#acc.failure === null ? 'done' : 'failed', began);
    } catch (error) {
      this.#failed(error, abort, began);
    }
    if (this.#abort === abort) await this.#fetchReceipt(abort.signal);
  }

  /** Give the answer up; the service stops making it. */
  stop(): void {
    if (this.busy) this.#abort?.abort();
  }

  #reset(path: string, body: Json): void {
    this.state = 'waiting';
    this.answer = emptyAnswer();
    this.error = this.receipt = this.firstTokenMs = this.totalMs = null;
    this.sent = { path, body };
    this.status = this.dropped = 0;
    this.headers = [];
    this.events = [];
    this.#acc = emptyAnswer();
    this.#pending = [];
  }

  #arrived(status: number, headers: Headers): void {
    this.status = status;
    this.headers = [...headers.entries()];
  }

  async #follow(answer: Response, endpoint: Endpoint, began: number, signal: AbortSignal): Promise<void> {
    for await (const { data } of eventsOf<Json>(answer, signal)) {
      if (signal.aborted) throw new DOMException('Stopped', 'AbortError');
      const brought = endpoint === 'chat' ? addChunk(this.#acc, data) : addEvent(this.#acc, data);
      if (brought && this.firstTokenMs === null) this.firstTokenMs = performance.now() - began;
      this.state = 'streaming';
      this.#pending.push(JSON.stringify(data));
      this.#frame ||= requestAnimationFrame(() => this.#show());
    }
  }

  /** Show what has come since the last frame. */
  #show(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.answer = snapshot(this.#acc);
    const events = [...this.events, ...this.#pending];
    this.#pending = [];
    this.dropped += Math.max(0, events.length - MOST_EVENTS);
    this.events = events.slice(-MOST_EVENTS);
  }

  #finish(abort: AbortController, state: RunState, began: number): void {
    if (this.#abort !== abort) return;
    this.totalMs = performance.now() - began;
    this.#show();
    this.state = state;
  }

  #failed(error: unknown, abort: AbortController, began: number): void {
    if (this.#abort !== abort) return;
    if (error instanceof ApiError && error.headers) this.#arrived(error.status, error.headers);
    if (error instanceof ApiError && error.status > 0) {
      this.#pending.push(JSON.stringify({ error: error.detail }, null, 2));
    }
    if (!abort.signal.aborted) this.error = error;
    this.#finish(abort, abort.signal.aborted ? 'stopped' : 'failed', began);
  }

  /** The receipt is written before the last byte of an answer is sent; of one that was given up, soon after. */
  async #fetchReceipt(signal: AbortSignal): Promise<void> {
    const id = this.requestId;
    if (id === null || signal.aborted) return;
    try {
      const found = await get<{ receipt: Receipt }>(`/v1/receipts/${encodeURIComponent(id)}`);
      if (this.requestId === id) this.receipt = found.receipt;
    } catch {
      // Whoever may not read receipts does without cost.
    }
  }
}
