/**
 * The server's public API, as these pages call it: with the session's cookie, from the same origin.
 *
 *     const made = await post<Conversation>('/v1/conversations', { metadata });
 *     for await (const event of stream('/v1/responses', { ...body, stream: true }, { signal })) …
 *     for await (const page of pages<Conversation>('/v1/conversations', { limit: 100 })) …
 *
 * Whatever goes wrong is an `ApiError`: what the server says, or code `network` where it cannot be reached. A session
 * that has ended leads to the sign-in page, and from there back.
 */
import { EventSourceParserStream } from 'eventsource-parser/stream';

export type Query = Record<string, string | number | boolean | readonly string[] | null | undefined>;

export interface CallOptions {
  query?: Query;
  signal?: AbortSignal;
  headers?: Record<string, string>;
  /** Whether a missing session is told instead of leading to the sign-in page. */
  anonymous?: boolean;
  /** Told of the answer before its body is read, for what its headers say. */
  onanswer?: (answer: Response) => void;
}

/** One event of a stream: its name, where it has one, and its data. */
export interface ServerEvent<T = Record<string, unknown>> {
  event: string | undefined;
  data: T;
}

/** A page of a list. */
export interface ListPage<T> {
  data: T[];
  has_more: boolean;
  last_id?: string | null;
  first_id?: string | null;
}

interface ErrorBody {
  error?: { message?: string; type?: string; code?: string | null; param?: string | null } & Record<string, unknown>;
}

/**
 * What went wrong with a call.
 *
 * `status` is 0 where there was no answer. `detail` is the error as the server wrote it, with what goes beyond the
 * fields here, such as `innererror` of the content filter.
 */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code: string | null,
    readonly param: string | null = null,
    readonly requestId: string | null = null,
    readonly retryAfterS: number | null = null,
    readonly detail: Record<string, unknown> = {},
    readonly headers: Headers | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export function get<T>(path: string, query?: Query, options: CallOptions = {}): Promise<T> {
  return json<T>('GET', path, undefined, { ...options, query });
}

export function post<T>(path: string, body?: unknown, options?: CallOptions): Promise<T> {
  return json<T>('POST', path, body, options);
}

export function put<T>(path: string, body?: unknown, options?: CallOptions): Promise<T> {
  return json<T>('PUT', path, body, options);
}

export function patch<T>(path: string, body?: unknown, options?: CallOptions): Promise<T> {
  return json<T>('PATCH', path, body, options);
}

export function remove<T>(path: string, options?: CallOptions): Promise<T> {
  return json<T>('DELETE', path, undefined, options);
}

/** The answer itself, for files and for what its headers say; the caller reads its body. */
export async function send(method: string, path: string, body?: unknown, options: CallOptions = {}): Promise<Response> {
  const headers: Record<string, string> = { ...options.headers };
  let content: BodyInit | undefined;
  if (body instanceof FormData || body instanceof Blob) content = body;
  else if (body !== undefined) {
    content = JSON.stringify(body);
    headers['content-type'] = 'application/json';
  }
  let answer: Response;
  try {
    answer = await fetch(path + queryText(options.query), {
      method,
      headers,
      body: content,
      signal: options.signal,
      credentials: 'same-origin',
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, 'The server cannot be reached.', 'network');
  }
  options.onanswer?.(answer);
  if (answer.ok) return answer;
  const failure = await errorOf(answer);
  if (failure.status === 401 && !options.anonymous) signIn();
  throw failure;
}

/** The events of a stream, from a body that asks for one; with `body` undefined it is a GET. */
export async function* stream<T = Record<string, unknown>>(
  path: string,
  body?: unknown,
  options: CallOptions = {},
): AsyncGenerator<ServerEvent<T>> {
  yield* eventsOf<T>(await send(body === undefined ? 'GET' : 'POST', path, body, options), options.signal);
}

/** The events of an answer that is a stream, for whoever reads its headers too. */
export async function* eventsOf<T = Record<string, unknown>>(
  answer: Response,
  signal?: AbortSignal,
): AsyncGenerator<ServerEvent<T>> {
  if (answer.body === null) return;
  const reader = answer.body
    .pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>)
    .pipeThrough(new EventSourceParserStream())
    .getReader();
  try {
    for (;;) {
      const { done, value } = await read(reader, signal);
      if (done) return;
      if (value.data === '[DONE]') continue;
      yield { event: value.event, data: JSON.parse(value.data) as T };
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** The pages of a list, one after the other. */
export async function* pages<T extends { id: string }>(
  path: string,
  query: Query = {},
  options: CallOptions = {},
): AsyncGenerator<T[]> {
  let after: string | undefined;
  for (;;) {
    const page = await get<ListPage<T>>(path, { ...query, after }, options);
    yield page.data;
    const last = page.last_id ?? page.data.at(-1)?.id;
    if (!page.has_more || !last || last === after) return;
    after = last;
  }
}

/** Go to the sign-in page, and come back here afterwards. */
export function signIn(): void {
  const here = location.pathname + location.search;
  location.assign(`/signin?return_to=${encodeURIComponent(here)}`);
}

async function json<T>(method: string, path: string, body?: unknown, options?: CallOptions): Promise<T> {
  const answer = await send(method, path, body, options);
  if (answer.status === 204) return undefined as T;
  return (await answer.json()) as T;
}

async function read<T>(reader: ReadableStreamDefaultReader<T>, signal?: AbortSignal) {
  try {
    return await reader.read();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'The connection to the server broke off.', 'network');
  }
}

async function errorOf(answer: Response): Promise<ApiError> {
  let error: ErrorBody['error'];
  try {
    error = ((await answer.json()) as ErrorBody).error;
  } catch {
    error = undefined;
  }
  const retry = Number(answer.headers.get('retry-after'));
  return new ApiError(
    answer.status,
    error?.message ?? `The server answered ${answer.status}.`,
    error?.code ?? null,
    error?.param ?? null,
    answer.headers.get('x-request-id'),
    retry > 0 ? retry : null,
    error ?? {},
    answer.headers,
  );
}

export function queryText(query: Query = {}): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null) continue;
    if (Array.isArray(value)) for (const each of value as string[]) found.append(name, each);
    else found.append(name, String(value));
  }
  const text = found.toString();
  return text && `?${text}`;
}
