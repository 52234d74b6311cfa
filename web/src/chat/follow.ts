/**
 * Follows a response until it has ended, whatever the network does meanwhile.
 *
 * A response in the background goes on without us; where the connection breaks off, its events are asked for again from
 * the last one that was seen.
 */
import { ApiError, get, stream } from '../lib/api';
import { DONE } from './live';
import type { Answer, StreamEvent } from './types';

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8000;

export interface Progress {
  readonly id: string | null;
  readonly status: Answer['status'];
  readonly seen: number;
}

export interface Follower {
  progress: () => Progress;
  take: (event: StreamEvent) => void;
  /** Told whether the connection is there. */
  connected: (yes: boolean) => void;
}

/** Ask for a response, or go on with one that has begun where there is no body. */
export async function follow(body: unknown, follower: Follower, signal: AbortSignal): Promise<void> {
  let wait = FIRST_WAIT_MS;
  for (let first = body; ; first = undefined) {
    const before = follower.progress().seen;
    try {
      await drain(first, follower, signal);
      if (DONE.includes(follower.progress().status) || (await settled(follower, signal))) return;
    } catch (error) {
      const lost = error instanceof ApiError && (error.code === 'network' || error.status >= 502);
      if (!lost || follower.progress().id === null) throw error;
      follower.connected(false);
    }
    wait = follower.progress().seen > before ? FIRST_WAIT_MS : Math.min(wait * 2, LONGEST_WAIT_MS);
    await pause(wait, signal);
  }
}

async function drain(body: unknown, follower: Follower, signal: AbortSignal): Promise<void> {
  const { id, seen } = follower.progress();
  const events =
    body === undefined
      ? stream<StreamEvent>(`/v1/responses/${id}`, undefined, {
          query: { stream: true, ...(seen < 0 ? {} : { starting_after: seen }) },
          signal,
        })
      : stream<StreamEvent>('/v1/responses', body, { signal });
  for await (const { data } of events) {
    follower.connected(true);
    follower.take(data);
  }
}

/** The stream of a response that was cancelled ends without saying so. */
async function settled(follower: Follower, signal: AbortSignal): Promise<boolean> {
  const { id, seen } = follower.progress();
  if (id === null) throw new ApiError(0, 'The stream ended before it began.', 'network');
  const response = await get<Answer>(`/v1/responses/${id}`, {}, { signal });
  follower.connected(true);
  if (!DONE.includes(response.status)) return false;
  follower.take({ type: 'response.done', sequence_number: seen, response });
  return true;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal.removeEventListener('abort', stop);
      resolve();
    };
    const stop = () => {
      done();
      reject(signal.reason);
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
  });
}
